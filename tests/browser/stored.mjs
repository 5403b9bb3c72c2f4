/** What the tests of the browser's storage share: sets to serve, and a look at what is stored. */
import assert from "node:assert/strict";
import { POCKET } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";

/** @param {import("../../tools/serve.mjs").Served[]} requests */
export const shardsOf = (requests) => requests.filter(({ path }) => path.endsWith(".safetensors")).map(({ path }) => path);

/**
 * The pocket model with shards of its own besides.
 *
 * @param {string[]} names
 */
export function withShards(...names) {
  const set = new ShardSet(POCKET);
  for (const name of names) set.addUnused(name, 1 << 20);
  return set;
}

/**
 * A hook that serves sets below their folders.
 *
 * @param {Record<string, ShardSet>} sets such as `{ "/a/": … }`
 * @returns {import("../../tools/serve.mjs").Hook}
 */
export const serving = (sets) => ({ path }) => {
  const folder = Object.keys(sets).find((folder) => path.startsWith(folder));
  if (!folder) return undefined;
  const body = sets[folder]?.files.get(path.slice(folder.length));
  return body ? { body } : { status: 404, body: "" };
};

/** @param {import("playwright-core").Page} page @returns {Promise<import("../../www/engine/protocol.js").StoredModel[]>} */
export const cached = (page) => page.evaluate(async () => (await import(`${location.origin}/instructblip.js`)).cachedModels());
/** @param {import("playwright-core").Page} page @param {string} url */
export const remove = (page, url) => page.evaluate(async (url) => (await import(`${location.origin}/instructblip.js`)).deleteCachedModel(url), url);
/** Shards and small files in the cache. @param {import("playwright-core").Page} page */
export const blobs = (page) =>
  page.evaluate(async () => {
    const keys = await (await caches.open("instructblip-models")).keys();
    return keys.filter(({ url }) => url.includes("/blobs/")).length;
  });

/** Waits for what follows a load: older revisions are pruned in the background. @param {() => Promise<boolean>} condition */
export async function eventually(condition) {
  for (let times = 0; times < 600; times++) {
    if (await condition()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail("it did not come to that");
}
