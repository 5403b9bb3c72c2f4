/**
 * Models in the browser's storage: one cache of the Cache API, everything in it under the origin it
 * came from and the SHA-256 of its content. Models of one origin share what they have in common;
 * those of two do not, since a host that lists hashes would learn from what is not asked for which
 * models of others a visitor has.
 *
 * - `…/blobs/ORIGIN/HASH`: a shard, or one of the small files.
 * - `…/models/ADDRESS`: the record of a complete model: its files with their hashes.
 * - `…/loading/ADDRESS`: the record of one that is on its way. It becomes the complete one when
 *   every shard is there; until then an older revision stays whole.
 *
 * Anybody of the page's origin can write here, also another version of this page: a record of
 * another shape counts as absent, and is pruned like everything that is not one of the above.
 *
 * What no record names is pruned. Loading holds a shared lock and pruning an exclusive one, where
 * the browser has locks; without them a shard that was pruned too early is fetched again, for
 * nothing is used before its hash was compared.
 *
 * The worker hands a `Store` to the wasm module (`src/web/store.rs`); the page lists and deletes.
 */

const CACHE = "instructblip-models";
const LOCK = "instructblip-models";
/** A cache's keys are addresses; these are never requested. The number is that of the layout. */
const ROOT = "https://instructblip.invalid/2/";
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

/** @param {string} url of a model's folder @param {string} sha256 */
const blobKey = (url, sha256) => `${ROOT}blobs/${encodeURIComponent(new URL(url).origin)}/${sha256}`;
/** @param {ModelRecord} record @returns {{ key: string, bytes: number }[]} */
const blobsOf = ({ url, files, shards }) =>
  [...files, ...shards].map(({ sha256, bytes }) => ({ key: blobKey(url, sha256), bytes }));
/** @param {{ bytes: number }[]} blobs */
const bytesOf = (blobs) => blobs.reduce((sum, { bytes }) => sum + bytes, 0);
const STATES = /** @type {const} */ (["models", "loading"]);
/** @param {typeof STATES[number]} state @param {string} url */
const recordKey = (state, url) => `${ROOT}${state}/${encodeURIComponent(url)}`;

/** What the loader of one model stores into and reads from. */
export class Store {
  #cache;
  #url;
  /** Nothing more is stored, which was said. */
  #full = false;
  /** The end of the last write. Each holds a copy of its bytes until it is done: one at a time. */
  #writing = Promise.resolve();

  /** @param {Cache} cache @param {string} url */
  constructor(cache, url) {
    this.#cache = cache;
    this.#url = url;
  }

  /**
   * @param {string} url the model's folder
   * @returns {Promise<Store | null>} null where the browser denies storage
   */
  static async open(url) {
    try {
      return new Store(await caches.open(CACHE), url);
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
    return readRecord(this.#cache, recordKey("models", url));
  }

  /**
   * Notes what is about to be loaded, so that it is not pruned, and asks whether it will fit.
   *
   * @param {ModelRecord} record
   * @returns {Promise<string | null>} a sentence for the visitor where it will not
   */
  async begin(record) {
    const stored = new Set((await this.#cache.keys()).map(({ url }) => url));
    const missing = bytesOf(blobsOf(record).filter(({ key }) => !stored.has(key)));
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
    if (!blobsOf(record).every(({ key }) => stored.has(key))) return null;
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
    const response = await this.#cache.match(blobKey(this.#url, sha256));
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
    return this.#write(blobKey(this.#url, sha256), bytes);
  }

  /** @param {string} sha256 */
  async remove(sha256) {
    await this.#cache.delete(blobKey(this.#url, sha256));
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
    const needed = new Set((await readRecords(cache)).flatMap(({ key, record }) => [key, ...blobsOf(record).map(({ key }) => key)]));
    for (const key of await cache.keys()) if (!needed.has(key.url)) await cache.delete(key);
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
    const blobs = blobsOf(record);
    const there = blobs.filter(({ key }) => stored.has(key));
    models.set(record.url, {
      url: record.url,
      name: record.name,
      format: record.format,
      bytes: bytesOf(blobs),
      storedBytes: bytesOf(there),
      complete: complete && there.length === blobs.length,
      sha256: await digestOf(record),
    });
  }
  return [...models.values()].sort((a, b) => a.name.localeCompare(b.name) || a.url.localeCompare(b.url));
}

/**
 * @param {ModelRecord} record
 * @returns {Promise<string>} the SHA-256 of what `sha256sum` would print of its files, by name
 */
async function digestOf({ files, shards }) {
  const lines = [...files, ...shards].map(({ name, sha256 }) => ({ name, line: `${sha256}  ${name}\n` }));
  const text = lines.sort((a, b) => (a.name < b.name ? -1 : 1)).map(({ line }) => line).join("");
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
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
  for (const state of STATES) await cache.delete(recordKey(state, folder));
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
  for (const { url: key } of await cache.keys()) {
    const complete = key.startsWith(`${ROOT}models/`);
    if (!complete && !key.startsWith(`${ROOT}loading/`)) continue;
    const record = await readRecord(cache, key);
    if (record) records.push({ key, record, complete });
  }
  return records;
}

/**
 * @param {Cache} cache
 * @param {string} key
 * @returns {Promise<ModelRecord | null>} null where there is none, or something else
 */
async function readRecord(cache, key) {
  try {
    const value = await (await cache.match(key))?.json();
    if (isRecord(value) && STATES.some((state) => key === recordKey(state, value.url))) return value;
  } catch {
    // As if it were not there.
  }
  return null;
}

/** @param {any} value @returns {value is ModelRecord} */
function isRecord(value) {
  const texts = [value?.url, value?.name, value?.format];
  const lists = [value?.files, value?.shards];
  return (
    texts.every((text) => typeof text === "string") &&
    folderOf(value.url) === value.url &&
    lists.every((list) => Array.isArray(list) && list.every(isBlob))
  );
}

/** @param {any} value @returns {value is Blob} */
function isBlob(value) {
  return (
    typeof value?.name === "string" &&
    Number.isSafeInteger(value.bytes) &&
    value.bytes >= 0 &&
    /^[0-9a-f]{64}$/.test(value.sha256)
  );
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
  folder.pathname = folder.pathname.replace(/[^/]+\.(json|safetensors)$/, ""); // a file in it
  return folder.href.endsWith("/") ? folder.href : `${folder.href}/`;
}

/** @param {number} bytes */
function size(bytes) {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
