/** One iteration of the benchmark in the browser: it runs there, and counts what it counts natively. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { NO_MODEL, assertQuiet, launch, visit } from "./harness.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

test("one iteration of the benchmark", async (t) => {
  const { page, problems } = await visit(t, browser, { query: NO_MODEL });
  const { report, stages, refused } = await page.evaluate(async () => {
    const { Model } = await import(/** @type {any} */ ("/engine/engine.js"));
    const model = await Model.load("/pocket/");
    /** @type {string[]} */
    const stages = [];
    const refused = await model.bench({ tokens: 1 }).catch((/** @type {any} */ error) => error.code);
    const report = await model.bench({ iterations: 1, tokens: 3, kernels: false }, (/** @type {string} */ stage) => stages.push(stage));
    model.free();
    return { report, stages, refused };
  });
  assert.equal(refused, "option-invalid");
  assert.deepEqual(stages.slice(0, 2), ["floors", "vision"]);
  assert.match(report.machine.adapter, /swiftshader/i);
  assert.match(report.machine.host, /^\w+\/[\d.]+, \d+ threads$/);
  for (const row of [...report.stages, report.token]) {
    const { median, min, max } = row.milliseconds;
    assert.ok(min > 0 && min <= median && median <= max, `${row.name}: ${JSON.stringify(row.milliseconds)}`);
    assert.ok(row.hostMs.median <= max, row.name);
    assert.ok(row.dispatches > 0 && row.flops > 0 && row.weightBytes > 0 && row.weightBytes < row.bytesMoved, row.name);
    assert.ok(row.floorMs > 0 && row.dispatchFloorMs > row.floorMs, row.name);
  }
  assert.ok(report.floors.copyGbPerS.median > 0 && report.floors.fmaGflopPerS.median > 0);
  assert.equal(report.token.runs, 2, "the times between three tokens");
  assertQuiet(problems);
});
