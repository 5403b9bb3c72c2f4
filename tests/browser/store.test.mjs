/** The browser's storage: several models, revisions, broken-off downloads, two tabs, no network. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { NO_MODEL, ask, assertQuiet, launch, launchKept, loadInPage, modelReady, openPage, servePage, visit } from "./harness.mjs";
import { blobs, cached, eventually, remove, serving, shardsOf, withShards } from "./stored.mjs";
import { inWorker } from "./watch.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const REFUSED = /Failed to load resource|ERR_CONNECTION|script failed/;
/** Shards that are fetched at a time. */
const LANES = 4;

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
  let context = await launchKept(folder);
  t.after(async () => {
    await context.close();
    await server.close();
    await rm(folder, { recursive: true, force: true });
  });
  let page = await context.newPage();
  await page.goto(server.url + NO_MODEL);
  void loadInPage(page, "/m/").catch(() => {});
  await eventually(async () => answered.length >= total * 0.4);
  await context.close();

  const first = answered.splice(0);
  blocked = false;
  context = await launchKept(folder);
  page = await context.newPage();
  await page.goto(server.url + NO_MODEL);
  assert.equal((await loadInPage(page, "/m/")).code, null);
  const again = answered.filter((path) => first.includes(path));
  console.log(`of ${first.length} shards that had been sent, ${again.length} were fetched again`);
  assert.ok(again.length <= LANES, again.join());
  assert.equal(new Set([...first, ...answered]).size, total);
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
