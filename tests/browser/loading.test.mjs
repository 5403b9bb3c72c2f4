/** Loading: cancel, retries, the cache, and what happens where storage is denied. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { POCKET, assertQuiet, launch, modelReady, openPage, servePage } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const set = new ShardSet(POCKET);
const SERVER_ERROR = /Failed to load resource.*(500|503)/;

/** @param {import("../../tools/serve.mjs").Served[]} requests */
const shardsOf = (requests) => requests.filter((request) => request.path.endsWith(".safetensors"));

test("Cancel ends the downloads, and Load again continues", async () => {
  let slow = true;
  const server = await servePage({ hook: ({ path }) => (slow && path.endsWith(".safetensors") ? { never: true } : undefined) });
  const { context, page, problems } = await openPage(browser);
  await page.goto(server.url);
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
  await context.close();
  await server.close();
});

test("a server that fails now and then is asked again", async () => {
  const failing = new Set(["/pocket/config.json", `/pocket/${set.shards[0]}`]);
  const server = await servePage({ hook: ({ path }) => (failing.delete(path) ? { status: 503, body: "busy" } : undefined) });
  const { context, page, problems } = await openPage(browser);
  await page.goto(server.url);
  await modelReady(page);
  assert.equal(failing.size, 0);
  assertQuiet(problems, [SERVER_ERROR]);
  await context.close();
  await server.close();
});

test("a server that keeps failing is reported after three tries", async () => {
  const server = await servePage({ hook: ({ path }) => (path === "/pocket/config.json" ? { status: 500, body: "" } : undefined) });
  const { context, page, problems } = await openPage(browser);
  await page.goto(server.url);
  await page.locator("#model-error:not([hidden])", { hasText: "the server said 500" }).waitFor();
  assert.equal(server.requests.filter((request) => request.path === "/pocket/config.json").length, 3);
  assertQuiet(problems, [SERVER_ERROR]);
  await context.close();
  await server.close();
});

test("a shard damaged once on its way is fetched again", async () => {
  const shard = set.shards[0] ?? "";
  let damaged = Buffer.from(set.file(shard));
  damaged[damaged.length - 1] = (damaged[damaged.length - 1] ?? 0) ^ 1;
  let times = 0;
  const server = await servePage({ hook: ({ path }) => (path === `/pocket/${shard}` && times++ === 0 ? { body: damaged } : undefined) });
  const { context, page, problems } = await openPage(browser);
  await page.goto(server.url);
  await modelReady(page);
  assert.equal(times, 2);
  assertQuiet(problems);
  await context.close();
  await server.close();
});

test("a second visit takes every shard from the cache, and a damaged entry is noticed", async () => {
  const server = await servePage();
  const { context, page, problems } = await openPage(browser);
  await page.goto(server.url);
  await modelReady(page);
  const first = shardsOf(server.requests).length;
  assert.equal(first, set.shards.length);
  await page.reload();
  await modelReady(page);
  assert.equal(shardsOf(server.requests).length, first, "no shard was fetched again");
  await page.evaluate(async () => {
    const cache = await caches.open("instructblip-shards");
    const [key] = await cache.keys();
    if (key) await cache.put(key, new Response(new Uint8Array(1000)));
  });
  await page.reload();
  await modelReady(page);
  const again = await page.evaluate(async () => (await (await caches.open("instructblip-shards")).keys()).length);
  assert.equal(again, set.shards.length, "the damaged entry was replaced");
  await page.locator("#model-change").click();
  await page.locator("#cache-clear").click();
  await page.locator("#cache-note", { hasText: "No model is stored" }).waitFor();
  assertQuiet(problems);
  await context.close();
  await server.close();
});

test("without storage the model is used all the same, and it is said", async () => {
  const server = await servePage({
    hook: ({ path, file }) =>
      path === "/engine/worker.js" && file
        ? import("node:fs").then(({ readFileSync }) => ({
            body: `CacheStorage.prototype.open = async () => { throw new DOMException("denied", "SecurityError"); };\n${readFileSync(file, "utf8")}`,
          }))
        : undefined,
  });
  const { context, page, problems } = await openPage(browser);
  await page.goto(server.url);
  await modelReady(page);
  await page.locator("#model-warning:not([hidden])", { hasText: "does not let the page store files" }).waitFor();
  assertQuiet(problems);
  await context.close();
  await server.close();
});

test("a full disk is said once, and the model is used", async () => {
  const server = await servePage({
    hook: ({ path, file }) =>
      path === "/engine/worker.js" && file
        ? import("node:fs").then(({ readFileSync }) => ({
            body: `Cache.prototype.put = async () => { throw new DOMException("full", "QuotaExceededError"); };\n${readFileSync(file, "utf8")}`,
          }))
        : undefined,
  });
  const { context, page, problems } = await openPage(browser);
  await page.goto(server.url);
  await modelReady(page);
  await page.locator("#model-warning:not([hidden])", { hasText: "storage is full" }).waitFor();
  assertQuiet(problems);
  await context.close();
  await server.close();
});
