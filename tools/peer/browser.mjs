/**
 * The engine and onnxruntime-web in turns, in one page of one headless Chromium on one adapter.
 * Prints the samples as one JSON object; `cargo xtask peer` makes the folders and reads it.
 *
 *     node tools/peer/browser.mjs SET GRAPHS PICTURE [--repetitions 5] [--hardware]
 */
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { launch, openPage, servePage } from "../../tests/browser/harness.mjs";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { repetitions: { type: "string", default: "5" }, hardware: { type: "boolean", default: false } },
});
const [set, graphs, picture] = positionals.map((path) => resolve(path));
if (!set || !graphs || !picture) throw new Error("usage: browser.mjs SET GRAPHS PICTURE [--repetitions 5] [--hardware]");

/** @param {string} path */
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const mounts = {
  "/peer": here("."),
  "/onnxruntime": here("../../node_modules/onnxruntime-web/dist"),
  "/set": set,
  "/graphs": graphs,
  "/pictures": dirname(picture),
};
const server = await servePage({ mounts });
const browser = await launch({ gpu: values.hardware ? "hardware" : true });
try {
  const { page, problems } = await openPage(browser);
  page.setDefaultTimeout(0);
  await page.goto(`${server.url}peer/page.html`);
  const names = await page.evaluate(load, basename(picture));
  /** @type {Record<string, any[]>} */
  const samples = Object.fromEntries(names.map((name) => [name, []]));
  const repetitions = Number(values.repetitions);
  /** @param {string} name @param {"encode" | "answer"} stage */
  const time = (name, stage) =>
    page.evaluate(([name, stage]) => /** @type {any} */ (self).contestants[name][stage](), /** @type {const} */ ([name, stage]));
  // The first time compiles pipelines and does not count. Then every other time in the opposite
  // order, one stage after the other, so that what else the machine does meets all alike.
  for (let repetition = 0; repetition <= repetitions; repetition++) {
    const order = repetition % 2 ? names : names.toReversed();
    process.stderr.write(repetition ? `repetition ${repetition} of ${repetitions}\n` : "warming up\n");
    /** @type {Record<string, any>} */
    const runs = {};
    for (const name of order) runs[name] = { imageEncodeMs: await time(name, "encode") };
    for (const name of order) Object.assign(runs[name], await time(name, "answer"));
    if (repetition) for (const name of names) samples[name]?.push(runs[name]);
  }
  if (problems.length) throw new Error(problems.join("\n"));
  const adapter = await page.evaluate(async () => {
    const { info } = await /** @type {any} */ (navigator).gpu.requestAdapter();
    return [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(" ");
  });
  console.log(JSON.stringify({ machine: `Chromium ${browser.version()}, ${adapter}`, samples }));
} finally {
  await browser.close();
  await server.close();
}

/**
 * Loads all contestants in the page, and tells their names.
 *
 * @param {string} picture
 */
async function load(picture) {
  /** @param {string} path @returns {Promise<any>} */
  const module = (path) => import(path);
  /** @param {string} path */
  const bytes = async (path) => (await fetch(path)).arrayBuffer();
  const { Model } = await module("/engine/engine.js");
  const { Engine } = await module("/peer/engine.js");
  const { OnnxRuntime } = await module("/peer/onnxruntime.js");
  const ort = await module("/onnxruntime/ort.webgpu.bundle.min.mjs");
  ort.env.wasm.wasmPaths = "/onnxruntime/";
  ort.env.wasm.numThreads = 1; // more need a page that is isolated; its GPU work does not use them
  ort.env.logLevel = "error";
  const question = await (await fetch("/graphs/case.json")).json();
  const pixels = new Float32Array(await bytes("/graphs/pixel_values.bin"));
  /** @type {Record<string, any>} */
  const contestants = {
    engine: new Engine(await Model.load("/set/", { cache: false }), question, new Uint8Array(await bytes(`/pictures/${picture}`))),
  };
  for (const format of question.formats) {
    contestants[format] = await OnnxRuntime.load(ort, "/graphs/", format, question, pixels);
  }
  Object.assign(self, { contestants });
  return Object.keys(contestants);
}
