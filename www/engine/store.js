/**
 * Models in the browser's storage: one cache of the Cache API, everything in it under the SHA-256
 * of its content, so that models share what they have in common.
 *
 * - `…/blobs/HASH`: a shard, or one of the small files.
 * - `…/models/ADDRESS`: the record of a complete model: its files with their hashes.
 * - `…/loading/ADDRESS`: the record of one that is on its way. It becomes the complete one when
 *   every shard is there; until then an older revision stays whole.
 *
 * What no record names is pruned. Loading holds a shared lock and pruning an exclusive one, where
 * the browser has locks; without them a shard that was pruned too early is fetched again, for
 * nothing is used before its hash was compared.
 *
 * The worker hands a `Store` to the wasm module (`src/web/store.rs`); the page lists and deletes.
 */

const CACHE = "instructblip-models";
const LOCK = "instructblip-models";
/** A cache's keys are addresses; these are never requested. */
const ROOT = "https://instructblip.invalid/";
/** Left free for the browser's own bookkeeping and for other pages of this origin. */
const SPARE_BYTES = 32 << 20;

/** @typedef {import("./protocol.js").StoredModel} StoredModel */

/**
 * @typedef {object} Blob
 * @property {string} name of the file
 * @property {number} bytes
 * @property {string} sha256
 *
 * @typedef {object} ModelRecord
 * @property {string} url the folder's address, with a slash at its end
 * @property {string} name
 * @property {string} format
 * @property {Blob[]} files the small files
 * @property {Blob[]} shards
 */

/** @param {string} sha256 */
const blobKey = (sha256) => `${ROOT}blobs/${sha256}`;
/** @param {"models" | "loading"} state @param {string} url */
const recordKey = (state, url) => `${ROOT}${state}/${encodeURIComponent(url)}`;

/** What the loader stores into and reads from. */
export class Store {
  #cache;
  /** Nothing more is stored, which was said. */
  #full = false;
  /** The end of the last write. Each holds a copy of its bytes until it is done: one at a time. */
  #writing = Promise.resolve();

  /** @param {Cache} cache */
  constructor(cache) {
    this.#cache = cache;
  }

  /** @returns {Promise<Store | null>} null where the browser denies storage */
  static async open() {
    try {
      return new Store(await caches.open(CACHE));
    } catch {
      return null;
    }
  }

  /**
   * The complete model of an address.
   *
   * @param {string} url
   * @returns {Promise<ModelRecord | null>}
   */
  async model(url) {
    return readRecord(await this.#cache.match(recordKey("models", url)));
  }

  /**
   * Notes what is about to be loaded, so that it is not pruned, and asks whether it will fit.
   *
   * @param {ModelRecord} record
   * @returns {Promise<string | null>} a sentence for the visitor where it will not
   */
  async begin(record) {
    const stored = new Set((await this.#cache.keys()).map(({ url }) => url));
    const missing = [...record.files, ...record.shards]
      .filter(({ sha256 }) => !stored.has(blobKey(sha256)))
      .reduce((sum, { bytes }) => sum + bytes, 0);
    const free = await freeBytes();
    if (missing > 0 && missing + SPARE_BYTES > free) {
      this.#full = true;
      return `This browser can store ${size(Math.max(0, free - SPARE_BYTES))} more, and the model has ${size(missing)}: it is used, but will be downloaded again next time.`;
    }
    return this.#write(recordKey("loading", record.url), JSON.stringify(record));
  }

  /**
   * Declares a model complete if it is; an older revision of it is forgotten.
   *
   * @param {ModelRecord} record
   * @returns {Promise<string | null>}
   */
  async finish(record) {
    const stored = new Set((await this.#cache.keys()).map(({ url }) => url));
    if (![...record.files, ...record.shards].every(({ sha256 }) => stored.has(blobKey(sha256)))) return null;
    const warning = await this.#write(recordKey("models", record.url), JSON.stringify(record));
    if (warning === null) await this.#cache.delete(recordKey("loading", record.url));
    return warning;
  }

  /**
   * The bytes under a hash. They may be damaged and must be verified.
   *
   * @param {string} sha256
   * @returns {Promise<Uint8Array | null>}
   */
  async get(sha256) {
    const response = await this.#cache.match(blobKey(sha256));
    return response ? new Uint8Array(await response.arrayBuffer()) : null;
  }

  /**
   * Stores verified bytes.
   *
   * @param {string} sha256
   * @param {Uint8Array<ArrayBuffer>} bytes
   * @returns {Promise<string | null>} a sentence for the visitor, the first time it fails
   */
  put(sha256, bytes) {
    return this.#write(blobKey(sha256), bytes);
  }

  /** @param {string} sha256 */
  async remove(sha256) {
    await this.#cache.delete(blobKey(sha256));
  }

  /** @param {string} key @param {string | Uint8Array<ArrayBuffer>} body */
  #write(key, body) {
    const write = this.#writing.then(() => this.#put(key, body));
    this.#writing = write.then(() => {});
    return write;
  }

  /**
   * @param {string} key
   * @param {string | Uint8Array<ArrayBuffer>} body
   * @returns {Promise<string | null>}
   */
  async #put(key, body) {
    if (this.#full) return null;
    try {
      await this.#cache.put(key, new Response(body));
      return null;
    } catch {
      this.#full = true;
      return "This browser’s storage is full: the model is used, but parts of it will be downloaded again next time.";
    }
  }
}

/**
 * Loads while nothing is pruned.
 *
 * @template T
 * @param {() => Promise<T>} load
 * @returns {Promise<T>}
 */
export async function whileLoading(load) {
  if (!navigator.locks) return load();
  return /** @type {Promise<T>} */ (navigator.locks.request(LOCK, { mode: "shared" }, load));
}

/** Deletes what no record names, unless a model is being loaded somewhere. */
export async function prune() {
  const cache = await openExisting();
  if (!cache) return;
  const sweep = async () => {
    const records = await readRecords(cache);
    const needed = new Set(records.flatMap(({ record }) => [...record.files, ...record.shards].map(({ sha256 }) => blobKey(sha256))));
    for (const key of await cache.keys()) {
      if (key.url.startsWith(`${ROOT}blobs/`) && !needed.has(key.url)) await cache.delete(key);
    }
  };
  if (!navigator.locks) return sweep();
  await navigator.locks.request(LOCK, { ifAvailable: true }, async (lock) => {
    if (lock) await sweep();
  });
}

/**
 * The models in this browser's storage, also those whose download was broken off.
 *
 * @returns {Promise<StoredModel[]>}
 */
export async function cachedModels() {
  const cache = await openExisting();
  if (!cache) return [];
  const stored = new Set((await cache.keys()).map(({ url }) => url));
  /** @type {Map<string, StoredModel>} */
  const models = new Map();
  // A complete model first: a newer revision on its way does not hide it.
  const records = (await readRecords(cache)).sort((a, b) => Number(b.complete) - Number(a.complete));
  for (const { record, complete } of records) {
    if (models.has(record.url)) continue;
    const blobs = [...record.files, ...record.shards];
    const there = blobs.filter(({ sha256 }) => stored.has(blobKey(sha256)));
    const sum = (/** @type {Blob[]} */ blobs) => blobs.reduce((sum, { bytes }) => sum + bytes, 0);
    models.set(record.url, {
      url: record.url,
      name: record.name,
      format: record.format,
      bytes: sum(blobs),
      storedBytes: sum(there),
      complete: complete && there.length === blobs.length,
    });
  }
  return [...models.values()].sort((a, b) => a.name.localeCompare(b.name) || a.url.localeCompare(b.url));
}

/**
 * Deletes a model from this browser's storage; what it shares with another one stays.
 *
 * @param {string | URL} url
 */
export async function deleteCachedModel(url) {
  const cache = await openExisting();
  if (!cache) return;
  const folder = folderOf(url);
  for (const state of /** @type {const} */ (["models", "loading"])) await cache.delete(recordKey(state, folder));
  await prune();
}

/** Deletes every model from this browser's storage. */
export async function deleteCachedModels() {
  await caches.delete(CACHE).catch(() => false);
}

/**
 * Asks the browser not to clear this storage by itself; once models are large enough to matter.
 *
 * @returns {Promise<boolean>} whether it agreed
 */
export async function keepStorage() {
  return (await navigator.storage?.persist?.().catch(() => false)) ?? false;
}

/** The cache, if there is one already. */
async function openExisting() {
  try {
    return (await caches.has(CACHE)) ? await caches.open(CACHE) : null;
  } catch {
    return null;
  }
}

/** @param {Cache} cache */
async function readRecords(cache) {
  const records = [];
  for (const key of await cache.keys()) {
    const complete = key.url.startsWith(`${ROOT}models/`);
    if (!complete && !key.url.startsWith(`${ROOT}loading/`)) continue;
    const record = await readRecord(await cache.match(key));
    if (record) records.push({ record, complete });
  }
  return records;
}

/**
 * @param {Response | undefined} response
 * @returns {Promise<ModelRecord | null>}
 */
async function readRecord(response) {
  try {
    return (await response?.json()) ?? null;
  } catch {
    return null; // damaged: as if it were not there
  }
}

/** Bytes that may still be stored; unlimited where the browser does not tell. */
async function freeBytes() {
  const estimate = await navigator.storage?.estimate?.().catch(() => null);
  return estimate?.quota === undefined ? Infinity : estimate.quota - (estimate.usage ?? 0);
}

/** A folder's address as the loader writes it. @param {string | URL} url */
function folderOf(url) {
  const folder = new URL(url, self.location.href);
  folder.search = folder.hash = "";
  return folder.href.endsWith("/") ? folder.href : `${folder.href}/`;
}

/** @param {number} bytes */
function size(bytes) {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
