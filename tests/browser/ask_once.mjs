/**
 * Asks one question about an example picture in a headless browser and prints what came:
 * `cargo xtask demo --check`. Exits with 1 where the answer is not the expected one.
 *
 *     node tests/browser/ask_once.mjs [--model FOLDER|URL]
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { WWW, ask, givePicture, launch, modelReady, openPage, servePage } from "./harness.mjs";

const { values } = parseArgs({ options: { model: { type: "string" } } });

/** The question, and the answer where it is known: that of transformers on the pocket model. */
function firstCase() {
  const file = new URL("./pocket_cases.json", import.meta.url);
  if (!values.model && existsSync(file)) return JSON.parse(readFileSync(file, "utf8")).cases[0];
  const { examples } = JSON.parse(readFileSync(join(WWW, "examples/examples.json"), "utf8"));
  return { picture: `examples/${examples[0].file}`, question: examples[0].questions[0], answer: null };
}

const { picture, question, answer } = firstCase();
const remote = values.model?.startsWith("http");
const server = await servePage(values.model && !remote ? { mounts: { "/check": values.model } } : {});
const browser = await launch();
try {
  const { page, problems } = await openPage(browser);
  const start = performance.now();
  await page.goto(server.url + (values.model ? `?model=${encodeURIComponent(remote ? values.model : "./check/")}` : ""));
  if (remote) await page.locator("#model-picker button[type=submit]").click(); // a link only proposes
  await modelReady(page);
  const loaded = performance.now();
  await givePicture(page, picture, readFileSync(join(WWW, picture)));
  const found = await ask(page, question);
  console.log(`model     ${await page.locator("#model-name").textContent()}, ${await page.locator("#model-state").textContent()}, loaded in ${((loaded - start) / 1e3).toFixed(1)} s`);
  console.log(`picture   ${picture}, ${await page.locator("#picture-note").textContent()}`);
  console.log(`question  ${question}`);
  console.log(`answer    ${found.text}`);
  console.log(`speed     ${found.facts}`);
  const right = answer === null || found.text === answer;
  if (!right) console.log(`expected  ${answer}`);
  for (const problem of problems) console.log(problem);
  process.exitCode = right && problems.length === 0 ? 0 : 1;
} finally {
  await browser.close();
  await server.close();
}
