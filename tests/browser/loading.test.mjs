/** Loading: cancel, retries, the cache, and what happens where storage is denied. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { POCKET, assertQuiet, launch, modelReady, visit } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const set = new ShardSet(POCKET);
const SERVER_ERROR = /Failed to load resource.*(500|503)/;

/** @param {import("../../tools/serve.mjs").Served[]} requests */
const shardsOf = (requests) => requests.filter((request) => request.path.endsWith(".safetensors"));

test("Cancel ends the downloads, and Load again continues", async (t) => {
  let slow = true;
  const { page, problems } = await visit(t, browser, { hook: ({ path }) => (slow && path.endsWith(".safetensors") ? { never: true } : undefined) });
  await page.locator("#loading-text", { hasText: " of " }).waitFor();
  const start = performance.now();
  await page.locator("#loading-cancel").click();
  await page.locator("#model-again:not([hidden])").waitFor();
  assert.ok(performance.now() - start < 3000, "cancelling is quick");
  assert.equal(await page.locator("#model-state").textContent(), "not loaded");
  assert.ok(await page.locator("#model-error").isHidden(), "cancelling is no error");
  slow = false;
  await page.locator("#model-again").click();
  await modelReady(page);
  assertQuiet(problems);
});

test("a server that fails now and then is asked again", async (t) => {
  const failing = new Set(["/pocket/config.json", `/pocket/${set.shards[0]}`]);
  const { page, problems } = await visit(t, browser, { hook: ({ path }) => (failing.delete(path) ? { status: 503, body: "busy" } : undefined) });
  await modelReady(page);
  assert.equal(failing.size, 0);
  assertQuiet(problems, [SERVER_ERROR]);
});

test("a server that keeps failing is reported after five tries", async (t) => {
  const { server, page, problems } = await visit(t, browser, { hook: ({ path }) => (path === "/pocket/config.json" ? { status: 500, body: "" } : undefined) });
  await page.locator("#model-error:not([hidden])", { hasText: "the server said 500" }).waitFor();
  assert.equal(server.requests.filter((request) => request.path === "/pocket/config.json").length, 5);
  assertQuiet(problems, [SERVER_ERROR]);
});

test("a shard damaged once on its way is fetched again", async (t) => {
  const shard = set.shards[0] ?? "";
  let damaged = Buffer.from(set.file(shard));
  damaged[damaged.length - 1] = (damaged[damaged.length - 1] ?? 0) ^ 1;
  let times = 0;
  const { page, problems } = await visit(t, browser, { hook: ({ path }) => (path === `/pocket/${shard}` && times++ === 0 ? { body: damaged } : undefined) });
  await modelReady(page);
  assert.equal(times, 2);
  assertQuiet(problems);
});

test("a second visit takes every shard from the cache, and a damaged entry is noticed", async (t) => {
  const { server, page, problems } = await visit(t, browser);
  await modelReady(page);
  const first = shardsOf(server.requests).length;
  assert.equal(first, set.shards.length);
  await page.reload();
  await modelReady(page);
  assert.equal(shardsOf(server.requests).length, first, "no shard was fetched again");
  await page.evaluate(async () => {
    const cache = await caches.open("instructblip-models");
    for (const key of await cache.keys()) {
      if (key.url.includes("/blobs/")) await cache.put(key, new Response(new Uint8Array(1000)));
    }
  });
  await page.reload();
  await modelReady(page);
  assert.equal(shardsOf(server.requests).length, 2 * first, "the damaged ones were fetched again");
  await page.reload();
  await modelReady(page);
  assert.equal(shardsOf(server.requests).length, 2 * first, "and replaced");
  assertQuiet(problems);
});

test("wasm memory holds a shard at a time, not the model", async (t) => {
  const large = new ShardSet(POCKET);
  for (let at = 0; at < 8; at++) large.addUnused(`unused.${at}`, 32 << 20);
  const { page, problems } = await visit(t, browser, {
    query: "?model=./faulty/",
    hook: async (request) => {
      if (request.path !== "/engine/worker.js" || !request.file) return large.hook(request);
      const watch = `
        const instantiate = WebAssembly.instantiateStreaming;
        WebAssembly.instantiateStreaming = async (...given) => {
          const result = await instantiate.apply(WebAssembly, given);
          self.wasmMemory = result.instance.exports.memory;
          return result;
        };`;
      return { body: watch + readFileSync(request.file, "utf8") };
    },
  });
  await modelReady(page);
  const bytes = await page.workers().at(-1)?.evaluate(() => /** @type {any} */ (self).wasmMemory.buffer.byteLength);
  console.log(`wasm memory after loading ${8 * 32} MiB: ${(bytes / 2 ** 20).toFixed(0)} MiB`);
  assert.ok(bytes < 192 * 2 ** 20);
  assertQuiet(problems);
});

test("without storage the model is used all the same, and it is said", async (t) => {
  const { page, problems } = await visit(t, browser, {
    hook: ({ path, file }) =>
      path === "/engine/worker.js" && file
        ? {
            body: `CacheStorage.prototype.open = async () => { throw new DOMException("denied", "SecurityError"); };\n${readFileSync(file, "utf8")}`,
          }
        : undefined,
  });
  await modelReady(page);
  await page.locator("#model-warning:not([hidden])", { hasText: "does not let the page store files" }).waitFor();
  assertQuiet(problems);
});

test("a full disk is said once, and the model is used", async (t) => {
  const { page, problems } = await visit(t, browser, {
    hook: ({ path, file }) =>
      path === "/engine/worker.js" && file
        ? {
            body: `Cache.prototype.put = async () => { throw new DOMException("full", "QuotaExceededError"); };\n${readFileSync(file, "utf8")}`,
          }
        : undefined,
  });
  await modelReady(page);
  await page.locator("#model-warning:not([hidden])", { hasText: "storage is full" }).waitFor();
  assertQuiet(problems);
});
