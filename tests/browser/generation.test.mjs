/**
 * Every way of answering inside the browser, with the pocket model: beams, penalties, ranking and
 * attention equal to transformers', draws equal to the native command line's (recorded by
 * `tools/pocket/make_generation_cases.py`); and what cancelling takes.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { NO_MODEL, WWW, assertQuiet, givePicture, launch, modelReady, visit } from "./harness.mjs";

/**
 * @typedef {{ picture: string, question: string }} Case
 * @type {{
 *   beams: (Case & { options: any, ids: number[][], scores: number[] | null })[],
 *   ranked: (Case & { candidates: string[], logLikelihoods: number[] })[],
 *   looked: (Case & { layers: { classShare: number, average: number[] }[] })[],
 *   drawn: (Case & { options: any, ids: number[] })[],
 * }}
 */
const cases = JSON.parse(readFileSync(new URL("./generation_cases.json", import.meta.url), "utf8"));
const { beams, ranked, looked, drawn } = cases;
/** Of a beam's score or a log-likelihood, a sum over an answer's tokens. */
const SCORE = 1e-3;
/** Of a probability on a patch; the largest are near 0.1. */
const SHARE = 1e-4;

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/**
 * A page with the engine alone: `model` and `see(picture)` are its globals.
 *
 * @param {Parameters<typeof visit>[0]} t
 */
async function engine(t) {
  const { page, problems } = await visit(t, browser, { query: NO_MODEL });
  await page.evaluate(async () => {
    const { Model, prompts } = await import(/** @type {any} */ ("/instructblip.js"));
    const model = await Model.load("/pocket/");
    const bytes = async (/** @type {string} */ picture) => new Uint8Array(await (await fetch(`/${picture}`)).arrayBuffer());
    Object.assign(globalThis, { model, prompts, bytes, see: async (/** @type {string} */ picture) => model.setPicture(await bytes(picture)) });
  });
  return { page, problems };
}

/** @param {number[]} found @param {number[]} expected */
const apart = (found, expected) => Math.max(Math.abs(found.length - expected.length), ...found.map((value, at) => Math.abs(value - (expected[at] ?? NaN))));

test("beams, penalties and lengths give the ids and scores of transformers", async (t) => {
  const { page, problems } = await engine(t);
  const answers = await page.evaluate(async (cases) => {
    const { model, see } = /** @type {any} */ (globalThis);
    const answers = [];
    for (const { picture, question, options } of cases) {
      await see(picture);
      let streamed = "";
      const answer = await model.ask(question, { ...options, onToken: (/** @type {any} */ token) => (streamed += token.text) });
      answers.push({ ...answer, streamed });
    }
    return answers;
  }, beams);
  for (const [at, { question, options, ids, scores }] of beams.entries()) {
    const { candidates, text, streamed, statistics } = answers[at];
    assert.deepEqual(candidates.map((/** @type {any} */ one) => one.ids), ids, `${question} ${JSON.stringify(options)}`);
    if (scores) assert.ok(apart(candidates.map((/** @type {any} */ one) => one.score), scores) < SCORE, question);
    assert.equal(streamed, text, "what is streamed is the best beam's text");
    const { tokensPerSecond, submitsPerToken, readbackBytesPerToken } = statistics;
    console.log(`${JSON.stringify(options)}: ${tokensPerSecond.toFixed(1)} steps/s, ${submitsPerToken} submits and ${readbackBytesPerToken} bytes read a step`);
    assert.ok(readbackBytesPerToken <= 2 * (options.numBeams ?? 1) * 12, "a step reads at most two candidates a beam");
  }
  assertQuiet(problems);
});

test("a seed draws the same tokens as natively, and is told", async (t) => {
  const { page, problems } = await engine(t);
  const answers = await page.evaluate(async (cases) => {
    const { model, see } = /** @type {any} */ (globalThis);
    const answers = [];
    for (const { picture, question, options } of cases) {
      await see(picture);
      answers.push(await model.ask(question, options));
      const { seed: _, ...unseeded } = options;
      const first = await model.ask(question, unseeded);
      answers.push(first, await model.ask(question, { ...unseeded, seed: first.seed }));
    }
    return answers;
  }, drawn);
  for (const [at, { question, options, ids }] of drawn.entries()) {
    const [seeded, first, again] = answers.slice(3 * at);
    assert.equal(seeded.seed, options.seed);
    assert.deepEqual(seeded.ids, ids, question);
    assert.deepEqual(again.ids, first.ids, "the told seed repeats the answer");
  }
  assertQuiet(problems);
});

test("answers are ranked with the likelihoods of transformers, and a prior", async (t) => {
  const { page, problems } = await engine(t);
  for (const { picture, question, candidates, logLikelihoods } of ranked) {
    const [alike, prior] = await page.evaluate(
      async ({ picture, question, candidates }) => {
        const { model, see } = /** @type {any} */ (globalThis);
        await see(picture);
        return [await model.rank(question, candidates), await model.rank(question, candidates, { prior: candidates.map((_, at) => (at === 0 ? 1e12 : 1)) })];
      },
      { picture, question, candidates },
    );
    const found = candidates.map((_, index) => alike.find((/** @type {any} */ one) => one.index === index).logLikelihood);
    assert.ok(apart(found, logLikelihoods) < SCORE, `${found} for ${logLikelihoods}`);
    const likelihoods = alike.map((/** @type {any} */ one) => one.logLikelihood);
    assert.deepEqual(likelihoods, [...likelihoods].sort((a, b) => b - a), "best first");
    const total = alike.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.probability, 0);
    assert.ok(Math.abs(total - 1) < 1e-5, `${total}`);
    assert.equal(prior[0].index, 0, "a strong prior decides");
  }
  assertQuiet(problems);
});

test("attention is that of transformers, for one picture, several, and as a difference", async (t) => {
  const { page, problems } = await engine(t);
  const [first, second, other] = /** @type {[typeof looked[0], typeof looked[0], typeof looked[0]]} */ (looked);
  const found = await page.evaluate(
    async ({ pictures, question, against }) => {
      const { model, bytes } = /** @type {any} */ (globalThis);
      const infos = await model.setPicture(await Promise.all(pictures.map(bytes)));
      const answer = await model.ask(question);
      return { infos, answer, maps: await model.attention(question, { against }), same: await model.attention(question, { against: question }) };
    },
    { pictures: [first.picture, other.picture], question: first.question, against: second.question },
  );
  const { maps, same, infos, answer } = found;
  assert.equal(infos.length, 2);
  assert.ok(answer.ids.length > 1 && answer.text, "two pictures are answered about");
  for (const [at, { layers }] of [first, other].entries()) {
    const map = maps.pictures[at];
    assert.equal(map.layers.length, layers.length);
    for (const [layer, { classShare, average }] of layers.entries()) {
      assert.equal(maps.side ** 2, average.length);
      assert.ok(apart(map.layers[layer].average, average) < SHARE, `picture ${at}, layer ${layer}`);
      assert.ok(Math.abs(map.layers[layer].classShare - classShare) < SHARE);
    }
    assert.deepEqual(map.average, map.layers.at(-1).average, "the map is the last layer's");
  }
  const [one, two] = [first, second].map(({ layers }) => layers.at(-1)?.average ?? []);
  const difference = (one ?? []).map((value, at) => value - (two?.[at] ?? NaN));
  assert.ok(apart(maps.difference[0].average, difference) < 2 * SHARE);
  assert.ok(same.difference.every((/** @type {any} */ map) => apart(map.average, map.average.map(() => 0)) === 0), "a question does not differ from itself");
  assertQuiet(problems);
});

test("prompts are filled in by the engine, and wrong options are named", async (t) => {
  const { page, problems } = await engine(t);
  const found = await page.evaluate(async () => {
    const { model, prompts, see, bytes } = /** @type {any} */ (globalThis);
    await see("examples/shapes.png");
    const turns = Array.from({ length: 200 }, (_, at) => ({ question: `What is number ${at}?`, answer: "a red circle" }));
    const { knobs, limits } = await model.controls;
    const picture = await bytes("examples/shapes.png");
    const code = (/** @type {Promise<any>} */ promise) => promise.then(() => "none", (error) => `${error.code}: ${error.message}`);
    return {
      knobs,
      caption: await model.ask(prompts.caption()),
      short: (await model.prompt(prompts.shortAnswer("What is it?"))).text,
      long: (await model.prompt(prompts.longAnswer("What is it?"))).text,
      question: (await model.prompt(prompts.question("a dog"))).text,
      choice: (await model.prompt(prompts.multipleChoice("What is it?", ["a cat", "a dog"]))).text,
      context: (await model.prompt(prompts.context("It is late.", "What time is it?"))).text,
      dialogue: await model.prompt(prompts.dialogue(turns, "What else?")),
      talked: await model.ask(prompts.dialogue(turns, "What color is the triangle?")),
      errors: [
        await code(model.ask("What?", { numBeams: 11 })),
        await code(model.ask("What?", { numReturnSequences: 2 })),
        await code(model.ask(prompts.question(" "))),
        await code(model.ask({ kind: "nonsense" })),
        await code(model.rank("What?", [])),
        await code(model.setPicture([])),
        await code(model.setPicture(Array(limits.pictures + 1).fill(picture))),
      ],
    };
  });
  assert.ok(found.caption.text && found.caption.prompt.length > 5);
  for (const [name, part] of [["short", "What is it?"], ["question", "a dog"], ["choice", "a dog"], ["context", "It is late."]]) {
    const text = /** @type {Record<string, any>} */ (found)[name ?? ""];
    assert.ok(text.includes(part) && text.length > (part ?? "").length, text);
  }
  assert.equal(found.long, "What is it?", "at length, as in the paper's conversations, the question is asked alone");
  const { text, droppedTurns } = found.dialogue;
  assert.ok(droppedTurns > 100 && droppedTurns < 200, `${droppedTurns} turns dropped`);
  assert.ok(text.includes("number 199") && !text.includes("number 0?") && text.includes("What else?"), "the oldest are dropped");
  assert.equal(found.talked.truncatedQuestion, false, "what is left fits");
  const codes = found.errors.map((error) => error.split(":")[0]);
  const groups = found.knobs.map((/** @type {any} */ knob) => knob.group);
  assert.deepEqual([...new Set(groups)], ["Search", "Chance", "Repetition", "Length"]);
  const beams = found.knobs.find((/** @type {any} */ knob) => knob.name === "num_beams");
  assert.deepEqual([beams.kind, beams.default, beams.slider, beams.needs], ["count", 1, [1, 10, 1], "search"]);
  assert.deepEqual(codes, ["option-invalid", "option-invalid", "question-empty", "option-invalid", "option-invalid", "option-invalid", "option-invalid"], found.errors.join("\n"));
  assertQuiet(problems);
});

test("Stop during prefill and during decoding: from the click to the last GPU submit", async (t) => {
  const { page, problems } = await visit(t, browser);
  await modelReady(page);
  await givePicture(page, "shapes.png", readFileSync(join(WWW, "examples/shapes.png")));
  await page.locator("#question").fill("What color is the triangle?");
  await page.locator("#send").click();
  await page.locator(".facts:not([hidden])").waitFor(); // every pipeline is compiled now
  await page.workers().at(-1)?.evaluate(() => {
    const queue = /** @type {any} */ (globalThis).GPUQueue.prototype;
    const { submit } = queue;
    const channel = new BroadcastChannel("submits");
    queue.submit = function (/** @type {any} */ buffers) {
      channel.postMessage(performance.timeOrigin + performance.now());
      return submit.call(this, buffers);
    };
  });
  for (const stage of ["prefill", "decoding"]) {
    const before = await page.locator("#turns > li").count();
    const late = await page.evaluate(
      ({ stage, before }) =>
        new Promise((done) => {
          const channel = new BroadcastChannel("submits");
          let [submits, after, clicked, last] = [0, 0, 0, 0];
          const now = () => performance.timeOrigin + performance.now();
          const stop = () => {
            if (clicked) return;
            clicked = now();
            document.getElementById("stop")?.click();
          };
          channel.onmessage = ({ data }) => {
            last = Math.max(last, data);
            submits += 1;
            if (clicked && data > clicked) after += 1;
            const said = document.querySelectorAll(".answer-text")[before]?.textContent;
            if (stage === "prefill" ? submits === 2 : said) stop();
          };
          /** @type {HTMLTextAreaElement} */ (document.getElementById("question")).value = "Describe the picture in detail.";
          document.getElementById("send")?.click();
          const poll = setInterval(() => {
            const item = document.querySelectorAll("#turns > li")[before];
            if (!item?.querySelector(".answer:not(.streaming)")) return;
            clearInterval(poll);
            // Whatever comes now would be work that nobody wants.
            setTimeout(() => done({ clicked: clicked > 0, submits, after, milliseconds: Math.max(0, last - clicked), said: item.querySelector(".answer-text")?.textContent }), 1500);
          }, 20);
        }),
      { stage, before },
    );
    assert.ok(late.clicked, `Stop came during ${stage}`);
    assert.equal(late.said === "", stage === "prefill", `Stop came during ${stage}`);
    await page.locator("#turns > li").nth(before).locator(".notice:not([hidden])", { hasText: "Stopped." }).waitFor();
    console.log(`Stop during ${stage}: ${late.submits} submits, ${late.after} of them after the click, the last one ${late.milliseconds.toFixed(1)} ms after it`);
    assert.ok(late.milliseconds < 1000, `${late.milliseconds} ms`);
  }
  assertQuiet(problems);
});
