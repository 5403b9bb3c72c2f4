/** No WebGPU, no adapter, a device that is lost: what the page says, and that it recovers. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { POCKET, ask, assertQuiet, launch, modelReady, shownError, visit } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";
import { inWorker, used, watched } from "./watch.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

test("a browser without WebGPU is told so, and what to do", async (t) => {
  const { server, page, problems } = await visit(t, browser, { hook: inWorker('Object.defineProperty(navigator, "gpu", { value: undefined });') });
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "webgpu-missing");
  assert.match(error.sentence ?? "", /^The model needs WebGPU, .* open chrome:\/\/flags/);
  assert.equal(server.requests.filter((request) => request.path.includes("/pocket/")).length, 0);
  assertQuiet(problems);
});

test("a browser without an adapter is told so, and what to do", async (t) => {
  const { page, problems } = await visit(t, browser, { hook: inWorker("GPU.prototype.requestAdapter = async () => null;") });
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "adapter-missing");
  assert.match(error.sentence ?? "", /^The model needs WebGPU, .* open chrome:\/\/flags/);
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
  const { server, page, problems } = await visit(t, browser, { hook: inWorker(KEEP_DEVICE) });
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

test("a device lost while loading: said, and loaded again only when the visitor says so", async (t) => {
  const inject = inWorker(KEEP_DEVICE);
  let shards = 0;
  let arrived = () => {};
  let release = () => {};
  const asked = new Promise((resolve) => (arrived = () => resolve(null)));
  const gate = new Promise((resolve) => (release = () => resolve(null)));
  const { server, page, problems } = await visit(t, browser, {
    hook: async (request) => {
      if (request.path.endsWith(".safetensors") && shards++ === 0) {
        arrived();
        await gate;
      }
      return inject(request);
    },
  });
  await asked;
  await loseDevice(page);
  release();
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "device-lost");
  // The model itself may have been too much for the GPU.
  const fetched = () => server.requests.filter(({ path }) => path === "/pocket/config.json").length;
  await page.waitForTimeout(1000);
  assert.equal(fetched(), 1);
  assert.equal(await page.locator("#model-state").textContent(), "could not be loaded");
  await page.locator("#model-again").click();
  await modelReady(page);
  assert.equal(fetched(), 2);
  assertQuiet(problems);
});

test("a device lost while answering: the turn says so, the chat stays, the next answer comes", async (t) => {
  const { page, problems } = await visit(t, browser, { hook: inWorker(KEEP_DEVICE) });
  await modelReady(page);
  await page.locator("#examples button").first().click();
  await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
  const question = (await page.locator("#suggestions button").first().textContent()) ?? "";
  await page.locator("#question").fill(question);
  await page.locator("#send").click();
  await loseDevice(page);
  const error = await shownError(page, ".turn .error");
  assert.equal(error.code, "device-lost");
  await modelReady(page);
  await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
  assert.ok((await ask(page, question)).text);
  assert.equal(await page.locator("#turns > li").count(), 2);
  assertQuiet(problems);
});

test("a crash of the browser's GPU process is a lost device, and the model comes back", async (t) => {
  const own = await launch();
  t.after(() => own.close());
  const { page } = await visit(t, own);
  await modelReady(page);
  const session = await own.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  const gpu = processInfo.find(({ type }) => type === "GPU");
  assert.ok(gpu, "the browser has a GPU process");
  process.kill(gpu.id, "SIGKILL");
  assert.equal((await shownError(page, "#model-error")).code, "device-lost");
  await modelReady(page);
});

/**
 * A GPU with this much memory for buffers: what goes beyond is an error in the scope around it.
 *
 * @param {number} bytes
 */
const smallGpu = (bytes) => `
  let live = 0;
  let full = false;
  const scopes = [];
  const createBuffer = GPUDevice.prototype.createBuffer;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    live += descriptor.size;
    if (live > ${bytes} && scopes.includes("out-of-memory")) full = true;
    return createBuffer.call(this, descriptor);
  };
  const destroy = GPUBuffer.prototype.destroy;
  GPUBuffer.prototype.destroy = function () {
    live -= this.size;
    destroy.call(this);
  };
  const push = GPUDevice.prototype.pushErrorScope;
  GPUDevice.prototype.pushErrorScope = function (filter) {
    scopes.push(filter);
    push.call(this, filter);
  };
  const pop = GPUDevice.prototype.popErrorScope;
  GPUDevice.prototype.popErrorScope = function () {
    const fails = scopes.pop() === "out-of-memory" && full;
    if (fails) full = false;
    return pop.call(this).then((error) => (fails ? new GPUOutOfMemoryError("no memory left") : error));
  };`;

test("a GPU with too little memory is noticed before the download", async (t) => {
  const { server, page, problems } = await visit(t, browser, { hook: inWorker(smallGpu(1e6)) });
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "out-of-memory");
  assert.match(error.sentence ?? "", /^The GPU ran out of memory\. The model needs about \d+ MB on the GPU, 2 MB of it for its weights \(q4\)/);
  assert.equal(server.requests.filter(({ path }) => path.endsWith(".safetensors")).length, 0);
  assertQuiet(problems);
});

/**
 * The pocket model with an index that claims more.
 *
 * @param {number} count of shards
 * @param {number} bytes of each
 */
function claiming(count, bytes) {
  const set = new ShardSet(POCKET);
  set.changeIndex((index) => {
    for (let at = 0; at < count; at++) {
      const file = `claimed-${at}.safetensors`;
      index.metadata.shards[file] = { bytes, sha256: at.toString(16).padStart(64, "0") };
      index.weight_map[`claimed.${at}`] = file;
    }
  });
  return set;
}

/** @param {number} bytes the GPU is asked for at most; beyond, the asking itself fails */
const noMoreThan = (bytes) => `{
  let asked = 0;
  const createBuffer = GPUDevice.prototype.createBuffer;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    asked += descriptor.size;
    if (asked > ${bytes}) throw new Error("the GPU was asked for " + asked + " bytes");
    return createBuffer.call(this, descriptor);
  };
}`;

test("an index that claims 53 GB for a small model is refused before the GPU is asked for any of it", async (t) => {
  const set = claiming(200, 256 << 20);
  const { server, page, problems } = await visit(t, browser, {
    query: "?model=./faulty/",
    hook: (request) => inWorker(noMoreThan(10e6))(request) ?? set.hook(request),
  });
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "index-invalid");
  assert.match(error.sentence ?? "", /its shards have 53\.7 GB, but the model that config\.json describes has 2 MB/);
  assert.equal(server.requests.filter(({ path }) => path.endsWith(".safetensors")).length, 0);
  assert.equal(server.requests.filter(({ path }) => path.endsWith("/config.json")).length, 1, "it is not tried again");
  assertQuiet(problems);
});

/** A configuration and an index that agree on 53 GB. */
function claimingTruly() {
  const set = claiming(830, 64 << 20);
  const layers = 24;
  set.changeJson("config.json", (config) => {
    delete config.quantization_config;
    Object.assign(config.text_config, { d_ff: 1 << 20, num_layers: layers, num_decoder_layers: layers });
  });
  const attention = (/** @type {string} */ name) => ["q", "k", "v", "o"].map((part) => `${name}.${part}`);
  const feed = ["wi_0", "wi_1", "wo"].map((part) => `DenseReluDense.${part}`);
  const stacks = { encoder: [attention("SelfAttention"), feed], decoder: [attention("SelfAttention"), attention("EncDecAttention"), feed] };
  set.changeIndex(({ weight_map }) => {
    for (const [stack, parts] of Object.entries(stacks)) {
      for (let block = 0; block < layers; block++) {
        for (const [at, names] of parts.entries()) {
          for (const name of [...names, "layer_norm"]) weight_map[`language_model.${stack}.block.${block}.layer.${at}.${name}.weight`] = "claimed-0.safetensors";
        }
      }
    }
  });
  return set;
}

test("a GPU that refuses is not asked for more", async (t) => {
  const set = claimingTruly();
  const gpu = smallGpu(1e9) + noMoreThan(1e9 + (600 << 20));
  const { page, problems } = await visit(t, browser, {
    query: "?model=./faulty/",
    hook: (request) => inWorker(gpu)(request) ?? set.hook(request),
  });
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "out-of-memory");
  assert.match(error.sentence ?? "", /^The GPU ran out of memory\. The model needs about \d\d\.\d GB on the GPU/);
  assertQuiet(problems);
});

test("memory that runs out while loading is a typed error, not a wrong answer", async (t) => {
  const { server, page, problems } = await visit(t, browser, { hook: inWorker(smallGpu(2_074_880)) });
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "out-of-memory");
  assert.ok(server.requests.some(({ path }) => path.endsWith(".safetensors")), "the trial before had passed");
  assert.ok(await page.locator("#send").isDisabled());
  assertQuiet(problems);
});

test("a tensor larger than the GPU takes is said before the download, with what would fit", async (t) => {
  const limit = 'Object.defineProperty(GPUSupportedLimits.prototype, "maxStorageBufferBindingSize", { get: () => 1 << 20 });';
  const { server, page, problems } = await visit(t, browser, { hook: inWorker(limit) });
  const error = await shownError(page, "#model-error");
  assert.equal(error.code, "model-too-large");
  assert.match(error.sentence ?? "", /^The model does not fit this GPU: one of its tensors has 2 MB, and this GPU takes at most 1 MB at a time\. No format/);
  assert.equal(server.requests.filter(({ path }) => path.endsWith(".safetensors")).length, 0);
  assertQuiet(problems);
});

test("a pipeline that the GPU refuses is a typed error, not a wrong answer", async (t) => {
  // Shaders that are no WGSL: every pipeline made of them is invalid, and nothing throws.
  const spoil = `
    const create = GPUDevice.prototype.createShaderModule;
    GPUDevice.prototype.createShaderModule = function (descriptor) {
      return create.call(this, { ...descriptor, code: "no shader" });
    };`;
  const { page } = await visit(t, browser, { hook: inWorker(spoil) });
  assert.equal((await shownError(page, "#model-error")).code, "gpu");
});

test("the weights are allocated once, in buffers that every GPU offers", async (t) => {
  const { page, problems } = await visit(t, browser, { hook: watched });
  await modelReady(page);
  const { largest, peak, wasm } = await used(page);
  assert.ok(largest <= 128 << 20 && peak > 2e6 && wasm > 0, `${largest} ${peak} ${wasm}`);
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
