/**
 * A model that arrives in stages: pictures are looked at before the language model is there, and
 * pipelines are compiled meanwhile.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { NO_MODEL, POCKET, WWW, ask, assertQuiet, givePicture, launch, modelReady, shownError, visit } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";
import { used, watched } from "./watch.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const VISION = /^vision_model\./;
const { cases } = JSON.parse(readFileSync(new URL("./pocket_cases.json", import.meta.url), "utf8"));
const { picture, question, answer } = cases[0];
const file = readFileSync(join(WWW, picture));

/**
 * Serves the pocket model in two shards and holds back those that `held` names until `release`.
 *
 * @param {ShardSet} set
 * @param {string[]} held
 */
function holdBack(set, held) {
  let release = () => {};
  const gate = new Promise((resolve) => (release = () => resolve(null)));
  /** @type {import("../../tools/serve.mjs").Hook} */
  const hook = async (request) => {
    if (held.some((shard) => request.path.endsWith(shard))) await gate;
    return set.hook(request) ?? watched(request);
  };
  return { hook, release };
}

/** Two shards, the vision tower's first, and the second held back. */
function visionFirst() {
  const set = new ShardSet(POCKET);
  const [, rest] = set.split(VISION);
  return holdBack(set, [rest]);
}

/**
 * Opens the model under `/faulty/` through the developers' entry and keeps it in the page.
 *
 * @param {import("playwright-core").Page} page
 */
function open(page) {
  return page.evaluate(async () => {
    const { Model } = await import(`${location.origin}/instructblip.js`);
    /** @type {any} */ (self).model = Model.open("/faulty/");
  });
}

/** @param {import("playwright-core").Page} page @returns {Promise<import("../../www/engine/protocol.js").PictureInfo>} */
function setPicture(page) {
  return page.evaluate((bytes) => /** @type {any} */ (self).model.setPicture(new Uint8Array(bytes)), [...file]);
}

/** @param {import("playwright-core").Page} page @returns {Promise<import("../../www/engine/protocol.js").Answer>} */
function askModel(page) {
  return page.evaluate((question) => /** @type {any} */ (self).model.ask(question), question);
}

test("a picture is looked at before the last shard is there, and once", async (t) => {
  const { hook, release } = visionFirst();
  const { page, problems } = await visit(t, browser, { query: NO_MODEL, hook });
  await open(page);
  const { visionMs } = await setPicture(page);
  assert.ok(visionMs > 0, "the vision tower ran, the language model being held back");
  const early = askModel(page);
  release();
  const first = await early;
  assert.equal(first.text, answer);
  assert.ok(first.statistics.visionDispatches > 0);
  const { dispatches } = await used(page);
  assert.equal((await setPicture(page)).visionMs, 0, "the same picture again is known");
  assert.equal((await used(page)).dispatches, dispatches, "and costs no dispatch");
  const second = await askModel(page);
  assert.deepEqual(second.ids, first.ids);
  assert.equal(second.statistics.visionDispatches, 0);
  assertQuiet(problems);
});

test("the second of two equal questions dispatches what the first did without the picture", async (t) => {
  const { page, problems } = await visit(t, browser, { query: NO_MODEL, hook: watched });
  await page.evaluate(async () => {
    const { Model } = await import(`${location.origin}/instructblip.js`);
    /** @type {any} */ (self).model = await Model.load("/pocket/");
  });
  await setPicture(page);
  const counts = [(await used(page)).dispatches];
  for (let time = 0; time < 2; time++) {
    await askModel(page);
    counts.push((await used(page)).dispatches);
  }
  const [seen = 0, first = 0, second = 0] = counts;
  assert.ok(first > seen);
  assert.equal(second - first, first - seen);
  assertQuiet(problems);
});

test("the vision tower's shards are fetched first, whatever the index's order", async (t) => {
  const set = new ShardSet(POCKET);
  const [first, second] = set.split(/^(?!vision_model\.)/);
  const { server, page, problems } = await visit(t, browser, { query: "?model=./faulty/", hook: set.hook });
  await modelReady(page);
  const shards = server.requests.map(({ path }) => path.replace("/faulty/", "")).filter((path) => path.endsWith(".safetensors"));
  assert.deepEqual(shards, [second, first]);
  assertQuiet(problems);
});

test("on the page a picture and a question may come before the model", async (t) => {
  const { hook, release } = visionFirst();
  const { page, problems } = await visit(t, browser, { query: "?model=./faulty/", hook });
  await givePicture(page, "picture.png", file);
  assert.notEqual(await page.locator("#model-state").getAttribute("data-state"), "ready");
  await page.locator("#question").fill(question);
  await page.locator("#send").click();
  const turn = page.locator("#turns > li").last();
  await turn.locator(".notice:not([hidden])", { hasText: "as soon as the model has arrived" }).waitFor();
  release();
  await turn.locator(".facts:not([hidden])").waitFor();
  assert.equal(await turn.locator(".answer-text").textContent(), answer);
  assert.ok(await turn.locator(".notice").isHidden());
  assertQuiet(problems);
});

test("a question that waits for the model can be stopped, and asked again", async (t) => {
  const { hook, release } = visionFirst();
  const { page, problems } = await visit(t, browser, { query: "?model=./faulty/", hook });
  await givePicture(page, "picture.png", file);
  await page.locator("#question").fill(question);
  await page.locator("#send").click();
  await page.locator("#stop").click();
  await page.locator(".turn .notice:not([hidden])", { hasText: "Stopped." }).waitFor();
  release();
  await modelReady(page);
  assert.equal((await ask(page, question)).text, answer);
  assertQuiet(problems);
});

test("a picture that waits for the vision tower can be replaced", async (t) => {
  const set = new ShardSet(POCKET);
  const shards = set.split(VISION);
  const { hook, release } = holdBack(set, shards);
  const { page, problems } = await visit(t, browser, { query: NO_MODEL, hook });
  await open(page);
  const code = await page.evaluate(async () => {
    const control = new AbortController();
    const waits = /** @type {any} */ (self).model.setPicture(new Uint8Array([1]), control.signal);
    setTimeout(() => control.abort(), 50);
    return waits.catch((/** @type {any} */ error) => error.code);
  });
  assert.equal(code, "cancelled");
  const next = setPicture(page);
  release();
  assert.ok((await next).visionMs > 0);
  assert.equal((await askModel(page)).text, answer);
  assertQuiet(problems);
});

test("cancelling after the vision tower has come, and loading again", async (t) => {
  const { hook, release } = visionFirst();
  const { page, problems } = await visit(t, browser, { query: "?model=./faulty/", hook });
  await givePicture(page, "picture.png", file);
  await page.locator("#loading-cancel").click();
  await page.locator("#model-again:not([hidden])").waitFor();
  assert.ok(await page.locator("#send").isDisabled());
  assert.ok(await page.locator("#picture-error").isHidden());
  release();
  await page.locator("#model-again").click();
  await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
  assert.equal((await ask(page, question)).text, answer);
  assertQuiet(problems);
});

test("a device lost between the stages: said, and all comes back when the visitor says so", async (t) => {
  const { hook, release } = visionFirst();
  const { page, problems } = await visit(t, browser, { query: "?model=./faulty/", hook });
  await givePicture(page, "picture.png", file);
  await page.workers().at(-1)?.evaluate(() => /** @type {any} */ (self).watch.device.destroy());
  release();
  assert.equal((await shownError(page, "#model-error")).code, "device-lost");
  await page.locator("#model-again").click();
  await page.locator('#model-state[data-state="loading"]').waitFor();
  await modelReady(page);
  await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
  assert.equal((await ask(page, question)).text, answer);
  assertQuiet(problems);
});

test("what waits for a model that cannot be loaded fails with its error", async (t) => {
  const set = new ShardSet(POCKET);
  const [, rest] = set.split(VISION);
  set.files.set(rest, set.file(rest).subarray(1));
  const { page, problems } = await visit(t, browser, { query: NO_MODEL, hook: set.hook });
  await open(page);
  const code = await page.evaluate(() => /** @type {any} */ (self).model.ask("Why?").catch((/** @type {any} */ error) => error.code));
  assert.equal(code, "shard-corrupt");
  assertQuiet(problems);
});

test("no pipeline is left to compile for the first picture and question", async (t) => {
  const { page, problems } = await visit(t, browser, { hook: watched });
  await modelReady(page);
  const { pipelines } = await used(page);
  await givePicture(page, "picture.png", file);
  assert.equal((await ask(page, "What color is the large triangle in the middle?")).text, answer);
  assert.equal((await used(page)).pipelines, pipelines);
  assertQuiet(problems);
});
