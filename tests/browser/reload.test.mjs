/**
 * A page that is loaded anew, as a visitor does it or a system that needs its memory: chat, pictures,
 * what was being typed and the mode are there again; and what can be done with a chat.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { asJson, asMarkdown, asText } from "../../www/page/export.js";
import { isTold } from "../../www/page/told.js";
import { NO_MODEL, POCKET, WWW, ask, assertQuiet, givePicture, launch, modelReady, visit } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";
import { eventually } from "./stored.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

const shapes = readFileSync(join(WWW, "examples/shapes.png"));
const pair = readFileSync(join(WWW, "examples/pair.png"));

/** @type {import("../../www/page/told.js").Told} */
const told = {
  number: 0,
  at: "2026-01-02T03:04:05.000Z",
  request: { prompt: "Why?", shown: "Why *so*?", label: "", talks: true },
  prompt: "Why?",
  options: { numBeams: 2 },
  pictures: ["ab"],
  names: ["a_b.png"],
  own: true,
  model: { name: "pocket", url: "https://example.org/", format: "q4", sha256: "cd" },
  text: "<b>so</b>",
  unsure: false,
  answer: null,
  ranked: null,
  milliseconds: 0,
  error: null,
};

test("a chat as text, Markdown and JSON; records of another shape are none", () => {
  assert.equal(asText([told]), "Why *so*?\n<b>so</b>\n");
  assert.match(asMarkdown([told]), /\*\*Why \\\*so\\\*\?\*\*\n\n\\<b\\>so\\<\/b\\>\n\n\*a\\_b\.png, pocket \(q4\), 2026/);
  const { turns } = JSON.parse(asJson([told]));
  assert.deepEqual(turns[0].pictures, [{ sha256: "ab", name: "a_b.png" }]);
  assert.deepEqual([turns[0].prompt, turns[0].options, turns[0].model.sha256], ["Why?", { numBeams: 2 }, "cd"]);
  assert.ok(isTold(structuredClone(told)));
  const broken = [null, [], "x", {}, { ...told, text: 1 }, { ...told, request: { ...told.request, prompt: {} } }, { ...told, pictures: [1] }, { ...told, answer: {} }, { ...told, answer: { text: "" } }, { ...told, ranked: [{}] }, { ...told, error: "x" }, { ...told, model: {} }];
  for (const value of broken) assert.equal(isTold(value), false, JSON.stringify(value));
});

/** @param {import("playwright-core").Page} page what the page holds, besides its look */
const state = (page) =>
  page.evaluate(() => ({
    turns: [...document.querySelectorAll("#turns > li")].map((turn) => turn.querySelector(".answer-text")?.textContent),
    question: /** @type {HTMLTextAreaElement} */ (document.getElementById("question")).value,
    mode: /** @type {HTMLSelectElement} */ (document.getElementById("mode")).value,
    picture: !(/** @type {HTMLElement} */ (document.getElementById("picture")).hidden),
  }));

test("a reload loses nothing, and what a turn and a chat can do", async (t) => {
  const { page, problems } = await visit(t, browser);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await modelReady(page);
  await givePicture(page, "shapes.png", shapes);
  assert.equal((await ask(page, "What color is the triangle?")).text, "yellow");
  await givePicture(page, "pair.png", pair);
  const second = (await ask(page, "Is the triangle big or small?")).text;
  await page.locator("#mode").selectOption("short");
  await page.locator("#question").fill("What is half");
  const before = await state(page);
  await eventually(async () => (await kept(page)).turns.every(({ told }) => told.answer));
  await page.reload();
  await page.locator("#turns > li").nth(1).waitFor();
  assert.deepEqual(await state(page), before);
  await modelReady(page);
  await page.locator("#picture-note", { hasText: "384 × 384 · looked at" }).waitFor();
  assert.equal(await page.locator("#turns .thumbnail").count(), 2);
  // Its map is offered again for the picture that is shown, and that of the first with its picture.
  const maps = page.locator("#turns > li .map-button");
  assert.deepEqual([await maps.nth(0).isVisible(), await maps.nth(1).isVisible()], [false, true]);
  await page.locator("#turns .bring").first().click();
  await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
  assert.deepEqual([await maps.nth(0).isVisible(), await maps.nth(1).isVisible()], [true, false]);
  await maps.nth(0).click();
  await page.locator("#map:not([hidden])").waitFor();

  // A turn: copied, asked again about its own picture, taken up for a change.
  const turn = page.locator("#turns > li").nth(1);
  await turn.getByText("Copy", { exact: true }).click();
  await turn.getByText("Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), second);
  await turn.getByText("Ask again").click();
  await page.locator("#turns > li").nth(2).locator(".facts:not([hidden])").waitFor();
  assert.equal(await page.locator("#turns > li").nth(2).locator(".answer-text").textContent(), second);
  assert.match((await page.locator("#turns > li").nth(2).locator("dl").textContent()) ?? "", /Optionsthe model’s own.*Modelpocket, q4/s);
  await page.locator("#turns > li").first().getByText("Edit").click();
  assert.deepEqual([(await state(page)).question, (await state(page)).mode], ["What color is the triangle?", "free"]);

  // The chat: its record names what an answer takes to be repeated.
  await page.locator("#chat-menu summary").click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#chat-json").click()]);
  const record = JSON.parse(readFileSync(await download.path(), "utf8"));
  assert.equal(record.turns.length, 3);
  assert.equal(record.turns[0].answer, "yellow");
  assert.equal(record.turns[0].pictures[0].sha256, createHash("sha256").update(shapes).digest("hex"));
  assert.match(record.turns[2].model.sha256, /^[0-9a-f]{64}$/);
  await page.locator("#chat-link").click();
  await page.locator("#chat-done", { hasText: "Copied" }).waitFor();
  assert.equal(new URL(await page.evaluate(() => navigator.clipboard.readText())).searchParams.get("q"), "Is the triangle big or small?");
  await page.locator("#chat-new").click();
  assert.deepEqual((await state(page)).turns, []);
  await eventually(async () => (await kept(page)).pictures.length === 0);
  assertQuiet(problems);
});

test("a reload while the model arrives and a question waits: the question is there to be asked again", async (t) => {
  const set = new ShardSet(POCKET);
  const [, rest] = set.split(/^vision_model\./);
  let held = true;
  const { page, problems } = await visit(t, browser, {
    query: "?model=./faulty/",
    hook: (request) => (held && request.path.endsWith(rest) ? { never: true } : set.hook(request)),
  });
  await givePicture(page, "shapes.png", shapes);
  await page.locator("#question").fill("What color is the triangle?");
  await page.locator("#send").click();
  await page.locator("#turns .notice", { hasText: "as soon as the model has arrived" }).waitFor();
  await page.locator("#question").fill("And then");
  await eventually(async () => (await kept(page)).turns.length === 1);
  held = false;
  await page.reload();
  const turn = page.locator("#turns > li").first();
  await turn.locator(".notice", { hasText: "loaded anew before this was answered" }).waitFor();
  assert.equal((await state(page)).question, "And then");
  await modelReady(page);
  await turn.getByText("Ask again").click();
  await page.locator("#turns > li").nth(1).locator(".facts:not([hidden])").waitFor();
  assert.equal(await page.locator("#turns > li").nth(1).locator(".answer-text").textContent(), "yellow");

  // In the middle of an answer: what had come by then, and that it is not all.
  await Promise.all([
    page.waitForEvent("load"),
    page.evaluate(() => {
      const text = () => document.querySelector("#turns > li:nth-child(3) .answer-text")?.textContent;
      new MutationObserver(() => text() && location.reload()).observe(document.body, { childList: true, characterData: true, subtree: true });
      document.getElementById("description")?.click();
    }),
  ]);
  await page.locator("#turns > li").nth(2).locator(".notice", { hasText: "loaded anew before this was answered" }).waitFor({ timeout: 20_000 });
  assert.ok((await state(page)).turns[2], "what had come by then");
  assertQuiet(problems);
});

test("a duplicated tab goes on with a copy; records of strangers, and a denied storage, do no harm", async (t) => {
  const { server, page, problems } = await visit(t, browser, { query: NO_MODEL });
  page.context().setDefaultTimeout(20_000);
  page.setDefaultTimeout(20_000);
  await page.locator("#model-picker:not([hidden])").waitFor();
  const tab = await page.evaluate(() => sessionStorage.getItem("instructblip-tab"));
  const planted = [told, { ...told, number: 1, text: "partly" }, { ...told, number: 2, answer: { text: 3 } }, {}, null];
  await page.evaluate(async ({ tab, planted }) => {
    const database = await new Promise((done) => (indexedDB.open("instructblip-chats").onsuccess = (event) => done(/** @type {any} */ (event.target).result)));
    const stores = /** @type {IDBDatabase} */ (database).transaction(["tabs", "turns", "pictures"], "readwrite");
    for (const [number, told] of planted.entries()) stores.objectStore("turns").put({ tab: JSON.parse(tab ?? ""), number, told });
    stores.objectStore("tabs").put({ tab: JSON.parse(tab ?? ""), changed: "yes", shown: { hashes: ["ab"], questions: [], alt: "", own: true } });
    stores.objectStore("pictures").put({ hash: "ab", file: "none" });
    await new Promise((done) => (stores.oncomplete = done));
    /** @type {IDBDatabase} */ (database).close();
  }, { tab, planted });
  await page.reload();
  await page.locator("#turns > li").nth(1).waitFor();
  assert.deepEqual((await state(page)).turns, ["<b>so</b>", "partly"]);
  await page.locator("#picture-error", { hasText: "no longer kept" }).waitFor();

  const copy = await page.context().newPage();
  await copy.addInitScript((tab) => sessionStorage.getItem("instructblip-tab") ?? sessionStorage.setItem("instructblip-tab", tab ?? ""), tab);
  await copy.goto(server.url + NO_MODEL);
  await copy.locator("#turns > li").nth(1).waitFor();
  assert.notEqual(await copy.evaluate(() => sessionStorage.getItem("instructblip-tab")), tab);
  await copy.locator("#chat-menu summary").click();
  await copy.locator("#chat-new").click();
  await copy.reload();
  await copy.locator("#model-picker:not([hidden])").waitFor();
  assert.deepEqual((await state(copy)).turns, []);
  await page.reload();
  await page.locator("#turns > li").nth(1).waitFor();

  await page.addInitScript(() => Object.defineProperty(window, "indexedDB", { get: () => { throw new DOMException("denied", "SecurityError"); } }));
  await page.reload();
  await page.locator("#model-picker:not([hidden])").waitFor();
  assert.match((await page.locator("#chat-kept").textContent()) ?? "", /a reload loses this chat/);
  assertQuiet(problems);
});

/** @param {import("playwright-core").Page} page @returns {Promise<{ turns: any[], pictures: any[] }>} what is kept */
function kept(page) {
  return page.evaluate(async () => {
    /** @type {IDBDatabase} */
    const database = await new Promise((done) => (indexedDB.open("instructblip-chats").onsuccess = (event) => done(/** @type {any} */ (event.target).result)));
    const read = (/** @type {string} */ store) => new Promise((done) => (database.transaction(store).objectStore(store).getAll().onsuccess = (event) => done(/** @type {any} */ (event.target).result)));
    const [turns, pictures] = [await read("turns"), await read("pictures")];
    database.close();
    return { turns: /** @type {any[]} */ (turns), pictures: /** @type {any[]} */ (pictures).map(({ hash }) => hash) };
  });
}
