/**
 * What the page offers besides a plain question: presets, the drawer of settings, several answers,
 * ranking, the map, several pictures, a video, and a remembered conversation.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { POCKET, WWW, ask, assertQuiet, givePicture, launch, modelReady, shownError, visit } from "./harness.mjs";
import { ShardSet } from "./shard_set.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/** @param {string} name */
const example = (name) => readFileSync(join(WWW, "examples", name));

/**
 * Does something that starts a turn, and waits until that is finished.
 *
 * @param {import("playwright-core").Page} page
 * @param {() => Promise<void>} start
 */
async function turnAfter(page, start) {
  const turns = page.locator("#turns > li");
  const before = await turns.count();
  await start();
  const turn = turns.nth(before);
  await turn.locator(".facts:not([hidden])").waitFor();
  return turn;
}

test("presets, modes, settings and several answers", async (t) => {
  const { page, problems } = await visit(t, browser);
  await modelReady(page);
  await givePicture(page, "shapes.png", example("shapes.png"));
  const promptOf = async (/** @type {import("playwright-core").Locator} */ turn) => turn.locator("dd").first().textContent();

  const caption = await turnAfter(page, () => page.locator("#caption").click());
  assert.equal(await caption.locator(".question-text").textContent(), "Caption");
  assert.equal(await promptOf(caption), "A short image description:");

  await page.locator("#mode").selectOption("short");
  const short = await turnAfter(page, async () => {
    await page.locator("#question").fill("What color is the triangle?");
    await page.keyboard.press("Enter");
  });
  assert.equal(await short.locator(".answer-text").textContent(), "yellow");
  assert.equal(await promptOf(short), "Question: What color is the triangle? Short answer:");

  // The drawer: opened, changed and closed by keyboard; what has no effect is off.
  await page.locator("#advanced-open").focus();
  await page.keyboard.press("Enter");
  assert.ok(await page.locator("#knob-temperature").isDisabled(), "nothing is drawn");
  assert.deepEqual(await page.locator("#knobs legend").allTextContents(), ["Search", "Chance", "Repetition", "Length"]);
  await page.locator("#knob-num_beams").focus();
  for (let beams = 1; beams < 4; beams++) await page.keyboard.press("ArrowRight");
  await page.locator("#knob-num_return_sequences").fill("3");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#advanced-open").textContent(), "Advanced (2)");
  assert.ok(await page.locator("#advanced-open").evaluate((element) => element === document.activeElement), "focus returns");
  await page.locator("#mode").selectOption("free");
  const several = await turnAfter(page, async () => {
    await page.locator("#question").fill("What color is the triangle?");
    await page.locator("#send").click();
  });
  assert.equal(await several.locator(".answer-text").textContent(), "yellow");
  assert.equal(await several.locator(".candidates li").count(), 2, "the best is not repeated");
  assert.match((await several.locator("dl").textContent()) ?? "", /num_beams 4 · num_return_sequences 3/);

  // Beams and the answers shown of them follow each other.
  await page.locator("#advanced-open").click();
  await page.locator("#knob-num_beams").fill("2");
  assert.equal(await page.locator("#knob-num_return_sequences").inputValue(), "2");
  await page.locator("#knob-num_return_sequences").fill("4");
  assert.equal(await page.locator("#knob-num_beams").inputValue(), "4");
  await page.locator("#knob-num_beams").fill("2");
  await page.locator("#advanced-close").click();

  // They are remembered, and forgotten by one button.
  await page.reload();
  await modelReady(page);
  assert.equal(await page.locator("#advanced-open").textContent(), "Advanced (2)");
  await page.locator("#advanced-open").click();
  assert.equal(await page.locator("#knob-num_beams").inputValue(), "2");
  await page.locator("#advanced-reset").click();
  assert.equal(await page.locator("#knob-num_beams").inputValue(), "1");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#advanced-open").textContent(), "Advanced");
  assertQuiet(problems);
});

test("ranking, the map, its difference, and a conversation", async (t) => {
  // A set that does not say whether it learned from conversations.
  const set = new ShardSet(POCKET);
  set.changeJson("config.json", (config) => delete config.instructblip_web_about);
  const { page, problems } = await visit(t, browser, { query: "?model=./faulty/", hook: set.hook });
  await modelReady(page);
  await givePicture(page, "shapes.png", example("shapes.png"));
  await page.locator("#mode").selectOption("rank");
  const ranked = await turnAfter(page, async () => {
    await page.locator("#question").fill("What color is the triangle?");
    await page.locator("#answers").fill("red\n\n yellow \nblue\n");
    await page.locator("#send").click();
  });
  assert.deepEqual((await ranked.locator(".ranked-text").allTextContents())[0], "yellow");
  assert.equal(await ranked.locator(".ranking li").count(), 3);
  await page.locator("#mode").selectOption("free");
  await ask(page, "Where is the circle?");
  await page.locator("#remember").check();
  await ask(page, "What color is the triangle?");

  const button = page.locator(".map-button").last();
  await button.click();
  await page.locator("#map:not([hidden])").waitFor();
  assert.equal(await button.getAttribute("aria-pressed"), "true");
  const [map, picture] = await Promise.all([page.locator("#map").boundingBox(), page.locator("#picture").boundingBox()]);
  assert.deepEqual(map, picture, "the map lies on the picture");
  const drawn = () => page.locator("#map").evaluate((canvas) => /** @type {HTMLCanvasElement} */ (canvas).toDataURL());
  const average = await drawn();
  await page.locator("#map-query").fill("2");
  assert.notEqual(await drawn(), average, "a single query has a map of its own");
  await page.locator("#map-question").fill("Where is the heart?");
  await page.keyboard.press("Enter");
  await page.locator("#map-title", { hasText: "rather than “Where is the heart?”" }).waitFor();
  assert.match((await page.locator("#map-note").textContent()) ?? "", /More attention/);
  await button.click();
  await page.locator("#map").waitFor({ state: "hidden" });

  const next = await turnAfter(page, async () => {
    await page.locator("#question").fill("Is it big?");
    await page.locator("#send").click();
  });
  const prompt = (await next.locator("dd").first().textContent()) ?? "";
  assert.match(prompt, /What color is the triangle\? yellow[^]*Is it big\?/);
  assert.doesNotMatch(prompt, /Where is the circle/, "only what was said from then on");
  assert.equal(await page.locator("#forget").textContent(), "Forget 2 turns");
  await page.locator("#forget").click();
  await page.locator("#forget").waitFor({ state: "hidden" });
  // Another picture ends the conversation, and takes the map away.
  await givePicture(page, "pair.png", example("pair.png"));
  assert.equal(await page.locator(".map-button:visible").count(), 0);
  const fresh = await turnAfter(page, async () => {
    await page.locator("#question").fill("What is on the right?");
    await page.locator("#send").click();
  });
  assert.equal(await fresh.locator("dd").first().textContent(), "What is on the right?");
  assertQuiet(problems);
});

test("several pictures at once, and frames of a video", async (t) => {
  const { page, problems } = await visit(t, browser);
  await modelReady(page);
  const files = ["shapes.png", "pair.png"].map((name) => ({ name, mimeType: "image/png", buffer: example(name) }));
  await page.locator("#file").setInputFiles(files);
  await page.locator("#picture-note", { hasText: "2 pictures · 384 × 384 · looked at" }).waitFor();
  const turn = await turnAfter(page, async () => {
    await page.locator("#question").fill("What is in the pictures?");
    await page.locator("#send").click();
  });
  assert.equal(await turn.locator(".thumbnail").count(), 2);
  await turn.locator(".map-button").click();
  await page.locator("#map:not([hidden])").waitFor();
  const note = async () => page.locator("#map-note").textContent();
  const first = await note();
  await page.locator("#strip button").nth(1).click();
  await page.waitForFunction((first) => document.getElementById("map-note")?.textContent !== first, first);

  // A film of a square that wanders from left to right, recorded here: such a file has no length.
  await page.evaluate(async () => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 96;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: "video/webm" });
    /** @type {Blob[]} */
    const parts = [];
    recorder.ondataavailable = ({ data }) => parts.push(data);
    const ended = new Promise((done) => (recorder.onstop = done));
    recorder.start();
    const start = performance.now();
    await new Promise((done) => {
      const paint = () => {
        const at = (performance.now() - start) / 2000;
        context.fillStyle = "#889988";
        context.fillRect(0, 0, 96, 96);
        context.fillStyle = "#dd2222";
        context.fillRect(72 * at, 36, 24, 24);
        if (at < 1) requestAnimationFrame(paint);
        else done(undefined);
      };
      paint();
    });
    recorder.stop();
    await ended;
    const data = new DataTransfer();
    data.items.add(new File(parts, "film.webm", { type: "video/webm" }));
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
  });
  await page.locator("#picture-note", { hasText: "4 frames · 96 × 96 · looked at" }).waitFor();
  // The frames are in order: the square is further right in each.
  const places = await page.locator("#strip img").evaluateAll(async (images) =>
    Promise.all(
      images.map(async (image) => {
        const picture = await createImageBitmap(/** @type {HTMLImageElement} */ (image));
        const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(96, 96).getContext("2d"));
        context.drawImage(picture, 0, 0);
        const { data } = context.getImageData(0, 48, 96, 1);
        const red = Array.from({ length: 96 }, (_, x) => x).filter((x) => (data[4 * x] ?? 0) > 160 && (data[4 * x + 1] ?? 0) < 90);
        return red.reduce((sum, x) => sum + x, 0) / red.length;
      }),
    ),
  );
  assert.equal(places.length, 4);
  assert.ok(places.every((place, at) => at === 0 || place > (places[at - 1] ?? NaN) + 5), `${places}`);
  assert.equal(await page.locator("#frames").getAttribute("max"), "16", "as many as the engine takes");
  await page.locator("#frames").fill("2");
  await page.keyboard.press("Tab");
  await page.locator("#picture-note", { hasText: "2 frames" }).waitFor();

  await page.evaluate(() => {
    const data = new DataTransfer();
    data.items.add(new File(["no film"], "broken.webm", { type: "video/webm" }));
    document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
  });
  assert.equal((await shownError(page, "#picture-error")).code, "picture-undecodable");
  assertQuiet(problems);
});
