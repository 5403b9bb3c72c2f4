/**
 * Golden parity inside the browser: every stage of the model against recorded outputs of the
 * reference. Runs where `INSTRUCTBLIP_ORACLE` names the folder of the oracle.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { NO_MODEL, assertQuiet, launch, visit } from "./harness.mjs";

const ORACLE = process.env.INSTRUCTBLIP_ORACLE;
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/**
 * The oracle's model as a shard set of unchanged numbers.
 *
 * @param {string} model
 */
function converted(model) {
  const folder = join(ROOT, "target/browser", `${model}-f32`);
  const cargo = process.env.CARGO ?? "cargo";
  const convert = ["convert", join(ORACLE ?? "", "models", model), folder, "--quant", "f32", "--force"];
  execFileSync(cargo, ["run", "--quiet", "--locked", "--bin", "instructblip", "--", ...convert], { cwd: ROOT, stdio: "inherit" });
  return folder;
}

for (const [golden, model] of [["nano_cat", "nano"], ["tiny_cat", "tiny"]]) {
  test(`${golden} in the browser`, { skip: !ORACLE && "INSTRUCTBLIP_ORACLE is not set" }, async (t) => {
    const folder = converted(model ?? "");
    const mounts = { "/golden": join(ORACLE ?? "", "golden"), "/oracle-model": folder };
    const { page, problems } = await visit(t, browser, { mounts, query: NO_MODEL });
    const report = await page.evaluate(async (name) => {
      const { Model } = await import(/** @type {any} */ ("/engine/engine.js"));
      const model = await Model.load("/oracle-model/");
      const golden = await fetch(`/golden/${name}`);
      const report = await model.verify(new Uint8Array(await golden.arrayBuffer()), name);
      model.free();
      return report;
    }, `${golden}.safetensors`);
    for (const { name, maxAbsolute, relative } of report.stages) {
      console.log(`${golden} ${name}: largest difference ${maxAbsolute.toExponential(1)}, relative ${relative.toExponential(1)}`);
    }
    for (const { name, ok } of report.ids) console.log(`${golden} ${name}: ${ok ? "equal" : "NOT EQUAL"}`);
    assert.ok(report.ok, JSON.stringify(report.ids.filter((/** @type {any} */ ids) => !ids.ok)));
    assertQuiet(problems);
  });
}
