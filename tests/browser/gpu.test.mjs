/** No WebGPU, no adapter, a device that is lost: what the page says, and that it recovers. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { WWW, ask, assertQuiet, launch, modelReady, shownError, visit } from "./harness.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/**
 * What makes the server put a line before the worker's own code.
 *
 * @param {string} line
 */
function inWorker(line) {
  const worker = readFileSync(join(WWW, "engine/worker.js"), "utf8");
  /** @type {import("../../tools/serve.mjs").Hook} */
  const hook = ({ path }) => (path === "/engine/worker.js" ? { body: `${line}\n${worker}` } : undefined);
  return { hook };
}

test("a browser without WebGPU is told so, and what to do", async (t) => {
  const { server, page, problems } = await visit(t, browser, inWorker('Object.defineProperty(navigator, "gpu", { value: undefined });'));
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "webgpu-missing");
  assert.match(error.sentence ?? "", /^This browser has no WebGPU\. Use a current Chrome, Edge, Safari or Firefox/);
  assert.equal(server.requests.filter((request) => request.path.includes("/pocket/")).length, 0);
  assertQuiet(problems);
});

test("a browser without an adapter is told so, and what to do", async (t) => {
  const { page, problems } = await visit(t, browser, inWorker("GPU.prototype.requestAdapter = async () => null;"));
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "adapter-missing");
  assert.match(error.sentence ?? "", /^No GPU adapter was found .*Update the graphics driver/);
  assertQuiet(problems);
});

/** Lets a test reach the worker's device. */
const KEEP_DEVICE = `
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...options) {
    return (self.testDevice = await request.apply(this, options));
  };`;

/** @param {import("playwright-core").Page} page */
async function loseDevice(page) {
  const worker = page.workers().at(-1);
  assert.ok(worker, "the worker runs");
  await worker.evaluate(() => /** @type {any} */ (self).testDevice.destroy());
}

test("a lost device is said, the model comes back from the cache, the chat stays", async (t) => {
  const { server, page, problems } = await visit(t, browser, inWorker(KEEP_DEVICE));
  await modelReady(page);
  await page.locator("#examples button").first().click();
  await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
  const question = (await page.locator("#suggestions button").first().textContent()) ?? "";
  const first = await ask(page, question);

  const before = server.requests.length;
  await loseDevice(page);
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "device-lost");
  assert.match(error.sentence ?? "", /^The GPU was lost/);
  await modelReady(page);

  // A second loss soon after is not answered by itself: the visitor decides.
  await loseDevice(page);
  await page.locator("#model-again:not([hidden])").click();
  await modelReady(page);
  await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
  const shards = server.requests.slice(before).filter((request) => request.path.endsWith(".safetensors"));
  assert.equal(shards.length, 0, "the shards came from the cache");
  const second = await ask(page, question);
  assert.equal(second.text, first.text);
  assert.equal(await page.locator("#turns > li").count(), 2);
  assertQuiet(problems);
});

test("a panic ends the engine with its message, and it can be loaded again", async (t) => {
  // A trap surfaces as an uncaught error of the worker.
  const { page, problems } = await visit(t, browser);
  await modelReady(page);
  await page.workers().at(-1)?.evaluate(() => {
    setTimeout(() => {
      throw new WebAssembly.RuntimeError("unreachable");
    });
  });
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "internal");
  await page.locator("#model-again").click();
  await modelReady(page);
  assertQuiet(problems);
});
