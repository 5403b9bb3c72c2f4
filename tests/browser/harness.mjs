/**
 * What the browser tests share: one Chromium, one server per test, and pages that fail the test
 * on any console error, page error or unexpected request.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { writePageFiles } from "../../tools/page_files.mjs";
import { serve } from "../../tools/serve.mjs";

export const WWW = fileURLToPath(new URL("../../www", import.meta.url));

/** The shard set under test: the page's own, or the one that this variable names. */
export const POCKET = process.env.INSTRUCTBLIP_POCKET ?? join(WWW, "pocket");

// As the build does: a file of the page may have changed since.
await writePageFiles(WWW);

/** A software GPU that every machine has; no request of the browser's own. */
const FLAGS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const SOFTWARE = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/** The machine's own GPU, also where Chromium does not trust its driver. */
const HARDWARE = ["--enable-unsafe-webgpu", "--ignore-gpu-blocklist", "--enable-features=Vulkan", "--use-angle=vulkan"];

/** @returns {string} the browser to drive */
function browserPath() {
  const known = [
    process.env.CHROMIUM ?? "",
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
  ];
  const found = known.find((path) => path && existsSync(path));
  if (!found) throw new Error("No Chromium was found. Run `cargo xtask setup`, or set CHROMIUM to its path.");
  return found;
}

/**
 * Starts the browser.
 *
 * @param {{ gpu?: boolean | "hardware" }} [options] without a GPU, `navigator.gpu` has no adapter
 *   to give; `true` is the software one
 */
export async function launch({ gpu = true } = {}) {
  return chromium.launch(launchOptions(gpu));
}

/**
 * Starts a browser that keeps its storage in a folder of the disk, as a visitor's does; another
 * start with the same folder is the visitor's return.
 *
 * @param {string} folder
 */
export async function launchKept(folder) {
  return chromium.launchPersistentContext(folder, launchOptions(true));
}

/** @param {boolean | "hardware"} gpu */
function launchOptions(gpu) {
  // Chromium brings its own software GPU; a driver chosen for native tests would disturb it.
  const { VK_DRIVER_FILES: _, VK_ICD_FILENAMES: __, ...env } = process.env;
  return {
    executablePath: browserPath(),
    headless: true,
    args: [...FLAGS, ...(gpu ? (gpu === "hardware" ? HARDWARE : SOFTWARE) : [])],
    env: /** @type {Record<string, string>} */ (env),
  };
}

/**
 * A page that remembers everything that went wrong on it.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(180_000);
  /** @type {string[]} */
  const problems = [];
  page.on("console", (message) => {
    if (message.type() !== "error") return;
    problems.push(`console error: ${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => problems.push(`page error: ${error.message}`));
  page.on("crash", () => problems.push("the page crashed"));
  return { context, page, problems };
}

/**
 * Fails if something was reported on the page, except what the test caused on purpose.
 *
 * @param {string[]} problems
 * @param {RegExp[]} [expected]
 */
export function assertQuiet(problems, expected = []) {
  const rest = problems.filter((problem) => !expected.some((pattern) => pattern.test(problem)));
  assert.deepEqual(rest, [], "the page reported problems");
}

/**
 * Serves the page.
 *
 * @param {Partial<import("../../tools/serve.mjs").Options>} [options]
 */
export function servePage({ mounts, ...options } = {}) {
  return serve({ root: WWW, mounts: { "/pocket": POCKET, ...mounts }, record: true, ...options });
}

/**
 * Serves the page and opens it for one test; both are closed when the test ends, however it ends.
 *
 * @param {{ after: (end: () => Promise<void>) => void }} t
 * @param {import("playwright-core").Browser} browser
 * @param {{ query?: string } & Partial<import("../../tools/serve.mjs").Options>} [options]
 */
export async function visit(t, browser, { query = "", ...options } = {}) {
  const server = await servePage(options);
  const { context, page, problems } = await openPage(browser);
  t.after(async () => {
    await context.close();
    await server.close();
  });
  await page.goto(server.url + query);
  return { server, page, problems };
}

/** A hook with which the page opens without a picture: there are no examples. @type {NonNullable<import("../../tools/serve.mjs").Options["hook"]>} */
export const NO_EXAMPLE = ({ path }) => (path === "/examples/examples.json" ? { body: '{"examples":[],"questions":[]}' } : undefined);

/** A query with which the page proposes a model and loads none. */
export const NO_MODEL = "?model=http://127.0.0.1:1/";

/**
 * Loads a model through the developers' entry, in a page that has none of its own, and keeps it
 * there until the next load.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} url
 * @param {{ cache?: boolean, stallTimeout?: number, cancelIn?: string }} [options] `cancelIn` is
 *   the phase in which to cancel
 * @returns {Promise<{ code: string | null, sentence: string, seconds: number, cancelSeconds: number, events: import("../../www/engine/protocol.js").Progress[] }>}
 */
export function loadInPage(page, url, options = {}) {
  return page.evaluate(
    async ({ url, cancelIn, ...options }) => {
      const { Model } = await import(`${location.origin}/instructblip.js`);
      const kept = /** @type {any} */ (self);
      kept.model?.free();
      kept.events = [];
      const control = new AbortController();
      const start = performance.now();
      let cancelled = start;
      /** @param {any} event */
      const onProgress = (event) => {
        kept.events.push(event);
        if (event.phase !== cancelIn || control.signal.aborted) return;
        cancelled = performance.now();
        control.abort();
      };
      let error = null;
      try {
        kept.model = await Model.load(url, { ...options, signal: control.signal, onProgress });
      } catch (thrown) {
        error = /** @type {any} */ (thrown);
      }
      const end = performance.now();
      const times = { seconds: (end - start) / 1e3, cancelSeconds: (end - cancelled) / 1e3 };
      return { code: error?.code ?? null, sentence: error?.message ?? "", ...times, events: kept.events };
    },
    { url, ...options },
  );
}

/**
 * Agrees to the model of another host that the page's address proposes: the page is opened anew.
 *
 * @param {import("playwright-core").Page} page
 */
export async function agree(page) {
  await page.locator("#model-picker button[type=submit]").click();
  await page.locator("#model-state[data-state]").waitFor();
}

/**
 * Waits until the model is ready; fails with the page's own sentence if it cannot be loaded.
 *
 * @param {import("playwright-core").Page} page
 */
export async function modelReady(page) {
  const state = page.locator('#model-state:is([data-state="ready"], [data-state="failed"])');
  await state.waitFor();
  if ((await state.getAttribute("data-state")) === "ready") return;
  throw new Error(`the model was not loaded: ${await page.locator("#model-error").textContent()}`);
}

/**
 * Gives the page a picture, as a visitor choosing a file would, and waits until it was looked at.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} name
 * @param {Buffer} buffer
 */
export async function givePicture(page, name, buffer) {
  // The page puts its own picture, or none, in place of what index.html shows.
  await page.locator('#picture:not([src]), #picture[src^="blob:"]').waitFor({ state: "attached" });
  const before = await page.locator("#picture").getAttribute("src");
  await page.locator("#file").setInputFiles({ name, mimeType: "application/octet-stream", buffer });
  await page.waitForFunction((before) => document.getElementById("picture")?.getAttribute("src") !== before, before);
  await page.locator("#picture-note", { hasText: "looked at" }).waitFor();
}

/**
 * Asks through the form and waits for the whole answer.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} question
 * @returns {Promise<{ text: string, facts: string, notice: string }>}
 */
export async function ask(page, question) {
  const turns = page.locator("#turns > li");
  const before = await turns.count();
  await page.locator("#question").fill(question);
  await page.locator("#send").click();
  const turn = turns.nth(before);
  await turn.locator(".facts:not([hidden]), .error:not([hidden])").waitFor();
  const error = turn.locator(".error:not([hidden])");
  if (await error.count()) throw new Error(`no answer: ${await error.textContent()}`);
  /** @param {string} part */
  const read = async (part) => (await turn.locator(part).textContent()) ?? "";
  return { text: await read(".answer-text"), facts: await read(".facts"), notice: await read(".notice") };
}

/**
 * Waits for an error's sentence on the page and returns it with its code.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} place selector of the element it appears in
 */
export async function shownError(page, place) {
  const element = page.locator(`${place}:not([hidden])`).last();
  await element.waitFor();
  return { code: await element.getAttribute("data-code"), sentence: await element.textContent() };
}
