/** Hosts that misbehave: each fault is survived, or said in a sentence. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { NO_MODEL, POCKET, agree, assertQuiet, launch, loadInPage, modelReady, servePage, shownError, visit } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const FAILED = /Failed to load resource/;
const CORS = /CORS policy|Failed to load resource/;
const set = new ShardSet(POCKET);
const shard = set.shards[0] ?? "";
const bytes = set.file(shard);

/**
 * Loads the pocket model while its shard is served by `faulty`, as long as that has an answer.
 *
 * @param {{ after: (end: () => Promise<void>) => void }} t
 * @param {(time: number) => import("../../tools/serve.mjs").Reply | undefined} faulty gets the
 *   number of requests so far
 * @param {{ stallTimeout?: number }} [options]
 * @param {RegExp[]} [expected]
 */
async function loadFaulty(t, faulty, options, expected = []) {
  let times = 0;
  const { page, problems } = await visit(t, browser, {
    query: NO_MODEL,
    hook: ({ path }) => (path === `/pocket/${shard}` ? faulty(times++) : undefined),
  });
  const result = await loadInPage(page, "/pocket/", options);
  assertQuiet(problems, expected);
  return { ...result, times };
}

/** @param {import("node:http").ServerResponse} response */
const head = (response) => response.writeHead(200, { "content-length": bytes.length });

test("503 twice, then well", async (t) => {
  const { code, times } = await loadFaulty(t, (time) => (time < 2 ? { status: 503, body: "busy" } : undefined), {}, [FAILED]);
  assert.equal(code, null);
  assert.equal(times, 3);
});

test("a shard that is not there", async (t) => {
  const { code, sentence, times } = await loadFaulty(t, () => ({ status: 404, body: "" }), {}, [FAILED]);
  assert.equal(code, "network");
  assert.match(sentence, /there is no such file \(404\)/);
  assert.equal(times, 1, "asking again would not help");
});

test("a connection cut in the middle of a shard", async (t) => {
  const cut = {
    write: (/** @type {import("node:http").ServerResponse} */ response) =>
      void head(response).write(bytes.subarray(0, bytes.length / 2), () => response.destroy()),
  };
  const { code, times, events } = await loadFaulty(t, (time) => (time === 0 ? cut : undefined), {}, [FAILED]);
  assert.equal(code, null);
  assert.equal(times, 2);
  assert.equal(events.at(-1)?.loaded, bytes.length, "the first half is not counted twice");
});

test("a server without Content-Length", async (t) => {
  const { code } = await loadFaulty(t, () => ({ write: (response) => response.writeHead(200).end(bytes) }));
  assert.equal(code, null);
});

test("a truncated shard without Content-Length is fetched again, then refused", async (t) => {
  const { code, sentence, times } = await loadFaulty(t, () => ({ write: (response) => response.writeHead(200).end(bytes.subarray(1)) }));
  assert.equal(code, "shard-corrupt");
  assert.match(sentence, /promises \d+ bytes, \d+ came/);
  assert.equal(times, 2);
});

test("a server that stalls before or within an answer is asked again", async (t) => {
  for (const stall of [{ never: true }, { write: (/** @type {any} */ response) => void head(response).write(bytes.subarray(0, 1000)) }]) {
    const { code, times, seconds } = await loadFaulty(t, (time) => (time === 0 ? stall : undefined), { stallTimeout: 1000 });
    assert.equal(code, null);
    assert.equal(times, 2);
    assert.ok(seconds >= 1, "it was waited for");
  }
});

test("a server that stalls for ever is given up in the end", async (t) => {
  const { code, sentence, times } = await loadFaulty(t, () => ({ never: true }), { stallTimeout: 200 });
  assert.equal(code, "network");
  assert.match(sentence, /the server sent nothing for \d+ seconds/);
  assert.equal(times, 5);
});

test("a minute of silence is survived without any option", () => {
  const source = readFileSync(new URL("../../src/web/fetch.rs", import.meta.url), "utf8");
  const number = (/** @type {RegExp} */ pattern) => Number((source.match(pattern)?.[1] ?? "").replaceAll("_", ""));
  const stall = number(/STALL_MS: f64 = ([\d_.]+)/);
  const tries = number(/TRIES: u32 = (\d+)/);
  assert.ok(stall < 60_000 && (tries - 1) * stall > 60_000, `${tries} tries of ${stall} ms`);
});

test("a host without CORS headers is told what it must send", async (t) => {
  const host = await servePage();
  t.after(host.close);
  const { server, page, problems } = await visit(t, browser, { query: `?model=${host.url}pocket/`, allow: [new URL(host.url).origin] });
  await agree(page);
  const { code, sentence } = await shownError(page, "#model-error");
  assert.equal(code, "cors-missing");
  const origin = server.url.replace(/\/$/, "");
  assert.match(sentence ?? "", new RegExp(`^${host.url}pocket/\\S+ cannot be read .* Access-Control-Allow-Origin: ${origin}`));
  assertQuiet(problems, [CORS]);
});

test("a host with CORS headers will do, and is not asked for before the visitor agrees", async (t) => {
  const host = await servePage({
    hook: ({ path }) => {
      const body = set.files.get(path.slice("/pocket/".length));
      return { status: body ? 200 : 404, body: body ?? "", headers: { "access-control-allow-origin": "*" } };
    },
  });
  t.after(host.close);
  const { page, problems } = await visit(t, browser, { allow: [new URL(host.url).origin] });
  await page.locator("#model-change").click();
  await page.locator("#model-url").fill(`${host.url}pocket/`);
  assert.deepEqual(host.requests, []);
  await agree(page);
  await modelReady(page);
  assert.equal(new URL(page.url()).searchParams.get("model"), `${host.url}pocket/`);
  // Back to our own, in place.
  await page.locator("#model-change").click();
  await page.locator("#model-pocket").check();
  await page.locator("#model-picker button[type=submit]").click();
  await page.locator('#model-state[data-state="loading"]').waitFor();
  await modelReady(page);
  assert.equal(new URL(page.url()).search, "");
  assertQuiet(problems);
});

test("a host that is not there", async (t) => {
  const { page, problems } = await visit(t, browser, { query: "?model=http://127.0.0.1:1/pocket/", allow: ["http://127.0.0.1:1"] });
  await agree(page);
  const { code, sentence } = await shownError(page, "#model-error");
  assert.equal(code, "network");
  assert.match(sentence ?? "", /^Could not fetch http:\/\/127\.0\.0\.1:1\/pocket\//);
  assertQuiet(problems, [FAILED]);
});

test("cancelling acts within a tenth of a second, in every phase", async (t) => {
  const large = new ShardSet(POCKET);
  for (let at = 0; at < 4; at++) large.addUnused(`unused.${at}`, 8 << 20);
  const { page, problems } = await visit(t, browser, { query: NO_MODEL, hook: large.hook });
  const phases = ["manifest", "download", "pipelines"];
  for (const cancelIn of phases) {
    const { code, cancelSeconds } = await loadInPage(page, "/faulty/", { cancelIn });
    assert.equal(code, "cancelled", cancelIn);
    assert.ok(cancelSeconds < 0.1, `${cancelIn}: ${cancelSeconds} s`);
  }
  assert.equal((await loadInPage(page, "/faulty/", { cancelIn: "cache" })).code, "cancelled");
  const { code, events } = await loadInPage(page, "/faulty/");
  assert.equal(code, null);
  assert.ok(events.every(({ loaded, uploaded, total }) => uploaded <= loaded && loaded <= total));
  assert.deepEqual(events.at(-1)?.phase, "ready");
  assertQuiet(problems);
});
