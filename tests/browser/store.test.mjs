/** The browser's storage: several models, revisions, broken-off downloads, two tabs, no network. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { NO_MODEL, POCKET, ask, assertQuiet, launch, launchKept, loadInPage, modelReady, openPage, servePage, visit } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";
import { inWorker } from "./watch.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const REFUSED = /Failed to load resource|ERR_CONNECTION|script failed/;
/** Shards that are fetched at a time. */
const LANES = 4;

/** @param {import("../../tools/serve.mjs").Served[]} requests */
const shardsOf = (requests) => requests.filter(({ path }) => path.endsWith(".safetensors")).map(({ path }) => path);

/**
 * The pocket model with shards of its own besides.
 *
 * @param {string[]} names
 */
function withShards(...names) {
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
const serving = (sets) => ({ path }) => {
  const folder = Object.keys(sets).find((folder) => path.startsWith(folder));
  if (!folder) return undefined;
  const body = sets[folder]?.files.get(path.slice(folder.length));
  return body ? { body } : { status: 404, body: "" };
};

/** @param {import("playwright-core").Page} page @returns {Promise<import("../../www/engine/protocol.js").StoredModel[]>} */
const cached = (page) => page.evaluate(async () => (await import(`${location.origin}/instructblip.js`)).cachedModels());
/** @param {import("playwright-core").Page} page @param {string} url */
const remove = (page, url) => page.evaluate(async (url) => (await import(`${location.origin}/instructblip.js`)).deleteCachedModel(url), url);
/** Shards and small files in the cache. @param {import("playwright-core").Page} page */
const blobs = (page) =>
  page.evaluate(async () => {
    const keys = await (await caches.open("instructblip-models")).keys();
    return keys.filter(({ url }) => url.includes("/blobs/")).length;
  });

/** Waits for what follows a load: older revisions are pruned in the background. @param {() => Promise<boolean>} condition */
async function eventually(condition) {
  for (let times = 0; times < 100; times++) {
    if (await condition()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail("it did not come to that");
}

test("two models share what they have in common; deleting one leaves the other whole", async (t) => {
  const sets = { "/a/": withShards("only.a", "both"), "/b/": withShards("only.b", "both") };
  const { server, page, problems } = await visit(t, browser, { query: NO_MODEL, hook: serving(sets) });
  assert.deepEqual(await cached(page), []);
  assert.equal((await loadInPage(page, "/a/")).code, null);
  assert.equal((await loadInPage(page, "/b/")).code, null);
  assert.deepEqual(shardsOf(server.requests).filter((path) => path.startsWith("/b/")), ["/b/only.b.safetensors"]);
  const models = await cached(page);
  assert.deepEqual(models.map(({ name, complete }) => [name, complete]), [["a", true], ["b", true]]);
  for (const { bytes, storedBytes, format } of models) {
    assert.equal(storedBytes, bytes);
    assert.ok(bytes > 2 << 20);
    assert.match(format, /^(q4|q8|f16|f32)$/);
  }
  await remove(page, "/a/?x#y");
  const before = server.requests.length;
  assert.deepEqual((await cached(page)).map(({ name }) => name), ["b"]);
  const { code, events } = await loadInPage(page, "/b/");
  assert.equal(code, null);
  assert.equal(events.at(-1)?.fromCache, events.at(-1)?.total);
  assert.ok(!events.some(({ phase }) => phase === "download"), "nothing was downloaded, and nothing says so");
  assert.deepEqual(shardsOf(server.requests.slice(before)), []);
  await remove(page, "/b/");
  assert.equal(await blobs(page), 0);
  assertQuiet(problems);
});

test("a new revision replaces the old one when it is complete, not before", async (t) => {
  const sets = { "/m/": withShards("part", "old") };
  let blocked = false;
  const { server, page, problems } = await visit(t, browser, {
    query: NO_MODEL,
    hook: (request) => (blocked && request.path.endsWith("/new.2.safetensors") ? { never: true } : serving(sets)(request)),
  });
  assert.equal((await loadInPage(page, "/m/")).code, null);
  const count = await blobs(page);
  sets["/m/"] = withShards("part", "new.1", "new.2");
  blocked = true;
  const { code, sentence } = await loadInPage(page, "/m/", { stallTimeout: 600 });
  assert.equal(code, "network", sentence);
  const [model] = await cached(page);
  assert.equal(model?.complete, true, "the old revision is still whole");
  await page.reload();
  blocked = false;
  const before = server.requests.length;
  assert.equal((await loadInPage(page, "/m/")).code, null);
  assert.deepEqual(shardsOf(server.requests.slice(before)), ["/m/new.2.safetensors"], "what had come is not fetched again");
  // One shard more than before; the old shard and the old index are gone.
  await eventually(async () => (await blobs(page)) === count + 1);
  assert.equal((await cached(page)).length, 1);
  assertQuiet(problems);
});

test("a download that was broken off is listed, resumes, and can be deleted", async (t) => {
  const names = ["s.0", "s.1", "s.2", "s.3", "s.4", "s.5"];
  const sets = { "/m/": withShards(...names) };
  let open = 3;
  const { server, page, problems } = await visit(t, browser, {
    query: NO_MODEL,
    hook: (request) => (request.path.endsWith(".safetensors") && open-- <= 0 ? { never: true } : serving(sets)(request)),
  });
  void loadInPage(page, "/m/").catch(() => {}); // the page goes away under it
  await eventually(async () => (await cached(page)).some(({ storedBytes }) => storedBytes > 3 << 20));
  await page.reload();
  const [model] = await cached(page);
  assert.ok(model && !model.complete && model.storedBytes < model.bytes);
  open = Infinity;
  const before = server.requests.length;
  assert.equal((await loadInPage(page, "/m/")).code, null);
  assert.equal(shardsOf(server.requests.slice(before)).length, sets["/m/"].shards.length - 3);
  assert.equal((await cached(page))[0]?.complete, true);
  assertQuiet(problems);
});

test("killed at 40 % and opened again: at most the shards in flight are fetched again", async (t) => {
  const names = Array.from({ length: 19 }, (_, at) => `s.${at}`);
  const sets = { "/m/": withShards(...names) };
  const total = sets["/m/"].shards.length;
  /** @type {string[]} */
  const answered = [];
  let blocked = true;
  const server = await servePage({
    hook: (request) => {
      if (!request.path.endsWith(".safetensors")) return serving(sets)(request);
      if (blocked && answered.length >= total * 0.4) return { never: true };
      answered.push(request.path);
      return serving(sets)(request);
    },
  });
  const folder = await mkdtemp(join(tmpdir(), "instructblip-kept-"));
  t.after(async () => {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });
  let context = await launchKept(folder);
  let page = await context.newPage();
  await page.goto(server.url + NO_MODEL);
  void loadInPage(page, "/m/").catch(() => {});
  await eventually(async () => answered.length >= total * 0.4);
  await context.close();

  const first = answered.splice(0);
  blocked = false;
  context = await launchKept(folder);
  try {
    page = await context.newPage();
    await page.goto(server.url + NO_MODEL);
    assert.equal((await loadInPage(page, "/m/")).code, null);
    const again = answered.filter((path) => first.includes(path));
    console.log(`of ${first.length} shards that had been sent, ${again.length} were fetched again`);
    assert.ok(again.length <= LANES, again.join());
    assert.equal(new Set([...first, ...answered]).size, total);
  } finally {
    await context.close();
  }
});

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

test("the second visit needs no network", async (t) => {
  const { server, page, problems } = await visit(t, browser);
  await modelReady(page);
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  const before = server.requests.length;
  await server.close();
  await page.reload();
  await modelReady(page);
  assert.equal(server.requests.length, before, "0 bytes fetched");
  await page.locator("#examples button").first().click();
  await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
  assert.ok((await ask(page, "What is there?")).text);
  assertQuiet(problems, [REFUSED]);
});

for (const locks of [true, false]) {
  test(`two tabs load at once and delete meanwhile, ${locks ? "with" : "without"} Web Locks`, async (t) => {
    const sets = { "/a/": withShards("only.a", "both"), "/b/": withShards("only.b", "both") };
    const code = locks ? "" : 'Object.defineProperty(navigator, "locks", { value: undefined });';
    const server = await servePage({ hook: (request) => inWorker(code)(request) ?? serving(sets)(request) });
    const { context, page, problems } = await openPage(browser);
    t.after(async () => {
      await context.close();
      await server.close();
    });
    if (!locks) await context.addInitScript(code);
    const other = await context.newPage();
    await page.goto(server.url + NO_MODEL);
    await other.goto(server.url + NO_MODEL);
    const same = await Promise.all([loadInPage(page, "/a/"), loadInPage(other, "/a/")]);
    assert.deepEqual(same.map(({ code }) => code), [null, null]);
    const [one, two] = await Promise.all([loadInPage(page, "/b/"), loadInPage(other, "/a/"), remove(page, "/a/"), remove(other, "/b/")]);
    assert.deepEqual([one.code, two.code], [null, null]);
    for (const url of ["/a/", "/b/"]) assert.equal((await loadInPage(page, url)).code, null);
    assertQuiet(problems);
  });
}

test("a model that will not fit into the storage is said before the download, and used", async (t) => {
  const sets = { "/m/": withShards("more") };
  const few = inWorker("StorageManager.prototype.estimate = async () => ({ quota: 35e6, usage: 0 });");
  const { page, problems } = await visit(t, browser, { query: NO_MODEL, hook: (request) => few(request) ?? serving(sets)(request) });
  const { code, events } = await loadInPage(page, "/m/");
  assert.equal(code, null);
  assert.match(events.find(({ phase }) => phase !== "manifest")?.warning ?? "", /can store 1 MB more, and the model has 3 MB: .* downloaded again/);
  assert.equal(await blobs(page), 0);
  assertQuiet(problems);
});

test("the page lists the stored models, loads and deletes them", async (t) => {
  const sets = { "/other/": withShards("more") };
  const { page, problems } = await visit(t, browser, { hook: serving(sets) });
  await modelReady(page);
  await page.locator("#model-change").click();
  await page.locator("#model-url").fill(new URL("/other/", page.url()).href);
  await page.locator("#model-picker button[type=submit]").click();
  await page.locator("#model-name", { hasText: "other" }).waitFor();
  await modelReady(page);
  await page.locator("#model-change").click();
  const items = page.locator("#stored-models li");
  await items.nth(1).waitFor();
  assert.match((await items.first().textContent()) ?? "", /other.*MB/);
  assert.match((await page.locator("#stored-note").textContent()) ?? "", /^Stored in this browser: \d/);
  await items.first().locator("button", { hasText: "Delete" }).click();
  await items.nth(1).waitFor({ state: "detached" });
  assert.match((await items.first().textContent()) ?? "", /pocket/);
  await items.first().locator("button", { hasText: "Load" }).click();
  await page.locator("#model-name", { hasText: "pocket" }).waitFor();
  await modelReady(page);
  assertQuiet(problems);
});
