/**
 * Loads a shard set in a headless browser and compares every stage with a golden; prints one line
 * of JSON with the report. The vision tower comes last and may be given a limit of time, since a
 * software GPU needs long for it; the other stages start from the golden's features.
 *
 *     node tests/browser/verify_set.mjs SET GOLDEN.safetensors [--tolerance 1e-3] [--vision-limit SECONDS]
 */
import { basename, dirname } from "node:path";
import { parseArgs } from "node:util";
import { NO_MODEL, launch, openPage, servePage } from "./harness.mjs";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { tolerance: { type: "string", default: "1e-3" }, "vision-limit": { type: "string", default: "3600" } },
});
const [set, golden] = positionals;
if (!set || !golden) throw new Error("usage: verify_set.mjs SET GOLDEN.safetensors [--tolerance 1e-3] [--vision-limit SECONDS]");
const limit = Number(values["vision-limit"]);

const server = await servePage({ mounts: { "/set": set, "/golden": dirname(golden) } });
const browser = await launch();
try {
  const { page, problems } = await openPage(browser);
  page.setDefaultTimeout(0);
  page.on("console", (message) => process.stderr.write(`${message.text()}\n`));
  await page.goto(server.url + NO_MODEL);
  /** @param {boolean} vision */
  const verify = (vision) =>
    page.evaluate(
      async ({ name, tolerance, vision }) => {
        const { Model } = await import(/** @type {any} */ ("/engine/engine.js"));
        const model = ((/** @type {any} */ (self)).kept ??= await Model.load("/set/", { cache: false }));
        const bytes = new Uint8Array(await (await fetch(`/golden/${name}`)).arrayBuffer());
        const report = await model.verify(bytes, name, { tolerance, onlyVision: vision, fromVision: !vision });
        for (const { name, relative, milliseconds } of report.stages) {
          console.log(`${name}: relative ${relative.toExponential(1)}, ${(milliseconds / 1e3).toFixed(1)} s`);
        }
        return report;
      },
      { name: basename(golden), tolerance: Number(values.tolerance), vision },
    );
  const report = await verify(false);
  if (limit > 0) {
    const vision = await Promise.race([
      verify(true),
      new Promise((resolve) => void setTimeout(resolve, limit * 1e3, undefined)),
    ]);
    if (vision) report.stages.push(...vision.stages.filter((/** @type {any} */ { name }) => name.startsWith("vision")));
    else report.unfinished = `the vision tower did not finish within ${limit} s`;
    report.ok &&= vision?.ok ?? true;
  } else {
    report.unfinished = "the vision tower was not run";
  }
  console.log(JSON.stringify({ ...report, problems }));
  process.exitCode = problems.length || !report.ok ? 1 : 0;
} finally {
  await browser.close();
  await server.close();
}
process.exit(); // an unfinished verification would keep node waiting
