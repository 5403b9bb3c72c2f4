/**
 * The page for everyone: axe in every state, each control by keyboard with the focus never lost,
 * narrow and low windows, forced colours. All in one visit.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { assertQuiet, launch, modelReady, visit } from "./harness.mjs";

const AXE = readFileSync(fileURLToPath(new URL("../../node_modules/axe-core/axe.min.js", import.meta.url)), "utf8");

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/** @typedef {import("playwright-core").Page} Page */

/** What axe finds wrong in the page as it is. @param {Page} page */
const violations = (page) =>
  page.evaluate(async () => {
    const { violations } = await /** @type {any} */ (self).axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return violations.map((/** @type {any} */ { id, nodes }) => `${id}: ${nodes.map((/** @type {any} */ { html }) => html.slice(0, 120)).join(" | ")}`);
  });

/** @param {Page} page */
const focused = (page) => page.evaluate(() => document.activeElement?.id || document.activeElement?.className || document.activeElement?.tagName);

/** The controls that can be reached now, each once: of radio buttons the chosen one. @param {Page} page */
const controls = (page) =>
  page.evaluate(() => {
    const found = document.querySelectorAll("a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary");
    const reached = [...found].filter((element) => element.checkVisibility() && !element.closest("dialog:not([open])") && !(element instanceof HTMLInputElement && element.type === "radio" && !element.checked));
    for (const [at, element] of reached.entries()) element.setAttribute("data-walk", String(at));
    return reached.length;
  });

test("every state is sound for axe, the keyboard, small windows and forced colours", async (t) => {
  const { page, problems } = await visit(t, browser);
  await page.evaluate(AXE);
  /** @type {string[]} */
  const wrong = [];
  /** @param {string} state */
  const check = async (state) => {
    for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      wrong.push(...(await violations(page)).map((/** @type {string} */ what) => `${state}, ${colorScheme}: ${what}`));
    }
  };
  await check("loading");

  // Cancel and Load again hand the focus to each other.
  await page.locator("#loading-cancel").press("Enter");
  await page.locator("#model-again:not([hidden])").waitFor();
  assert.equal(await focused(page), "model-again");
  assert.match((await page.locator("#picture-note").textContent()) ?? "", /^Load a model/);
  await check("cancelled");
  await page.keyboard.press("Enter");
  assert.equal(await focused(page), "loading-cancel");
  await modelReady(page);
  assert.equal(await focused(page), "model-change", "the bar is gone, the focus is not");

  // While an answer is made a preset keeps the focus, and a question comes next.
  await page.reload();
  await page.evaluate(AXE);
  await page.locator('#model-state[data-state="loading"]').waitFor();
  await page.locator('#picture[src^="blob:"]').waitFor();
  await page.locator("#description").press("Enter");
  assert.equal(await focused(page), "description");
  await page.locator("#question").fill("What color is the triangle?");
  await page.keyboard.press("Enter");
  await page.locator("#ask-note:not([hidden])", { hasText: "What color is the triangle?" }).waitFor({ timeout: 5000 });
  const turns = page.locator("#turns > li");
  await turns.nth(1).locator(".facts:not([hidden])").waitFor();

  await page.locator("#model-change").press("Enter");
  assert.equal(await focused(page), "model-pocket");
  await check("picker");
  await page.keyboard.press("Escape");
  assert.equal(await focused(page), "model-change");
  for (const [open, dialog] of [["about-open", "about"], ["advanced-open", "advanced"]]) {
    await page.locator(`#${open}`).press("Enter");
    await page.locator(`#${dialog}[open]`).waitFor();
    await check(dialog);
    await page.keyboard.press("Escape");
    assert.equal(await focused(page), open);
  }

  assert.equal(await turns.nth(1).locator(".answer-text").textContent(), "yellow");
  await page.locator("#question").focus();
  await page.keyboard.press("ArrowUp");
  assert.equal(await page.locator("#question").inputValue(), "What color is the triangle?");
  await page.keyboard.press("ArrowDown");
  assert.equal(await page.locator("#question").inputValue(), "");
  // Escape stops, and what was said so far stays.
  await page.keyboard.type("Describe the picture in detail.");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("Please.");
  assert.equal(await page.locator("#question").inputValue(), "Describe the picture in detail.\nPlease.");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Escape");
  await turns.nth(2).locator(".notice:not([hidden])", { hasText: "Stopped." }).waitFor();
  assert.equal(await focused(page), "question");

  // What the form lacks is said there.
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("#ask-error").textContent(), "Type a question first.");
  assert.equal(await page.locator("#question").getAttribute("aria-invalid"), "true");
  await page.locator("#mode").selectOption("rank");
  await page.locator("#question").fill("What color is the triangle?");
  await page.locator("#send").press("Enter");
  assert.equal(await page.locator("#ask-error").textContent(), "Type the answers to choose from, one a line.");
  assert.equal(await focused(page), "answers");
  await check("ranking, refused");
  await page.locator("#answers").fill("red\nyellow");
  await page.locator("#send").press("Enter");
  await turns.nth(3).locator(".ranking").waitFor();
  await page.locator("#mode").selectOption("free");

  const looked = turns.nth(1).locator(".map-button");
  await looked.press("Enter");
  await page.locator("#map:not([hidden])").waitFor();
  assert.equal(await page.locator("#map-answer").textContent(), "yellow");
  await check("answers and the map");

  assert.deepEqual(wrong, []);

  // Every control is reached with Tab alone, is in sight, and shows that it has the focus.
  const count = await controls(page);
  await page.evaluate(() => /** @type {HTMLElement} */ (document.activeElement).blur());
  await page.locator(".skip").focus();
  const reached = new Set();
  for (let at = 0; at < count + 5; at++) {
    const { walk, seen, marked, name } = await page.evaluate(() => {
      const element = /** @type {HTMLElement} */ (document.activeElement);
      const { top, bottom, width, height } = element.getBoundingClientRect();
      const style = getComputedStyle(element);
      const border = (/** @type {HTMLElement | null} */ (element.closest("form#ask")) && getComputedStyle(/** @type {Element} */ (element.closest("form#ask"))).borderColor) ?? "";
      return {
        walk: element.dataset.walk ?? null,
        seen: width * height > 0 && bottom > 0 && top < innerHeight,
        marked: style.outlineStyle !== "none" || border === "rgb(15, 118, 110)" || border === "rgb(92, 201, 185)",
        name: element.outerHTML.slice(0, 90),
      };
    });
    if (walk !== null && !reached.has(walk)) {
      reached.add(walk);
      assert.ok(seen, `out of sight: ${name}`);
      assert.ok(marked, `no mark of the focus: ${name}`);
    }
    await page.keyboard.press("Tab");
  }
  const missed = await page.evaluate((reached) => [...document.querySelectorAll("[data-walk]")].filter((element) => !reached.includes(element.getAttribute("data-walk"))).map((element) => element.outerHTML.slice(0, 90)), [...reached]);
  assert.deepEqual(missed, [], "not reached with Tab");
  await page.locator("#map-close").press("Enter");
  assert.ok(await looked.evaluate((button) => button === document.activeElement), "hiding the map leads back to its turn");

  // Nothing is cut at the side, nor hidden by the form.
  for (const [width, height] of /** @type {[number, number][]} */ ([[320, 640], [320, 256], [640, 400], [844, 390]])) {
    await page.setViewportSize({ width, height });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width, `${width} px`);
    await looked.evaluate((button) => button.scrollIntoView({ block: "nearest" }));
    const free = await looked.evaluate((button) => {
      const { left, right, top, bottom } = button.getBoundingClientRect();
      return document.elementFromPoint((left + right) / 2, (top + bottom) / 2) === button;
    });
    assert.ok(free, `nothing lies over an answer at ${width} × ${height}`);
  }

  // A tall chat leaves the picture in sight.
  await page.setViewportSize({ width: 1280, height: 600 });
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  assert.ok(await page.locator("#drop").evaluate((box) => box.getBoundingClientRect().bottom > 100), "the picture sticks");

  await page.emulateMedia({ forcedColors: "active" });
  const style = (/** @type {string} */ selector, /** @type {string} */ name) => page.locator(selector).first().evaluate((element, name) => getComputedStyle(element).getPropertyValue(name), name);
  assert.equal(await style(".track", "border-top-style"), "solid");
  await page.locator("#question").focus();
  assert.equal(await style("#ask", "outline-style"), "solid");
  assertQuiet(problems);
});
