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

/** What every golden of the oracle has ids for, besides the tokenizers'. */
const DECODED = ["greedy_ids", "greedy_rp15_ids", "beam5_all_ids", "beam5_lpneg1_ids"];

for (const [model, goldens] of Object.entries({
  nano: ["nano_cat"],
  nano_eos: ["nanoeos_astro", "nanoeos_cat", "nanoeos_coffee"],
  tiny: ["tiny_cat"],
})) {
  test(`${goldens.join(", ")} in the browser`, { skip: !ORACLE && "INSTRUCTBLIP_ORACLE is not set" }, async (t) => {
    const mounts = { "/golden": join(ORACLE ?? "", "golden"), "/oracle-model": converted(model) };
    const { page, problems } = await visit(t, browser, { mounts, query: NO_MODEL });
    const reports = await page.evaluate(async (names) => {
      const { Model } = await import(/** @type {any} */ ("/engine/engine.js"));
      const model = await Model.load("/oracle-model/");
      const reports = [];
      for (const name of names) {
        const golden = await fetch(`/golden/${name}`);
        reports.push(await model.verify(new Uint8Array(await golden.arrayBuffer()), name));
      }
      model.free();
      return reports;
    }, goldens.map((golden) => `${golden}.safetensors`));
    for (const { golden, stages, ids, ok } of reports) {
      for (const { name, maxAbsolute, relative } of stages) {
        console.log(`${golden} ${name}: largest difference ${maxAbsolute.toExponential(1)}, relative ${relative.toExponential(1)}`);
      }
      for (const { name, ok } of ids) console.log(`${golden} ${name}: ${ok ? "equal" : "NOT EQUAL"}`);
      const names = ids.map((/** @type {any} */ one) => one.name);
      for (const name of DECODED) assert.ok(names.includes(name), `${golden} was not compared in ${name}`);
      assert.ok(ok, `${golden}: ${JSON.stringify([...stages, ...ids].filter((/** @type {any} */ one) => !one.ok))}`);
    }
    assertQuiet(problems);
  });
}
