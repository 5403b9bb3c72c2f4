/**
 * Loads a shard set in a headless browser and compares every stage with a golden, however long it
 * takes; prints one line of JSON with the report and the seconds of each step.
 *
 *     node tests/browser/verify_set.mjs SET GOLDEN.safetensors [--tolerance 1e-3]
 */
import { basename, dirname } from "node:path";
import { parseArgs } from "node:util";
import { NO_MODEL, launch, openPage, servePage } from "./harness.mjs";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { tolerance: { type: "string", default: "1e-3" } },
});
const [set, golden] = positionals;
if (!set || !golden) throw new Error("usage: verify_set.mjs SET GOLDEN.safetensors [--tolerance 1e-3]");

const server = await servePage({ mounts: { "/set": set, "/golden": dirname(golden) } });
const browser = await launch();
try {
  const { page, problems } = await openPage(browser);
  page.setDefaultTimeout(0);
  page.on("console", (message) => process.stderr.write(`${message.text()}\n`));
  await page.goto(server.url + NO_MODEL);
  const result = await page.evaluate(async ([name, tolerance]) => {
    const { Model } = await import(/** @type {any} */ ("/engine/engine.js"));
    const start = performance.now();
    let shown = 0;
    const onProgress = (/** @type {any} */ { phase, loaded, total }) => {
      const percent = Math.floor((100 * loaded) / Math.max(total, 1));
      if (percent >= shown + 10) console.log(`${phase} ${(shown = percent)} %`);
    };
    const model = await Model.load("/set/", { cache: false, onProgress });
    const loaded = performance.now();
    console.log(`loaded in ${((loaded - start) / 1e3).toFixed(1)} s`);
    const bytes = new Uint8Array(await (await fetch(`/golden/${name}`)).arrayBuffer());
    const report = await model.verify(bytes, name);
    model.free();
    report.stages.forEach((/** @type {any} */ stage) => (stage.ok = stage.ok || stage.relative <= Number(tolerance)));
    return { loadSeconds: (loaded - start) / 1e3, verifySeconds: (performance.now() - loaded) / 1e3, ...report };
  }, /** @type {const} */ ([basename(golden), values.tolerance]));
  console.log(JSON.stringify({ ...result, problems }));
  process.exitCode = problems.length ? 1 : 0;
} finally {
  await browser.close();
  await server.close();
}
