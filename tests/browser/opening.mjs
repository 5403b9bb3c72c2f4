/**
 * How long a visitor waits: from opening the page to something to read, to the first picture, and
 * to the first answer, at full speed and on slow 3G (400 kbit/s, 400 ms). Not a test;
 * `node tests/browser/opening.mjs [WWW]` measures that folder, the repository's own unless told otherwise.
 */
import { fileURLToPath } from "node:url";
import { launch, openPage } from "./harness.mjs";
import { serve } from "../../tools/serve.mjs";

const [root = fileURLToPath(new URL("../../www", import.meta.url))] = process.argv.slice(2);
const NETS = { "full speed": null, "slow 3G": { offline: false, latency: 400, downloadThroughput: 50_000, uploadThroughput: 50_000 } };
/** Takes the first example and its first question, as soon as they are there: the page may have done the former by itself. */
const ASK = `(() => {
  const seconds = () => +(performance.now() / 1e3).toFixed(1);
  const times = (self.times = {});
  const note = (name, done) => done && (times[name] ??= seconds());
  let asked = false;
  let taken = false;
  const step = () => {
    const shown = (id) => document.getElementById(id)?.checkVisibility();
    const example = document.querySelector("#examples button");
    if (!shown("picture") && example && !taken) {
      taken = true;
      example.click();
    }
    note("a picture", shown("picture") && document.getElementById("picture").naturalWidth > 0);
    const send = document.getElementById("send");
    if (shown("picture") && !asked && send && !send.disabled) {
      document.getElementById("question").value = "What color is the triangle?";
      send.click();
      asked = document.querySelectorAll("#turns > li").length > 0;
    }
    note("the answer", document.querySelector(".facts:not([hidden])"));
    if (!times["the answer"]) setTimeout(step, 50);
  };
  step(); // the document's own event waits for the scripts
})()`;

const server = await serve({ root });
const browser = await launch();
for (const [net, conditions] of Object.entries(NETS)) {
  const { context, page } = await openPage(browser);
  if (conditions) {
    const session = await context.newCDPSession(page);
    await session.send("Network.enable");
    await session.send("Network.emulateNetworkConditions", conditions);
  }
  await page.addInitScript(ASK);
  await page.goto(server.url, { waitUntil: "commit" });
  await page.waitForFunction(() => /** @type {any} */ (self).times?.["the answer"], null, { timeout: 500_000, polling: 500 });
  const read = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN);
  const times = await page.evaluate(() => /** @type {any} */ (self).times);
  console.log(`${net}: something to read ${(read / 1e3).toFixed(1)} s, ${Object.entries(times).map(([name, time]) => `${name} ${time} s`).join(", ")}`);
  await context.close();
}
await browser.close();
await server.close();
