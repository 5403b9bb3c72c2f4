/**
 * "The page requests its own files and the model's, and nothing else": every way out of the page
 * and of the engine is tried against a host that tells what reached it, and so is what a policy
 * cannot forbid, so that the documents cannot claim more than is true.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { NO_MODEL, POCKET, agree, assertQuiet, launch, loadInPage, modelReady, servePage, shownError, visit } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";
import { BY_REQUEST, ENGINE, LEAVING, PAGE, PUT, TEXT_AS_CODE, sink } from "./ways_out.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/** What the browser says of what it refuses. */
const REFUSED = /Content Security Policy|Trusted ?(Type|Script|HTML)|violates the following|ERR_BLOCKED_BY_CSP|Failed to load resource|net::ERR_/i;
const set = new ShardSet(POCKET);

/** A host that serves the pocket model to any page. @param {{ after: (end: () => Promise<void>) => void }} t */
async function modelHost(t) {
  /** @type {string[]} what other pages' requests carried */
  const carried = [];
  const host = await servePage({
    hook: ({ path, headers }) => {
      carried.push(...Object.keys(headers).filter((name) => name === "cookie" || name === "referer"));
      const body = set.files.get(path.slice("/pocket/".length));
      return { status: body ? 200 : 404, body: body ?? "", headers: { "access-control-allow-origin": "*" } };
    },
  });
  t.after(host.close);
  return { ...host, carried, folder: `${host.url}pocket/`, origin: new URL(host.url).origin };
}

/** @typedef {import("./ways_out.mjs").Way} Way */

/**
 * @param {Way["outcome"]} expected
 * @param {{ connections: number, messages: number }} got
 * @returns {Way["outcome"]}
 */
function found(expected, got) {
  if (expected === "reached" && got.connections) return "reached";
  if (got.messages) return "message";
  // Whether a browser connects to what it then refuses depends on how busy it is.
  return got.connections || expected === "connection" ? "connection" : "nothing";
}

/**
 * Tries ways at once, each with a sink of its own.
 *
 * @param {(code: string) => Promise<unknown>} evaluate in a page or a worker
 * @param {Way[]} ways
 * @returns {Promise<Record<string, Way["outcome"]>>}
 */
async function tryOut(evaluate, ways) {
  const sinks = await Promise.all(ways.map(async (way) => ({ ...way, ...(await sink()) })));
  try {
    // What throws did not get out; what never settles is not waited for.
    for (const { url, code } of sinks) {
      await evaluate(`void (async () => { const url = ${JSON.stringify(url)}; ${code} })().catch(() => {})`).catch(() => {});
    }
    await new Promise((done) => setTimeout(done, 3500));
    const awaited = () => sinks.some(({ outcome, got }) => (outcome === "message" && !got.messages) || (outcome === "reached" && !got.connections));
    for (let times = 0; times < 60 && awaited(); times++) await new Promise((done) => setTimeout(done, 250));
    return Object.fromEntries(sinks.map(({ name, outcome, got }) => [name, found(outcome, got)]));
  } finally {
    for (const { close } of sinks) close();
  }
}

/** @param {Way[]} ways @returns {Record<string, Way["outcome"]>} */
const expected = (ways) => Object.fromEntries(ways.map(({ name, outcome }) => [name, outcome]));

/**
 * Tries everything in a page whose model is ready.
 *
 * @param {import("playwright-core").Page} page
 */
async function tryEverything(page) {
  const engine = page.workers().at(-1);
  assert.ok(engine, "the engine runs");
  assert.deepEqual(await tryOut((code) => engine.evaluate(code), ENGINE), expected(ENGINE), "out of the engine");
  await page.evaluate(PUT);
  assert.deepEqual(await tryOut((code) => page.evaluate(code), PAGE), expected(PAGE), "out of the page");
}

test("neither the page nor the engine reaches another host, save by what no policy forbids", async (t) => {
  const { page } = await visit(t, browser); // which complains of each
  await modelReady(page);
  await tryEverything(page);
});

test("with a model of another host they reach that one, by requests, and no other", async (t) => {
  const host = await modelHost(t);
  const query = `?model=${host.folder}`;
  const { server, page } = await visit(t, browser, { query, allow: [host.origin] });
  await page.evaluate(() => (document.cookie = "session=secret"));
  await agree(page);
  await modelReady(page);
  assert.deepEqual(host.carried, [], "no cookie, no referrer");
  const before = host.requests.length;
  const engine = page.workers().at(-1);
  const ways = PAGE.filter(({ outcome }) => outcome === "nothing" || outcome === "connection");
  await page.evaluate(PUT);
  for (const { name, code } of ways) {
    const url = `${host.url}way-out?${name.replaceAll(" ", "-")}`;
    await page.evaluate(`void (async () => { const url = ${JSON.stringify(url)}; ${code} })().catch(() => {})`).catch(() => {});
  }
  assert.ok(engine);
  assert.equal(await engine.evaluate(async (url) => (await fetch(url)).status, `${host.folder}config.json`), 200);
  await new Promise((done) => setTimeout(done, 2000));
  const found = host.requests.slice(before).flatMap(({ path }) => path.match(/^\/way-out\?(.*)/)?.[1] ?? []);
  const allowed = new Set(BY_REQUEST.map((name) => name.replaceAll(" ", "-")));
  assert.deepEqual(found.filter((name) => !allowed.has(name)), []);
  assert.ok(found.includes("fetch"));
  await page.goto(server.url + query); // the link again: again it only proposes
  await agree(page);
  await page.reload();
  await modelReady(page); // what was agreed to holds for a reload
  await tryEverything(page);
});

test("no policy keeps a page from leaving", async (t) => {
  for (const way of LEAVING) {
    const { page } = await visit(t, browser, { query: NO_MODEL });
    await page.evaluate(PUT);
    assert.deepEqual(await tryOut((code) => page.evaluate(code), [way]), expected([way]));
  }
});

test("text becomes code in no way", async (t) => {
  const { page, problems } = await visit(t, browser, { query: NO_MODEL });
  await page.evaluate(PUT);
  for (const [name, code] of Object.entries(TEXT_AS_CODE)) {
    // Within a timer, since what a debugger evaluates may be allowed more.
    await page.evaluate(`void setTimeout(async () => { try { ${code} } catch {} })`);
    await page.waitForTimeout(200);
    assert.equal(await page.evaluate("self.ran"), undefined, name);
  }
  assertQuiet(problems, [REFUSED, /Refused to|javascript:/, /page error/]);
});

test("headers that the host does not send come with the service worker", async (t) => {
  const html = readFileSync(new URL("../../www/index.html", import.meta.url));
  const plain = { headers: { "content-type": "text/html" }, body: html };
  const { page, problems } = await visit(t, browser, { query: NO_MODEL, hook: ({ path }) => (path === "/" ? plain : undefined) });
  const popup = PAGE.filter(({ name }) => name === "popup of our own address without a policy");
  assert.deepEqual(await tryOut((code) => page.evaluate(code), popup), { [popup[0]?.name ?? ""]: "message" }, "the first visit has none");
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  const response = await page.reload();
  const headers = response?.headers() ?? {};
  assert.equal(headers["cross-origin-opener-policy"], "same-origin");
  assert.match(headers["permissions-policy"] ?? "", /camera=\(\), microphone=\(\), geolocation=\(\), display-capture=\(\)/);
  assert.match(headers["content-security-policy"] ?? "", /frame-ancestors 'none'/);
  assert.equal(headers["referrer-policy"], "no-referrer");
  assert.deepEqual(await tryOut((code) => page.evaluate(code), popup), expected(popup), "the second has them");
  assertQuiet(problems, [REFUSED]);
});

test("sw.js, the development server and docs/hosting.md name the same headers", async (t) => {
  const server = await servePage();
  t.after(server.close);
  const { headers } = await fetch(server.url);
  for (const file of ["www/sw.js", "docs/hosting.md"]) {
    const text = readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
    for (const name of ["content-security-policy", "cross-origin-opener-policy", "permissions-policy", "referrer-policy"]) {
      const value = headers.get(name) ?? "";
      assert.ok(value && text.includes(value), `${file}: ${name}`);
      if (name !== "content-security-policy") assert.match(text, new RegExp(name, "i"));
    }
  }
});

test("SECURITY.md names every way that no policy forbids", () => {
  const text = readFileSync(new URL("../../SECURITY.md", import.meta.url), "utf8");
  const [, rest = ""] = text.split("## What no policy forbids");
  const ways = [...PAGE.filter(({ outcome }) => outcome === "message" || outcome === "reached"), ...LEAVING];
  for (const { name } of ways) assert.match(rest.split("\n## ")[0] ?? "", new RegExp(`\\b${name}\\b`), name);
});

test("an own address that sends on to another host is not followed", async (t) => {
  const host = await modelHost(t);
  const { page, problems } = await visit(t, browser, {
    query: "?model=/go/",
    hook: ({ path }) => (path.startsWith("/go/") ? { status: 302, headers: { location: `${host.folder}${path.slice(4)}` } } : undefined),
  });
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "network");
  assert.match(error.sentence ?? "", /go\/.* this page’s Content-Security-Policy refused it\. If that host sends on/);
  assert.deepEqual(host.requests, []);
  assertQuiet(problems, [REFUSED]);
});

test("a host that was agreed to and sends on to a third is not followed either", async (t) => {
  const third = await modelHost(t);
  const host = await servePage({
    hook: ({ path }) => ({ status: 302, headers: { location: `${third.url}${path.slice(1)}`, "access-control-allow-origin": "*" } }),
  });
  t.after(host.close);
  const { page, problems } = await visit(t, browser, {
    query: `?model=${host.url}pocket/`,
    allow: [new URL(host.url).origin, third.origin],
  });
  await agree(page);
  const error = await shownError(page, "#model-error");
  assert.match(error.sentence ?? "", /Content-Security-Policy refused it/);
  assert.deepEqual(third.requests, []);
  assertQuiet(problems, [REFUSED]);
});

test("a link loads by itself only what lies below the page; the rest it proposes", async (t) => {
  const server = await servePage({ mounts: { "/page": new URL("../../www", import.meta.url).pathname, "/page/pocket": POCKET, "/other": POCKET } });
  t.after(server.close);
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(180_000);
  for (const query of ["?model=/other/", "?model=../other/", "?model=./..%252fother/", "?model=http://127.0.0.1:1/"]) {
    const before = server.requests.length;
    await page.goto(`${server.url}page/${query}`);
    await page.locator("#model-picker:not([hidden])").waitFor();
    assert.deepEqual(server.requests.slice(before).filter(({ path }) => /config\.json|\.safetensors/.test(path)), [], query);
  }
  // The visitor's word is enough, without opening the page anew, and holds for a reload.
  await page.goto(`${server.url}page/?model=/other/`);
  await page.locator("#model-picker button[type=submit]").click();
  await modelReady(page);
  await page.reload();
  await modelReady(page);
  await page.goto(`${server.url}page/?model=./pocket/`);
  await modelReady(page);
});

test("an address that is none is said, and another can be chosen", async (t) => {
  for (const address of ["http://[", "data:text/plain,x", "javascript:alert(1)", "https://*/", "https://a,b/"]) {
    const { page, problems } = await visit(t, browser, { query: `?model=${encodeURIComponent(address)}` });
    const error = await shownError(page, "#model-error");
    assert.equal(error.code, "option-invalid", address);
    assert.match(error.sentence ?? "", /is not the address of a model|cannot be limited to the host/);
    assert.ok(await page.evaluate(async () => Boolean(await navigator.serviceWorker.ready)));
    if (address !== "http://[") continue;
    // What is typed is judged by the same rules, and does not stand in the way of another choice.
    await page.locator("#model-picker button[type=submit]").click();
    assert.equal((await shownError(page, "#model-error")).code, "option-invalid");
    await page.locator("#model-pocket").check();
    await page.locator("#model-picker button[type=submit]").click();
    await modelReady(page);
    assertQuiet(problems);
  }
});

test("the engine runs in a page without a policy, and in one that demands Trusted Types of its own", async (t) => {
  const plain = { headers: { "content-type": "text/html" }, body: '<!doctype html><link rel="icon" href="data:,">' };
  const strict = {
    ...plain,
    headers: { ...plain.headers, "content-security-policy": "require-trusted-types-for 'script'; trusted-types default" },
  };
  const { server, page, problems } = await visit(t, browser, {
    query: "plain.html",
    hook: ({ path }) => ({ "/plain.html": plain, "/strict.html": strict })[path],
  });
  assert.equal((await loadInPage(page, "/pocket/")).code, null);
  // A worker under its own address would not inherit the page's policy.
  const failed = await page.evaluate(
    () => new Promise((done) => new Worker("/engine/worker.js", { type: "module" }).addEventListener("error", ({ message }) => done(message))),
  );
  assert.match(String(failed), /started by engine\.js/);
  await page.goto(`${server.url}strict.html`);
  await page.evaluate(() => /** @type {any} */ (self).trustedTypes.createPolicy("default", { createScriptURL: (/** @type {string} */ url) => url }));
  assert.equal((await loadInPage(page, "/pocket/")).code, null);
  assertQuiet(problems, [/started by engine\.js/, /TrustedTypePolicy named 'instructblip'|trusted-types/]);
});
