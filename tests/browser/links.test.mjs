/** Addresses of models as people type them, links that carry a model and a question, and ways out of what cannot be had. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Unfit, folderAt } from "../../www/page/addresses.js";
import { assertQuiet, launch, modelReady, shownError, visit } from "./harness.mjs";

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

test("addresses are read kindly, or refused with the reason", () => {
  const page = new URL("https://page.example/app/");
  const plain = (/** @type {string} */ origin) => origin === "http://127.0.0.1:9000";
  for (const [text, href] of /** @type {const} */ ([
    ["./pocket/", "https://page.example/app/pocket/"],
    [" other/ ", "https://page.example/app/other/"],
    ["models.example/t5", "https://models.example/t5"],
    ["models.example:8443/t5/", "https://models.example:8443/t5/"],
    ["127.0.0.1:9000/good", "http://127.0.0.1:9000/good"],
    ["https://models.example/good/config.json", "https://models.example/good/"],
    ["https://models.example/good/model.safetensors.index.json", "https://models.example/good/"],
    ["https://huggingface.co/me/t5-q4", "https://huggingface.co/me/t5-q4/resolve/main/"],
    ["https://huggingface.co/me/t5-q4/tree/v2/set", "https://huggingface.co/me/t5-q4/resolve/v2/set"],
    ["https://huggingface.co/me/t5-q4/resolve/main/", "https://huggingface.co/me/t5-q4/resolve/main/"],
  ])) assert.equal(folderAt(text, page, plain).href, href, text);
  for (const [text, key] of /** @type {const} */ ([
    ["Salesforce/instructblip-flan-t5-xl", "address.hub"],
    ["http://192.0.2.2:9004/", "address.http"],
    ["http://", "address.none"],
    ["ftp://models.example/", "address.none"],
    ["javascript:alert(1)", "address.none"],
    ["https://*/", "address.host"],
  ])) assert.throws(() => folderAt(text, page, plain), (error) => error instanceof Unfit && error.key === key, text);
});

test("a link proposes another host's model with its question; what cannot be had leads to pocket", async (t) => {
  const query = `?model=${encodeURIComponent("https://models.example/t5/")}&q=${encodeURIComponent("What color is the triangle?")}`;
  const { server, page, problems } = await visit(t, browser, { query });
  await page.locator("#model-proposal:not([hidden])", { hasText: "models.example" }).waitFor();
  assert.equal(await page.locator("#question").inputValue(), "What color is the triangle?");
  assert.equal(await page.locator("#model-instead").textContent(), "Use pocket");
  assert.equal(await page.locator("#turns > li").count(), 0, "nobody but the visitor asks it");

  // Nothing is asked for of what is no address, and the sentence says what to do.
  await page.locator("#model-url").fill("Salesforce/instructblip-flan-t5-xl");
  await page.locator("#model-picker button[type=submit]").click();
  assert.match((await shownError(page, "#model-error")).sentence ?? "", /instructblip convert Salesforce\/instructblip-flan-t5-xl/);
  await page.locator("#model-url").fill("http://192.0.2.2:9004/");
  await page.locator("#model-picker button[type=submit]").click();
  assert.match((await shownError(page, "#model-error")).sentence ?? "", /https alone/);
  // A model that is not there, named by one of its files.
  await page.locator("#model-url").fill("./missing/config.json");
  await page.locator("#model-picker button[type=submit]").click();
  await page.locator("#model-name", { hasText: "missing" }).waitFor();
  assert.match((await shownError(page, "#model-error")).sentence ?? "", /\/missing\/config\.json: there is no such file/);
  assert.equal(server.requests.filter(({ path }) => path.includes("config.json/")).length, 0);

  await page.locator("#model-instead").click();
  await modelReady(page);
  assert.equal(await page.locator("#model-instead").isVisible(), false);
  assert.ok(await page.locator("#model-error").isHidden());
  assert.equal(new URL(page.url()).search, "");
  assert.equal(await page.locator("#question").inputValue(), "What color is the triangle?");
  await page.reload();
  await page.locator("#model-state", { hasText: "from this browser’s storage" }).waitFor();
  assertQuiet(problems, [/404/]);
});
