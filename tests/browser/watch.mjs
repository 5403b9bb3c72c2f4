/**
 * What the measurements and tests learn of an engine from outside: GPU buffers, wasm memory, and
 * the memory of JavaScript. Nothing here is part of the product.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { WWW } from "./harness.mjs";

/**
 * Runs in the worker before its own code: counts GPU buffers, pipelines and dispatches, and keeps
 * hold of the wasm memory. A buffer counts until it is destroyed or collected, as the GPU counts it.
 */
const WATCH = `
  const watch = (self.watch = { live: 0, peak: 0, largest: 0, buffers: 0, pipelines: 0, dispatches: 0, device: null, memory: null });
  const count = (owner, method, counter) => {
    const call = owner.prototype[method];
    owner.prototype[method] = function (...given) {
      watch[counter] += 1;
      return call.apply(this, given);
    };
  };
  count(GPUDevice, "createComputePipeline", "pipelines");
  count(GPUDevice, "createComputePipelineAsync", "pipelines");
  count(GPUComputePassEncoder, "dispatchWorkgroups", "dispatches");
  const gone = new FinalizationRegistry((size) => (watch.live -= size));
  const createBuffer = GPUDevice.prototype.createBuffer;
  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    watch.live += descriptor.size;
    watch.buffers += 1;
    watch.peak = Math.max(watch.peak, watch.live);
    watch.largest = Math.max(watch.largest, descriptor.size);
    gone.register(buffer, descriptor.size, buffer);
    return buffer;
  };
  const destroy = GPUBuffer.prototype.destroy;
  GPUBuffer.prototype.destroy = function () {
    if (gone.unregister(this)) watch.live -= this.size;
    destroy.call(this);
  };
  const requestDevice = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...options) {
    return (watch.device = await requestDevice.apply(this, options));
  };
  const instantiate = WebAssembly.instantiateStreaming;
  WebAssembly.instantiateStreaming = async (...given) => {
    const result = await instantiate.apply(WebAssembly, given);
    watch.memory = result.instance.exports.memory;
    return result;
  };`;

/**
 * A hook for the server that puts code before the worker's own.
 *
 * @param {string} code
 * @returns {import("../../tools/serve.mjs").Hook}
 */
export function inWorker(code) {
  const worker = readFileSync(join(WWW, "engine/worker.js"), "utf8");
  return ({ path }) => (path === "/engine/worker.js" ? { body: `${code}\n${worker}` } : undefined);
}

/** A hook for the server that makes the worker watchable. */
export const watched = inWorker(WATCH);

/**
 * @typedef {object} Watched
 * @property {number} live bytes of GPU buffers alive
 * @property {number} peak of them
 * @property {number} largest bytes of one GPU buffer
 * @property {number} buffers ever made
 * @property {number} pipelines ever made
 * @property {number} dispatches ever recorded
 * @property {number} wasm bytes of wasm memory, which never shrinks: the peak
 */

/**
 * What the newest worker of the page has used.
 *
 * @param {import("playwright-core").Page} page
 * @returns {Promise<Watched>}
 */
export async function used(page) {
  const worker = page.workers().at(-1);
  if (!worker) throw new Error("no worker runs");
  return worker.evaluate(() => {
    const { memory, device: _, ...counts } = /** @type {any} */ (self).watch;
    return { ...counts, wasm: memory?.buffer.byteLength ?? 0 };
  });
}

/**
 * Samples the JavaScript memory of a page and its workers ten times a second, until stopped: the
 * heaps with what is embedded in them, and array buffers. wasm memory is not among them.
 *
 * @param {import("playwright-core").Page} page
 * @returns {Promise<() => Promise<{ heap: number, arrays: number, together: number }>>} a function
 *   that stops and returns the peaks in bytes
 */
export async function sampleHeap(page) {
  const session = await page.context().newCDPSession(page);
  /** @type {Map<string, { heap: number, arrays: number }>} the last sample of each worker, and of the page under "" */
  const last = new Map([["", { heap: 0, arrays: 0 }]]);
  const peak = { heap: 0, arrays: 0, together: 0 };
  /** @param {string} target @param {any} usage */
  const take = (target, usage) => {
    if (!usage || !last.has(target)) return;
    last.set(target, { heap: usage.usedSize + (usage.embedderHeapUsedSize ?? 0), arrays: usage.backingStorageSize ?? 0 });
    const all = [...last.values()];
    const heap = all.reduce((sum, one) => sum + one.heap, 0);
    const arrays = all.reduce((sum, one) => sum + one.arrays, 0);
    peak.heap = Math.max(peak.heap, heap);
    peak.arrays = Math.max(peak.arrays, arrays);
    peak.together = Math.max(peak.together, heap + arrays);
  };
  session.on("Target.attachedToTarget", ({ sessionId }) => void last.set(sessionId, { heap: 0, arrays: 0 }));
  session.on("Target.detachedFromTarget", ({ sessionId }) => void last.delete(sessionId));
  session.on("Target.receivedMessageFromTarget", ({ sessionId, message }) => take(sessionId, JSON.parse(message).result));
  await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  let id = 0;
  const sample = async () => {
    take("", await session.send("Runtime.getHeapUsage").catch(() => null));
    for (const sessionId of last.keys()) {
      if (!sessionId) continue;
      const message = JSON.stringify({ id: ++id, method: "Runtime.getHeapUsage" });
      await session.send("Target.sendMessageToTarget", { sessionId, message }).catch(() => {});
    }
  };
  const timer = setInterval(() => void sample(), 100);
  return async () => {
    clearInterval(timer);
    await session.detach().catch(() => {});
    return peak;
  };
}
