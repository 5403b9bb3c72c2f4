/**
 * Asks one question about an example picture in a headless browser, on a first visit and on a
 * second one with the model in the browser's storage, and prints what came:
 * `cargo xtask demo --check`. Exits with 1 where the answer is not the expected one.
 *
 *     node tests/browser/ask_once.mjs [--model FOLDER|URL]
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { WWW, agree, ask, givePicture, launch, modelReady, openPage, servePage } from "./harness.mjs";

const { values } = parseArgs({ options: { model: { type: "string" } } });

/** The question, and the answer where it is known: that of transformers on the pocket model. */
function firstCase() {
  const file = new URL("./pocket_cases.json", import.meta.url);
  if (!values.model && existsSync(file)) return JSON.parse(readFileSync(file, "utf8")).cases[0];
  const { examples } = JSON.parse(readFileSync(join(WWW, "examples/examples.json"), "utf8"));
  return { picture: `examples/${examples[0].file}`, question: examples[0].questions[0], answer: null };
}

const { picture, question, answer } = firstCase();
const remote = values.model && /^https?:\/\//.test(values.model) ? values.model : null;
const server = await servePage(remote ? { allow: [new URL(remote).origin] } : values.model ? { mounts: { "/check": values.model } } : {});
const browser = await launch();
try {
  const { page, problems } = await openPage(browser);
  const address = server.url + (values.model ? `?model=${encodeURIComponent(remote ?? "./check/")}` : "");
  /** Opens the page and does all a visitor does, as soon as the page lets him. */
  const visit = async () => {
    const start = performance.now();
    const seconds = () => `${((performance.now() - start) / 1e3).toFixed(1)} s`;
    await page.goto(address);
    if (remote) await agree(page); // a link only proposes
    const asking = givePicture(page, picture, readFileSync(join(WWW, picture)))
      .then(async () => ({ looked: seconds(), note: await page.locator("#picture-note").textContent(), ...(await ask(page, question)) }))
      .then((found) => ({ ...found, answered: seconds() }));
    await modelReady(page);
    const ready = seconds();
    return { ready, ...(await asking) };
  };
  const first = await visit();
  console.log(`model     ${await page.locator("#model-name").textContent()}, ${await page.locator("#model-state").textContent()}`);
  console.log(`picture   ${picture}, ${first.note}`);
  console.log(`question  ${question}`);
  console.log(`answer    ${first.text}`);
  console.log(`speed     ${first.facts}`);
  const second = await visit();
  for (const [name, { ready, looked, answered }] of Object.entries({ "1st visit": first, "2nd visit": second })) {
    console.log(`${name} picture looked at ${looked} after opening, model ready ${ready}, answered ${answered}`);
  }
  const right = answer === null || [first, second].every(({ text }) => text === answer);
  if (!right) console.log(`expected  ${answer}`);
  for (const problem of problems) console.log(problem);
  process.exitCode = right && problems.length === 0 ? 0 : 1;
} finally {
  await browser.close();
  await server.close();
}
