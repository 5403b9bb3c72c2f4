/**
 * Two clients of one model: each has a conversation of its own, and their questions interleave.
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { NO_MODEL, assertQuiet, launch, visit } from "./harness.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

test("interleaved conversations answer as each alone, and remember their own turns", async (t) => {
  const { page, problems } = await visit(t, browser, { query: NO_MODEL });
  const found = await page.evaluate(async () => {
    const { Model } = await import(/** @type {any} */ ("/instructblip.js"));
    const model = await Model.load("/pocket/");
    const bytes = async (/** @type {string} */ name) => new Uint8Array(await (await fetch(`/examples/${name}`)).arrayBuffer());
    const pictures = [await bytes("shapes.png"), await bytes("crowd.png")];
    const questions = ["What color is the triangle?", "Describe the picture in detail.", "How many shapes are there?"];
    const ask = async (/** @type {any} */ from, /** @type {string} */ question) => (await from.ask(question)).ids;
    const alone = [];
    for (const picture of pictures) {
      await model.setPicture(picture);
      const ids = [];
      for (const question of questions) ids.push(await ask(model, question));
      alone.push(ids);
    }
    const talks = [model.conversation(), model.conversation()];
    const code = await talks[0].ask("What?").then(() => "", (/** @type {any} */ error) => error.code);
    // The pictures are known: nothing is looked at again.
    const infos = await Promise.all(talks.map((talk, at) => talk.setPicture(pictures[at])));
    // All at once, by turns.
    const asked = questions.map((question) => Promise.all(talks.map((talk) => ask(talk, question))));
    const byTurns = await Promise.all(asked);
    const together = talks.map((_, at) => byTurns.map((answers) => answers[at]));
    const main = await ask(model, questions[0]);
    const said = [await talks[0].say("What color is the triangle?"), await talks[0].say("Where is it?")];
    const turns = [talks[0].turns, talks[1].turns];
    await talks[0].setPicture(pictures[1]);
    const forgotten = talks[0].turns;
    talks[0].free();
    return { alone, together, code, infos, main, prompts: said.map((answer) => answer.prompt), turns, forgotten, after: await ask(talks[1], questions[0]) };
  });
  assert.equal(found.code, "picture-missing");
  assert.notDeepEqual(found.alone[0], found.alone[1], "the pictures differ");
  assert.deepEqual(found.together, found.alone);
  assert.deepEqual(found.infos.map((info) => info.visionMs), [0, 0]);
  assert.deepEqual(found.main, found.alone[1]?.[0], "the model's own conversation has its last picture");
  assert.equal(found.turns[0].length, 2);
  assert.deepEqual(found.turns[1], []);
  assert.ok(found.prompts[1].includes("What color is the triangle?"), found.prompts[1]);
  assert.deepEqual(found.forgotten, []);
  assert.deepEqual(found.after, found.alone[1]?.[0]);
  assertQuiet(problems);
});
