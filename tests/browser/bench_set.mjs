/**
 * Times a shard set in a headless browser and prints the report, one JSON object: what
 * `cargo xtask bench --browser` runs. Uses this machine's GPU where Chromium finds one, else its
 * software adapter.
 *
 *     node tests/browser/bench_set.mjs SET [--software] [--iterations N] [--tokens N] [--question TEXT] [--no-vision] [--no-kernels]
 */
import { basename, resolve } from "node:path";
import { parseArgs } from "node:util";
import { NO_MODEL, launch, openPage, servePage } from "./harness.mjs";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    software: { type: "boolean" },
    iterations: { type: "string" },
    tokens: { type: "string" },
    question: { type: "string" },
    "no-vision": { type: "boolean" },
    "no-kernels": { type: "boolean" },
  },
});
const [set] = positionals;
if (!set) throw new Error("usage: bench_set.mjs SET [--software] [--iterations N] [--tokens N] [--question TEXT] [--no-vision] [--no-kernels]");
const options = {
  ...(values.iterations && { iterations: Number(values.iterations) }),
  ...(values.tokens && { tokens: Number(values.tokens) }),
  ...(values.question && { question: values.question }),
  vision: !values["no-vision"],
  kernels: !values["no-kernels"],
};

/** @param {string} origin */
async function openBrowser(origin) {
  if (!values.software) {
    const browser = await launch({ gpu: "hardware" });
    const page = await browser.newPage();
    await page.goto(origin + NO_MODEL);
    const found = await page.evaluate(async () => !!(await /** @type {any} */ (navigator).gpu?.requestAdapter()));
    await page.close();
    if (found) return browser;
    await browser.close();
    process.stderr.write("Chromium finds no GPU here; its software adapter is measured.\n");
  }
  return launch();
}

const name = basename(resolve(set));
const server = await servePage({ mounts: { [`/bench/${name}`]: set } });
const browser = await openBrowser(server.url);
try {
  const { page, problems } = await openPage(browser);
  page.setDefaultTimeout(0);
  page.on("console", (message) => process.stderr.write(`${message.text()}\n`));
  await page.goto(server.url + NO_MODEL);
  const report = await page.evaluate(
    async ({ name, options }) => {
      const { Model } = await import(/** @type {any} */ ("/engine/engine.js"));
      console.log(`loading ${name}`);
      const model = await Model.load(`/bench/${name}/`, { cache: false });
      return model.bench(options, (/** @type {string} */ stage) => console.log(`measuring: ${stage}`));
    },
    { name, options },
  );
  if (problems.length) throw new Error(problems.join("\n"));
  console.log(JSON.stringify(report));
} finally {
  await browser.close();
  await server.close();
}
