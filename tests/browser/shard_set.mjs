/**
 * A shard set in memory that can be damaged on purpose. `reseal` makes lengths and hashes of the
 * index true again, so that a lie inside a file gets past the integrity check.
 */
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const INDEX = "model.safetensors.index.json";

/**
 * @typedef {Record<string, { dtype: string, shape: number[], data_offsets: [number, number] }>} Header
 * of a safetensors file
 */

export class ShardSet {
  /** @type {Map<string, Buffer>} */
  files = new Map();

  /** @param {string} folder */
  constructor(folder) {
    for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
      if (/\.(json|safetensors)$/.test(name)) this.files.set(name.replaceAll("\\", "/"), readFileSync(join(folder, name)));
    }
  }

  /** @param {string} name */
  file(name) {
    const bytes = this.files.get(name);
    if (!bytes) throw new Error(`the set has no ${name}`);
    return bytes;
  }

  /** Names of the shards, in order. */
  get shards() {
    return Object.keys(this.#index.metadata.shards);
  }

  /** The shard that holds a tensor whose name matches, and the name. @param {RegExp} pattern */
  find(pattern) {
    for (const [tensor, shard] of Object.entries(this.#index.weight_map)) {
      if (pattern.test(tensor)) return { tensor, shard };
    }
    throw new Error(`no tensor matches ${pattern}`);
  }

  /**
   * Changes a JSON file.
   *
   * @param {string} name
   * @param {(value: any) => void} change
   */
  changeJson(name, change) {
    const value = JSON.parse(this.file(name).toString());
    change(value);
    this.files.set(name, Buffer.from(JSON.stringify(value)));
  }

  /** @param {(index: any) => void} change */
  changeIndex(change) {
    this.changeJson(INDEX, change);
  }

  /**
   * Rewrites a shard's header and keeps its data.
   *
   * @param {string} shard
   * @param {(header: Header) => Header | void} change
   */
  changeHeader(shard, change) {
    const bytes = this.file(shard);
    const end = 8 + Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString("utf8", 8, end));
    const json = Buffer.from(JSON.stringify(change(header) ?? header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    this.reseal(shard, Buffer.concat([length, json, bytes.subarray(end)]));
  }

  /**
   * Replaces a shard's bytes and makes the index true for them.
   *
   * @param {string} shard
   * @param {Buffer} bytes
   */
  reseal(shard, bytes) {
    this.files.set(shard, bytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    this.changeIndex((index) => {
      const entry = index.metadata.shards[shard];
      Object.assign(entry, { bytes: bytes.length, sha256 });
    });
  }

  /**
   * Adds a shard with one tensor of zeros that the model does not use.
   *
   * @param {string} tensor
   * @param {number} bytes
   */
  addUnused(tensor, bytes) {
    const shard = `${tensor}.safetensors`;
    const header = { [tensor]: { dtype: "F32", shape: [bytes / 4], data_offsets: [0, bytes] } };
    const json = Buffer.from(JSON.stringify(header).padEnd(248));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    this.changeIndex((index) => {
      index.weight_map[tensor] = shard;
      index.metadata.shards[shard] = {};
    });
    this.reseal(shard, Buffer.concat([length, json, Buffer.alloc(bytes)]));
  }

  /**
   * Cuts a set of one shard in two: the tensors whose names match, and the others. Returns the
   * names of both shards, which the index lists in this order.
   *
   * @param {RegExp} pattern
   * @returns {[string, string]}
   */
  split(pattern) {
    const [whole = ""] = this.shards;
    const bytes = this.file(whole);
    const end = 8 + Number(bytes.readBigUInt64LE(0));
    const { __metadata__: _, ...header } = /** @type {Header} */ (JSON.parse(bytes.toString("utf8", 8, end)));
    this.changeIndex((index) => (index.metadata.shards = {}));
    /** @param {string} shard @param {(name: string) => boolean} belongs */
    const write = (shard, belongs) => {
      /** @type {Header} */
      const entries = {};
      const data = [];
      let at = 0;
      for (const [name, entry] of Object.entries(header)) {
        if (!belongs(name)) continue;
        const part = bytes.subarray(end + entry.data_offsets[0], end + entry.data_offsets[1]);
        entries[name] = { ...entry, data_offsets: [at, (at += part.length)] };
        data.push(part);
      }
      const json = Buffer.from(JSON.stringify(entries));
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(json.length));
      this.changeIndex((index) => {
        index.metadata.shards[shard] = {};
        for (const name of Object.keys(index.weight_map)) if (belongs(name)) index.weight_map[name] = shard;
      });
      this.reseal(shard, Buffer.concat([length, json, ...data]));
    };
    write("first.safetensors", (name) => pattern.test(name));
    write("second.safetensors", (name) => !pattern.test(name));
    return ["first.safetensors", "second.safetensors"];
  }

  /**
   * A hook for the server: answers requests below `/faulty/` from this set.
   *
   * @type {import("../../tools/serve.mjs").Hook}
   */
  hook = ({ path }) => {
    if (!path.startsWith("/faulty/")) return undefined;
    const body = this.files.get(path.slice("/faulty/".length));
    return body ? { body } : { status: 404, body: "No such file.\n" };
  };

  get #index() {
    return JSON.parse(this.file(INDEX).toString());
  }
}
