/** The browser's storage with what others wrote there, and what a host may learn of it. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { NO_MODEL, assertQuiet, launch, loadInPage, modelReady, servePage, visit } from "./harness.mjs";
import { cached, eventually, remove, serving, shardsOf, withShards } from "./stored.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/**
 * Puts records into the store as another page of the origin, or another version, might.
 *
 * @param {import("playwright-core").Page} page
 * @param {Record<string, unknown>} records by the address they are filed under
 */
const plant = (page, records) =>
  page.evaluate(async (records) => {
    const cache = await caches.open("instructblip-models");
    for (const [url, record] of Object.entries(records)) {
      const at = `https://instructblip.invalid/2/models/${encodeURIComponent(url)}`;
      await cache.put(at, new Response(JSON.stringify(record)));
    }
  }, records);

test("records of another shape are as good as none, and pruned", async (t) => {
  const { page, problems } = await visit(t, browser, { query: NO_MODEL });
  const url = new URL("/x/", page.url()).href;
  const sound = { url, name: "x", format: "q4", files: [], shards: [] };
  const blob = { name: "a", bytes: 1, sha256: "0".repeat(64) };
  const records = [
    {},
    [],
    null,
    7,
    "text",
    { ...sound, files: null },
    { ...sound, shards: {} },
    { ...sound, shards: [null] },
    { ...sound, name: { en: "x" } },
    { ...sound, url: "not an address" },
    { ...sound, url: `${url}other/` },
    { ...sound, files: [{ ...blob, bytes: "1" }] },
    { ...sound, files: [{ ...blob, bytes: -1 }] },
    { ...sound, files: [{ ...blob, sha256: "../../x" }] },
    { layout: 3, address: url, parts: [{ digest: "sha512-…" }] },
  ];
  for (const record of records) {
    await plant(page, { [url]: record });
    assert.deepEqual(await cached(page), [], JSON.stringify(record));
    await remove(page, "/other/");
    const left = await page.evaluate(async () => (await (await caches.open("instructblip-models")).keys()).length);
    assert.equal(left, 0, `${JSON.stringify(record)} is pruned`);
  }
  // As the first layout had it, and what nobody knows.
  await page.evaluate(async (hash) => {
    const cache = await caches.open("instructblip-models");
    for (const at of [`blobs/${hash}`, "models/x", "9/blobs/x", "2/other/x"]) await cache.put(`https://instructblip.invalid/${at}`, new Response("{}"));
  }, blob.sha256);
  await plant(page, { [url]: {} });
  assert.equal((await loadInPage(page, "/pocket/")).code, null);
  const lost = page.evaluate(() => Promise.race([/** @type {any} */ (self).model.lost, new Promise((done) => setTimeout(done, 1500, null))]));
  assert.equal(await lost, null, "the engine lives on");
  await eventually(async () => {
    const keys = await page.evaluate(async () => (await (await caches.open("instructblip-models")).keys()).map(({ url }) => url));
    return keys.length > 0 && keys.every((key) => /invalid\/2\/(blobs\/http|models\/)/.test(key) && !key.endsWith(encodeURIComponent(url)));
  });
  assert.deepEqual((await cached(page)).map(({ name }) => name), ["pocket"]);
  assertQuiet(problems);
});

test("the picker lists and deletes beside a record of another shape", async (t) => {
  const { page, problems } = await visit(t, browser);
  await modelReady(page);
  await plant(page, { x: {}, "https://example.org/": { url: "https://example.org/", files: 1 } });
  await page.locator("#model-change").click();
  await page.locator("#stored-note", { hasText: "Stored in this browser" }).waitFor();
  assert.equal(await page.locator("#stored-models li").count(), 1);
  await page.locator("#stored-models button", { hasText: "Delete" }).click();
  await page.locator("#stored-note", { hasText: "No model is stored" }).waitFor();
  assertQuiet(problems);
});

test("a host does not learn which shards came from elsewhere", async (t) => {
  const names = ["s.0", "s.1"];
  const set = withShards(...names);
  let silent = false;
  const hosts = [];
  for (let at = 0; at < 2; at++) {
    const host = await servePage({
      hook: ({ path }) => {
        if (silent && path.endsWith("s.1.safetensors")) return { never: true };
        const body = set.files.get(path.slice("/m/".length));
        return { status: body ? 200 : 404, body: body ?? "", headers: { "access-control-allow-origin": "*" } };
      },
    });
    t.after(host.close);
    hosts.push(host);
  }
  const [first, second] = hosts;
  assert.ok(first && second);
  const plain = { headers: { "content-type": "text/html" }, body: '<!doctype html><link rel="icon" href="data:,">' };
  const { server, page, problems } = await visit(t, browser, {
    query: "plain.html",
    hook: (request) => (request.path === "/plain.html" ? plain : serving({ "/m/": set })(request)),
  });
  assert.equal((await loadInPage(page, "/m/")).code, null);
  assert.equal((await loadInPage(page, `${first.url}m/`)).code, null);
  assert.equal(shardsOf(first.requests).length, set.shards.length, "all of them, though the page's own origin had them");
  // Broken off, so that a record names what is asked for next.
  silent = true;
  const { code, sentence } = await loadInPage(page, `${second.url}m/`, { stallTimeout: 1000 });
  assert.equal(code, "network", sentence);
  silent = false;
  const before = second.requests.length;
  const known = new Set(shardsOf(second.requests).filter((path) => !path.endsWith("s.1.safetensors")));
  assert.equal((await loadInPage(page, `${second.url}m/`)).code, null);
  const again = shardsOf(second.requests.slice(before));
  assert.deepEqual(new Set([...known, ...again]).size, set.shards.length, "its second visit shows only what it sent itself");
  assert.ok(again.includes("/m/s.1.safetensors"));
  // What one host sent is kept for it.
  const total = first.requests.length;
  assert.equal((await loadInPage(page, `${first.url}m/`)).code, null);
  assert.deepEqual(shardsOf(first.requests.slice(total)), []);
  assert.equal(shardsOf(server.requests).length, set.shards.length);
  assertQuiet(problems);
});
