/**
 * The page as a visitor uses it, with the pocket model: right answers, streaming, stopping, no
 * request after loading. The expected answers were recorded from transformers on the same weights.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { NO_EXAMPLE, NO_MODEL, WWW, ask, assertQuiet, givePicture, launch, modelReady, visit } from "./harness.mjs";

const CASES = fileURLToPath(new URL("./pocket_cases.json", import.meta.url));
/** @type {{ cases: { picture: string, question: string, answer: string, ids: number[] }[] }} */
const { cases } = existsSync(CASES) ? JSON.parse(readFileSync(CASES, "utf8")) : { cases: [] };
const skip = cases.length === 0 && "there is no pocket_cases.json";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

test("20 questions about 5 pictures are answered as transformers does", { skip }, async (t) => {
  const { server, page, problems } = await visit(t, browser, { hook: NO_EXAMPLE });
  await modelReady(page);
  let shown = "";
  let requests = server.requests.length;
  const wrong = [];
  for (const [at, { picture, question, answer }] of cases.entries()) {
    if (picture !== shown) await givePicture(page, picture, readFileSync(join(WWW, picture)));
    const found = await ask(page, question);
    if (found.text !== answer) wrong.push({ picture, question, answer, found: found.text });
    assert.equal(/features cached/.test(found.facts), picture === shown, "features are computed once a picture");
    shown = picture;
    if (at === 0) {
      const bytes = server.requests.reduce((sum, request) => sum + request.bytes, 0);
      console.log(`opening the page to the first answer: ${server.requests.length} requests, ${(bytes / 1e6).toFixed(2)} MB; ${found.facts}`);
      requests = server.requests.length;
    }
  }
  assert.deepEqual(wrong, []);
  assert.equal(server.requests.length, requests, "nothing is requested after loading");
  assertQuiet(problems);
});

test("the engine's token ids are those of transformers, and the streamed text is the answer", { skip }, async (t) => {
  const { page, problems } = await visit(t, browser, { query: NO_MODEL });
  const pictures = Object.fromEntries(
    [...new Set(cases.map(({ picture }) => picture))].map((picture) => [picture, [...readFileSync(join(WWW, picture))]]),
  );
  const found = await page.evaluate(
    async ({ cases, pictures }) => {
      const { Model } = await import(/** @type {any} */ ("/engine/engine.js"));
      const model = await Model.load("/pocket/");
      const answers = [];
      let shown = "";
      for (const { picture, question } of cases) {
        if (picture !== shown) await model.setPicture(new Uint8Array(pictures[picture] ?? []));
        shown = picture;
        let streamed = "";
        const answer = await model.ask(question, { onToken: (/** @type {any} */ token) => (streamed += token.text) });
        answers.push({ ids: answer.ids, text: answer.text, streamed });
      }
      model.free();
      return answers;
    },
    { cases, pictures },
  );
  const wrong = cases
    .map(({ question, ids, answer }, at) => ({ question, answer, ids, found: found[at] }))
    .filter(({ answer, ids, found }) => found?.text !== answer || found.streamed !== answer || found.ids.join() !== ids.join());
  assert.deepEqual(wrong, []);
  assertQuiet(problems);
});

test("a dropped and a pasted picture are taken", async (t) => {
  const { page, problems } = await visit(t, browser, { hook: NO_EXAMPLE });
  await modelReady(page);
  for (const [at, type] of ["drop", "paste"].entries()) {
    await page.evaluate(async ({ at, type }) => {
      // Different ones: a picture that is there already is not looked at again.
      const image = /** @type {HTMLImageElement} */ (document.querySelectorAll("#examples img")[at]);
      const data = new DataTransfer();
      data.items.add(new File([await (await fetch(image.src)).blob()], "x.png", { type: "image/png" }));
      document.dispatchEvent(
        type === "drop" ? new DragEvent("drop", { dataTransfer: data, cancelable: true }) : new ClipboardEvent("paste", { clipboardData: data, cancelable: true }),
      );
    }, { at, type });
    await page.locator("#picture-note", { hasText: "Looking" }).waitFor();
    await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
  }
  assertQuiet(problems);
});
