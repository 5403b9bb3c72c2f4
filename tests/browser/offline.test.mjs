/** The service worker: a copy of the page for visits without a network, whole and of one version. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { LIST } from "../../tools/page_files.mjs";
import { NO_MODEL, WWW, assertQuiet, launch, modelReady, visit } from "./harness.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const REFUSED = /Failed to load resource|ERR_CONNECTION|script failed/;

/** Waits for the service worker. @param {import("playwright-core").Page} page */
const installed = (page) => page.evaluate(async () => void (await navigator.serviceWorker.ready));

/** What is kept, by version. @param {import("playwright-core").Page} page @returns {Promise<Record<string, string[]>>} */
const copies = (page) =>
  page.evaluate(async () => {
    /** @type {Record<string, string[]>} */
    const found = {};
    for (const name of (await caches.keys()).filter((name) => name.startsWith("instructblip-page"))) {
      found[name] = (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname);
    }
    return found;
  });

/**
 * Another version of the page, as a host would serve it.
 *
 * @param {Record<string, string>} changed files by path
 * @returns {Map<string, { body: string, headers: Record<string, string> }>}
 */
function version(changed) {
  const types = /** @type {Record<string, string>} */ ({ css: "text/css", js: "text/javascript", "": "text/html" });
  let list = readFileSync(join(WWW, LIST), "utf8");
  for (const [path, text] of Object.entries(changed)) {
    const name = path === "/" ? "./" : path.slice(1);
    const sha256 = createHash("sha256").update(text).digest("hex");
    list = list.replace(new RegExp(`("${name}": ")[0-9a-f]+`), `$1${sha256}`);
  }
  const all = { ...changed, [`/${LIST}`]: list.replace(/("version": ")\w+/, `$1${createHash("sha256").update(list).digest("hex").slice(0, 16)}`) };
  return new Map(
    Object.entries(all).map(([path, body]) => [path, { body, headers: { "content-type": types[path.match(/\w+$/)?.[0] ?? ""] ?? "text/html" } }]),
  );
}

test("every file of the page is kept, and none of a model", async (t) => {
  const { page, problems } = await visit(t, browser);
  await modelReady(page);
  await installed(page);
  const own = readdirSync(WWW, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.\w+$/.test(file) && !/^(pocket\b|sw\.js|index\.html|preview\.png)|page_files\.js$|\.d\.ts$|\.br$/.test(file))
    .map((file) => `/${file.replaceAll("\\", "/")}`);
  const kept = Object.values(await copies(page));
  assert.equal(kept.length, 1);
  assert.deepEqual(kept[0]?.sort(), [...own, "/"].sort());
  assertQuiet(problems);
});

test("an update of the page arrives with the next visit", async (t) => {
  let title = "";
  const { page, problems } = await visit(t, browser, {
    query: NO_MODEL,
    hook: ({ path }) => (path === "/" && title ? { headers: { "content-type": "text/html" }, body: `<link rel="icon" href="icon.svg"><title>${title}</title>` } : undefined),
  });
  await installed(page);
  title = "newer";
  await page.reload();
  assert.equal(await page.title(), "newer");
  assertQuiet(problems);
});

test("what is not a file of this version is not kept, and nothing else then either", async (t) => {
  const html = { headers: { "content-type": "text/html" }, body: "<title>Please log in</title>" };
  /** @type {[string, import("../../tools/serve.mjs").Reply][]} */
  const answers = [
    ["/app.js", html],
    ["/app.js", { status: 404, body: "" }],
    ["/page/chat.js", { status: 302, headers: { location: "/app.js" } }],
    ["/style.css", { headers: { "content-type": "text/css" }, body: "/* of the version before */" }],
  ];
  for (const [file, reply] of answers) {
    const { page } = await visit(t, browser, { query: NO_MODEL, hook: ({ path }) => (path === file ? reply : undefined) });
    const failed = await page.evaluate(async () => {
      const registration = await navigator.serviceWorker.register("sw.js?again").catch(() => null);
      const worker = registration?.installing;
      if (worker) await new Promise((done) => worker.addEventListener("statechange", done, { once: true }));
      return worker?.state ?? "none";
    }).catch(() => "refused");
    assert.notEqual(failed, "activated");
    await page.waitForTimeout(1500);
    assert.deepEqual(Object.values(await copies(page)).flat(), [], file);
  }
});

test("a new version is kept whole or not at all, and serves when no page of the old one is open", async (t) => {
  /** @type {ReturnType<typeof version>} */
  let served = new Map();
  const { server, page, problems } = await visit(t, browser, { query: NO_MODEL, hook: ({ path }) => served.get(path) });
  await installed(page);
  const [old] = Object.keys(await copies(page));
  const index = readFileSync(join(WWW, "index.html"), "utf8");
  const files = { "/": index.replace("<title>", "<title>second "), "/style.css": `${readFileSync(join(WWW, "style.css"), "utf8")} body { --version: second }` };
  const update = async () => {
    await page.reload();
    return page.evaluate(async () => {
      const registration = await navigator.serviceWorker.ready;
      await registration.update().catch(() => {});
      const worker = registration.installing;
      if (worker) await new Promise((done) => worker.addEventListener("statechange", done, { once: true }));
      return registration.waiting !== null;
    });
  };
  // Caught in the middle of being put on the host: the list is there, a file is not.
  served = version(files);
  served.delete("/style.css");
  assert.equal(await update(), false);
  assert.equal(await page.title(), "second InstructBLIP in the browser", "with a network, what the network has");
  assert.deepEqual(Object.keys(await copies(page)), [old]);

  served = version(files);
  assert.equal(await update(), true);
  assert.equal(Object.keys(await copies(page)).length, 2, "the old one stays while its page is open");
  const context = page.context();
  await page.close();
  await server.close();
  const again = await context.newPage();
  await again.goto(server.url + NO_MODEL);
  assert.equal(await again.title(), "second InstructBLIP in the browser");
  assert.equal(await again.evaluate(() => getComputedStyle(document.body).getPropertyValue("--version")), "second");
  const left = Object.keys(await copies(again));
  assert.ok(left.length === 1 && left[0] !== old, left.join());
  assertQuiet(problems, [REFUSED]);
});

test("a page from the copy takes all its files from there, whatever the network has by then", async (t) => {
  let down = false;
  const { page, problems } = await visit(t, browser, {
    query: NO_MODEL,
    hook: ({ path }) => {
      if (down && path === "/") return { write: (response) => void response.destroy() };
      return down && path === "/style.css" ? { headers: { "content-type": "text/css" }, body: "body { --version: other }" } : undefined;
    },
  });
  await installed(page);
  down = true;
  await page.reload();
  assert.match(await page.title(), /InstructBLIP/);
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).getPropertyValue("--version")), "");
  assertQuiet(problems, [REFUSED]);
});
