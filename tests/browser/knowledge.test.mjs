/** What a model says of itself, doubts of its own answers, and the paper's ablation, on the page. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { POCKET, WWW, ask, assertQuiet, givePicture, launch, modelReady, visit } from "./harness.mjs";
import { knowledge } from "../../www/page/knowledge.js";
import { ShardSet } from "./shard_set.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

test("what a set says of itself becomes sentences", () => {
  assert.equal(knowledge(null), "");
  assert.equal(knowledge({ knows: {} }), "");
  assert.equal(knowledge({ knows: { de: "Formen", en: "shapes" }, language: "en" }), "Knows shapes.");
  assert.equal(knowledge({ knows: { de: "Formen" }, language: "de" }), "It is asked in German.");
  assert.equal(knowledge({ knows: {}, language: "?" }), "It is asked in ?.");
});

test("what the model knows, its doubts, and the same question with a Q-Former that does not read it", async (t) => {
  const set = new ShardSet(POCKET);
  set.changeJson("config.json", (config) => {
    config.instructblip_web_about = { knows: { en: "drawn <b>shapes</b>" }, language: "en", dialogues: false, unsure_below: 0.999999 };
  });
  const { page, problems } = await visit(t, browser, { query: "?model=./faulty/", hook: set.hook });
  page.setDefaultTimeout(60_000);
  await page.locator("#model-knows", { hasText: "Knows drawn <b>shapes</b>." }).waitFor();
  await modelReady(page);
  assert.ok(await page.locator("#remember-choice").isHidden(), "it never learned from conversations");
  await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
  await ask(page, "What color is the triangle?");
  assert.equal(await page.locator(".turn .knows").count(), 0, "not about an example");
  assert.ok(await page.locator(".unsure").first().isVisible());
  // A picture of one's own: said once, with a way to another model.
  await givePicture(page, "mine.png", readFileSync(join(WWW, "examples/pair.png")));
  await ask(page, "Is the triangle big or small?");
  await ask(page, "What is on the right?");
  assert.equal(await page.locator(".turn .knows").count(), 1);
  await page.locator(".turn .knows button").click();
  assert.ok(await page.locator("#model-picker").isVisible());
  await page.keyboard.press("Escape");

  const turn = page.locator("#turns > li").last();
  const reads = turn.getByRole("switch", { name: "The Q-Former reads the question" });
  await reads.click();
  await turn.locator(".ablated canvas").nth(1).waitFor();
  assert.equal(await reads.getAttribute("aria-checked"), "false");
  const [answer, blind] = await turn.locator(".ablated-answer").allTextContents();
  assert.equal(answer, await turn.locator(".answer-text").textContent());
  assert.ok(blind);
  const maps = await turn.locator(".ablated canvas").evaluateAll((canvases) => canvases.map((canvas) => /** @type {HTMLCanvasElement} */ (canvas).toDataURL()));
  assert.notEqual(maps[0], maps[1], "it looks elsewhere");
  await reads.click();
  assert.equal(await turn.locator(".ablated").count(), 0);
  await page.reload();
  await page.locator(".unsure:visible").nth(2).waitFor();
  assertQuiet(problems);
});
