/**
 * Damaged models in the browser: every one is read, or refused with a code of `src/error.rs`, by
 * one wasm module that goes on working. A trap, the code `internal`, or a load that does not end
 * fails.
 *
 * `INSTRUCTBLIP_FUZZ` is the number of models, `INSTRUCTBLIP_FUZZ_SEED` the seed: see `cargo xtask
 * fuzz --browser`. A load ends where the first shard would be fetched: by then all small files
 * were understood.
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { POCKET, WWW, launch, openPage, servePage } from "./harness.mjs";
import { Random, mutate } from "./mutate.mjs";
import { ShardSet } from "./shard_set.mjs";

const COUNT = Number(process.env.INSTRUCTBLIP_FUZZ ?? 300);
const SEED = Number(process.env.INSTRUCTBLIP_FUZZ_SEED ?? 1);
/** A load that takes longer fails; the machine may be busy. */
const PATIENCE = 20_000;

const FILES = [
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "model.safetensors.index.json",
  "tokenizer.json",
  "qformer_tokenizer/tokenizer.json",
];

/** @type {import("playwright-core").Browser} */
let browser;
before(async () => void (browser = await launch()));
after(() => browser.close());

/** The model of a number: always the same for a seed. @param {ShardSet} pocket @param {number} number */
function damaged(pocket, number) {
  const random = new Random(Math.imul(SEED, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b));
  const files = new Map(pocket.files);
  for (let i = random.below(2); i >= 0; i--) {
    const name = random.pick(FILES);
    files.set(name, mutate(random, pocket.file(name)));
  }
  return files;
}

/** Writes a model's small files into `target/fuzz`. @param {Map<string, Buffer>} files @param {number} number */
function save(files, number) {
  const folder = join(WWW, "../target/fuzz", `browser-${SEED}-${number}`);
  for (const name of FILES) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), files.get(name) ?? "");
  }
  return folder;
}

test(`${COUNT} damaged models, seed ${SEED}`, async (t) => {
  const pocket = new ShardSet(POCKET);
  const server = await servePage({
    hook: ({ path }) => {
      const [, number, name] = /^\/fuzz\/(\d+)\/(.+)$/.exec(path) ?? [];
      if (name === undefined) return path === "/fuzz.html" ? { body: "<!doctype html>", headers: { "content-type": "text/html" } } : undefined;
      const body = damaged(pocket, Number(number)).get(name);
      return body ? { body } : { status: 404, body: "No such file.\n" };
    },
  });
  const { context, page } = await openPage(browser);
  t.after(async () => {
    await context.close();
    await server.close();
  });
  const fresh = async () => {
    await page.goto(`${server.url}fuzz.html`);
    await page.evaluate(async () => {
      const module = await import(`${location.origin}/dist/instructblip_web.js`);
      const { memory } = await module.default();
      Object.assign(self, { Model: module.Model, wasm: memory });
    });
  };

  /** @type {Map<string, number>} */
  const counts = new Map();
  const failures = [];
  let [slowest, slowestNumber, memory] = [0, 0, 0];
  await fresh();
  for (let number = 0; number < COUNT; number++) {
    const start = performance.now();
    const load = page.evaluate(
      async ({ url, patience }) => {
        const kept = /** @type {any} */ (self);
        const control = new AbortController();
        // A panic leaves the promise of a load pending for ever.
        const trap = new Promise((resolve) => {
          const stop = (/** @type {any} */ event) => resolve(`trap: ${event.message ?? event.reason}`);
          addEventListener("error", stop, { once: true });
          addEventListener("unhandledrejection", stop, { once: true });
        });
        const late = new Promise((resolve) => setTimeout(resolve, patience, "no end"));
        let accepted = false;
        const onProgress = (/** @type {any} */ event) => {
          if (event.phase === "manifest") return;
          accepted = true;
          control.abort();
        };
        const load = async () => {
          let model;
          try {
            model = kept.Model.load(url, { signal: control.signal, onProgress });
            await model.ready;
            return "loaded";
          } catch (error) {
            const { code, message } = /** @type {any} */ (error);
            return accepted && code === "cancelled" ? "accepted" : (code ?? `no code: ${message}`);
          } finally {
            model?.free();
          }
        };
        const outcome = await Promise.race([load(), trap, late]);
        return { outcome, message: kept.instructBlipPanic, bytes: kept.wasm.buffer.byteLength };
      },
      { url: `${server.url}fuzz/${number}/`, patience: PATIENCE },
    );
    // A page that hangs in a loop does not run its own timers.
    const patience = new Promise((resolve) => setTimeout(resolve, PATIENCE + 5000, { outcome: "the page hangs" }));
    const { outcome, message, bytes = 0 } = /** @type {any} */ (
      await Promise.race([load.catch((error) => ({ outcome: `the page died: ${error.message}` })), patience])
    );
    const time = performance.now() - start;
    if (time > slowest) [slowest, slowestNumber] = [time, number];
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    const typed = outcome === "accepted" || /^[a-z]+(-[a-z]+)+$/.test(outcome);
    if (!typed || outcome === "device-lost") {
      failures.push(`${number}: ${outcome} ${message ?? ""}; saved in ${save(damaged(pocket, number), number)}`);
      await fresh();
    }
    memory = Math.max(memory, bytes);
  }
  const outcomes = [...counts].map(([outcome, count]) => `${outcome} ${count}`).join(", ");
  t.diagnostic(`${outcomes}; slowest ${Math.round(slowest)} ms (number ${slowestNumber}), wasm memory ${Math.round(memory / 1e6)} MB`);
  assert.deepEqual(failures, [], `seed ${SEED}`);
});
