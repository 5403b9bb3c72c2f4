/**
 * Screenshots of the page for people to look at: light and dark, 390 and 1280 px wide, in the
 * states that matter. Not a test; `node tests/browser/screenshots.mjs OUT [MODEL-URL]`.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { launch, openPage, servePage } from "./harness.mjs";

const [out = "target/screenshots", model] = process.argv.slice(2);
const dist = process.env.INSTRUCTBLIP_DIST;
await mkdir(out, { recursive: true });
const server = await servePage(dist ? { mounts: { "/dist": dist } } : {});
const browser = await launch();
for (const colorScheme of /** @type {const} */ (["light", "dark"])) {
  for (const width of [390, 1280]) {
    const { context, page } = await openPage(browser, { colorScheme, viewport: { width, height: width < 600 ? 844 : 800 } });
    /** @param {string} state */
    const shoot = (state) => page.screenshot({ path: join(out, `${state}-${width}-${colorScheme}.png`), fullPage: true });
    await page.goto(server.url + (model ? `?model=${encodeURIComponent(model)}` : ""));
    await page.locator('#model-state[data-state="ready"]').waitFor();
    await shoot("1-ready");
    await page.locator("#examples button").first().click();
    await page.locator("#picture-note", { hasText: "looked" }).waitFor();
    await page.locator("#suggestions button").first().click();
    await page.locator(".facts:not([hidden])").waitFor();
    await page.locator("#question").fill("Is there anything in this picture that stands to the left of a triangle, and if so what is it?");
    await page.locator("#send").click();
    await page.locator(".facts:not([hidden])").nth(1).waitFor();
    await page.locator("#question").fill(" ");
    await page.locator("#send").click();
    await page.locator("#ask-error:not([hidden])").waitFor();
    await shoot("2-chat");
    await page.locator("#model-change").click();
    await shoot("3-picker");
    await page.locator("#model-url").fill(process.env.OTHER ?? `${server.url}missing/`);
    await page.locator("#model-picker button[type=submit]").click();
    await page.waitForTimeout(1500);
    await shoot("4-other");
    await context.close();
  }
}
await browser.close();
await server.close();
