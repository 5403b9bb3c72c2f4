/** The example of `examples/embed`, served as `cargo xtask demo` does: it answers as transformers does. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { WWW, assertQuiet, launch, openPage, servePage } from "./harness.mjs";

const EMBED = fileURLToPath(new URL("../../examples/embed", import.meta.url));
const CASES = fileURLToPath(new URL("./pocket_cases.json", import.meta.url));

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

test("a page of one's own asks about a picture", async (t) => {
  const { picture, question, answer } = JSON.parse(readFileSync(CASES, "utf8")).cases[0];
  const server = await servePage({ mounts: { "/embed": EMBED } });
  const { context, page, problems } = await openPage(browser);
  t.after(async () => {
    await context.close();
    await server.close();
  });
  await page.goto(`${server.url}embed/`);
  const state = page.locator("#state");
  await state.getByText("Choose a picture.").waitFor();
  const file = (/** @type {Buffer} */ buffer) => ({ name: "picture.png", mimeType: "image/png", buffer });
  await page.locator("#file").setInputFiles(file(Buffer.from("no picture")));
  await state.getByText("not a picture").waitFor();
  await page.locator("#file").setInputFiles(file(readFileSync(join(WWW, picture))));
  await state.getByText("Ask about it.").waitFor();
  await page.locator("#question").fill(question);
  await page.locator("button").click();
  await page.locator("button:enabled").waitFor();
  assert.equal(await page.locator("#answer").textContent(), answer);
  assertQuiet(problems);
});
