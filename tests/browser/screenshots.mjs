/**
 * Screenshots of the page for people to look at: light and dark, 390 and 1280 px wide, in the
 * states that matter. Not a test; `node tests/browser/screenshots.mjs OUT [MODEL-URL]`.
 */
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { WWW, launch, modelReady, openPage, servePage } from "./harness.mjs";

const [out = "target/screenshots", model] = process.argv.slice(2);
await mkdir(out, { recursive: true });
const server = await servePage();
const browser = await launch();
for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
  for (const width of [390, 1280]) {
    const { context, page } = await openPage(browser, { colorScheme, viewport: { width, height: width < 600 ? 844 : 800 } });
    /** @param {string} state @param {boolean} [whole] the page, not only what is in sight */
    const shoot = (state, whole = true) => page.screenshot({ path: join(out, `${state}-${width}-${colorScheme}.png`), fullPage: whole });
    const answered = (/** @type {number} */ count) => page.locator(".facts:not([hidden])").nth(count - 1).waitFor();
    await page.goto(server.url + (model ? `?model=${encodeURIComponent(model)}` : ""));
    await modelReady(page);
    await shoot("1-ready");
    await page.locator("#examples button").first().click();
    await page.locator("#picture-note", { hasText: "looked" }).waitFor();
    await page.locator("#suggestions button").first().click();
    await answered(1);
    await page.locator("#description").click();
    await answered(2);
    await page.locator("#question").fill(" ");
    await page.locator("#send").click();
    await page.locator("#ask-error:not([hidden])").waitFor();
    await shoot("2-chat");

    await page.locator("#question").fill("What color is the triangle?");
    await page.locator(".map-button").first().click();
    await page.locator("#map:not([hidden])").waitFor();
    await shoot("3-map");
    await page.locator("#map-question").fill("Where is the heart?");
    await page.locator("#map-against button").click();
    await page.locator("#map-title", { hasText: "rather than" }).waitFor();
    await shoot("4-map-difference");
    await page.locator("#map-close").click();

    await page.locator("#advanced-open").click();
    await page.locator("#knob-num_beams").fill("5");
    await page.locator("#knob-num_return_sequences").fill("3");
    await shoot("5-drawer", false);
    await page.keyboard.press("Escape");
    await page.locator("#question").fill("What is just above the heart?");
    await page.locator("#send").click();
    await answered(3);
    await page.locator(".facts").nth(2).click();
    await page.locator("#mode").selectOption("rank");
    await page.locator("#question").fill("What color is the triangle?");
    await page.locator("#answers").fill("yellow\nred\nblue\na color that is not in the picture");
    await page.locator("#send").click();
    await answered(4);
    await shoot("6-candidates-ranking");

    const files = ["shapes.png", "pair.png", "crowd.png"].map((name) => ({ name, mimeType: "image/png", buffer: readFileSync(join(WWW, "examples", name)) }));
    await page.locator("#file").setInputFiles(files);
    await page.locator("#picture-note", { hasText: "pictures ·" }).waitFor();
    await page.locator("#strip button").nth(1).click();
    await page.locator("#mode").selectOption("free");
    await page.locator("#question").fill("What is in the pictures?");
    await page.locator("#send").click();
    await answered(5);
    await shoot("7-pictures");

    await page.locator("#model-change").click();
    await shoot("8-picker");
    await page.locator("#model-url").fill(process.env.OTHER ?? `${server.url}missing/`);
    await page.locator("#model-picker button[type=submit]").click();
    await page.locator("#model-error:not([hidden]), #loading-text:not(:empty)").first().waitFor();
    await shoot("9-other");
    await context.close();
  }
}
await browser.close();
await server.close();
