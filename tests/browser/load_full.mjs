/**
 * Measures loading a shard set in headless Chromium: `node tests/browser/load_full.mjs SET_FOLDER`.
 *
 * Prints one JSON object: seconds cold and from the cache, peak memories, GPU bytes, and, for
 * comparison, `curl` of the same bytes from the same server and a plain `fetch` + `writeBuffer`
 * loop in the same browser. Not a test; a set of any size will do.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { NO_MODEL, launchKept, servePage } from "./harness.mjs";
import { sampleHeap, used, watched } from "./watch.mjs";

const MIB = 2 ** 20;

/** @param {string} folder */
async function shardsOf(folder) {
  const index = JSON.parse(await readFile(join(folder, "model.safetensors.index.json"), "utf8"));
  const shards = Object.entries(/** @type {Record<string, { bytes: number }>} */ (index.metadata.shards));
  return {
    files: shards.map(([file]) => file),
    bytes: shards.reduce((sum, [, shard]) => sum + shard.bytes, 0),
    weights: Number(index.metadata.total_size),
  };
}

/**
 * Loads through the product's own entry, in a fresh page, and measures from outside.
 *
 * @param {import("playwright-core").BrowserContext} context
 * @param {string} origin
 * @param {number} bytes
 */
async function load(context, origin, bytes) {
  const page = await context.newPage();
  page.setDefaultTimeout(0);
  await page.goto(origin + NO_MODEL);
  const stop = await sampleHeap(page);
  const seconds = await page.evaluate(async (url) => {
    const { Model } = await import(`${location.origin}/instructblip.js`);
    const start = performance.now();
    const model = await Model.load(url);
    /** @type {any} */ (self).kept = model;
    return (performance.now() - start) / 1e3;
  }, `${origin}model/`);
  const memory = await used(page);
  const heap = await stop();
  await page.close();
  return { seconds, mbPerSecond: bytes / 1e6 / seconds, memory, heap };
}

/**
 * The least a page can do with these bytes: fetch a shard, write it to a buffer, wait.
 *
 * @param {import("playwright-core").BrowserContext} context
 * @param {string} origin
 * @param {string[]} files
 */
async function plain(context, origin, files) {
  const page = await context.newPage();
  page.setDefaultTimeout(0);
  await page.goto(origin + NO_MODEL);
  const seconds = await page.evaluate(
    async ({ base, files }) => {
      const gpu = /** @type {any} */ (navigator).gpu;
      const device = await (await gpu.requestAdapter()).requestDevice();
      const start = performance.now();
      const buffers = [];
      for (const file of files) {
        const bytes = await (await fetch(base + file, { cache: "no-store" })).arrayBuffer();
        const buffer = device.createBuffer({ size: Math.ceil(bytes.byteLength / 4) * 4, usage: 0x88 }); // STORAGE | COPY_DST
        device.queue.writeBuffer(buffer, 0, bytes);
        await device.queue.onSubmittedWorkDone();
        buffers.push(buffer);
      }
      const seconds = (performance.now() - start) / 1e3;
      for (const buffer of buffers) buffer.destroy();
      device.destroy();
      return seconds;
    },
    { base: `${origin}model/`, files },
  );
  await page.close();
  return seconds;
}

/** @param {string} origin @param {string[]} files */
async function curl(origin, files) {
  const outputs = files.flatMap((file) => ["-o", "/dev/null", `${origin}model/${file}`]);
  const start = performance.now();
  await promisify(execFile)("curl", ["--silent", "--fail", ...outputs]);
  return (performance.now() - start) / 1e3;
}

async function main() {
  const folder = process.argv[2];
  if (!folder) throw new Error("Usage: node tests/browser/load_full.mjs SET_FOLDER");
  const set = await shardsOf(resolve(folder));
  const server = await servePage({ mounts: { "/model": resolve(folder) }, hook: watched });
  const profile = await mkdtemp(join(tmpdir(), "instructblip-load-"));
  try {
    const curlSeconds = await curl(server.url, set.files);
    const context = await launchKept(profile);
    try {
      const plainSeconds = await plain(context, server.url, set.files);
      const cold = await load(context, server.url, set.bytes);
      const requests = server.requests.length;
      const cached = await load(context, server.url, set.bytes);
      const fetched = server.requests.slice(requests).filter(({ path }) => path.endsWith(".safetensors"));
      const { memory } = cold;
      console.log(
        JSON.stringify(
          {
            bytes: set.bytes,
            weightBytes: set.weights,
            shards: set.files.length,
            cold: { seconds: cold.seconds, mbPerSecond: cold.mbPerSecond },
            cached: {
              seconds: cached.seconds,
              mbPerSecond: cached.mbPerSecond,
              shardBytesFetched: fetched.reduce((sum, { bytes }) => sum + bytes, 0),
            },
            curlSeconds,
            plainSeconds,
            coldOverCurl: cold.seconds / curlSeconds,
            coldOverPlain: cold.seconds / plainSeconds,
            cachedOverPlain: cached.seconds / plainSeconds,
            peakWasmMiB: Math.max(memory.wasm, cached.memory.wasm) / MIB,
            // V8's heaps, the array buffers besides (wasm memory is none of them), and both together.
            peakJsHeapMiB: Math.max(cold.heap.heap, cached.heap.heap) / MIB,
            peakArrayBuffersMiB: Math.max(cold.heap.arrays, cached.heap.arrays) / MIB,
            peakJsTogetherMiB: { cold: cold.heap.together / MIB, cached: cached.heap.together / MIB },
            largestGpuBufferMiB: Math.max(memory.largest, cached.memory.largest) / MIB,
            gpuBuffers: memory.buffers,
            gpuPeakOverWeights: Math.max(memory.peak, cached.memory.peak) / set.weights,
            gpuLiveOverWeights: memory.live / set.weights,
          },
          null,
          2,
        ),
      );
    } finally {
      await context.close();
    }
  } finally {
    await server.close();
    await rm(profile, { recursive: true, force: true });
  }
}

await main();
