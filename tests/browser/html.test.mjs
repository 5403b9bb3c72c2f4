/** What index.html says before any script runs is true: its style's hash, its examples, what it asks for ahead. No browser. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { shareOf } from "../../www/page/loading.js";
import { advice } from "../../www/page/webgpu.js";

const WWW = fileURLToPath(new URL("../../www", import.meta.url));
const HTML = readFileSync(join(WWW, "index.html"), "utf8");

test("the policy names the hash of the style in the page", () => {
  const style = HTML.match(/<style>([^]*?)<\/style>/)?.[1] ?? "";
  const hash = createHash("sha256").update(style).digest("base64");
  assert.equal(HTML.match(/style-src 'self' '(sha256-[^']+)'/)?.[1], `sha256-${hash}`);
});

test("the examples are those of examples.json, the first one's questions below", () => {
  const { examples } = JSON.parse(readFileSync(join(WWW, "examples/examples.json"), "utf8"));
  const shown = [...HTML.matchAll(/<img src="examples\/([^"]+)" alt="([^"]+)"/g)].map(([, file, alt]) => ({ file, alt }));
  assert.deepEqual(shown, examples.map((/** @type {any} */ { file, alt }) => ({ file, alt })));
  const questions = HTML.match(/id="suggestions"[^]*?<\/div>/)?.[0].matchAll(/<button[^>]*>([^<]+)</g) ?? [];
  assert.deepEqual([...questions].map(([, text]) => text), examples[0].questions);
});

test("everything that the page and the worker import is asked for ahead", () => {
  /** @type {Set<string>} */
  const found = new Set();
  /** @param {string} file */
  const follow = (file) => {
    if (found.has(file)) return;
    found.add(file);
    const text = readFileSync(join(WWW, file), "utf8");
    for (const [, from = ""] of text.matchAll(/^(?:import|export)\s(?:[^;"]*?\sfrom\s)?"(\.[^"]+)"/gm)) {
      follow(posix.join(posix.dirname(file), from));
    }
  };
  follow("app.js");
  follow("engine/worker.js");
  found.delete("app.js"); // the page's own script
  const preloaded = [...HTML.matchAll(/<link rel="modulepreload" href="([^"]+)">/g)].map(([, file]) => file);
  assert.deepEqual(preloaded, [...found].sort());
});

test("the loading bar is not full before the model is ready", () => {
  const at = (/** @type {"manifest" | "download" | "upload" | "pipelines" | "ready"} */ phase, /** @type {number} */ loaded, compiled = 0, pipelines = 0) => shareOf({ phase, loaded, total: 10, compiled, pipelines });
  assert.equal(at("manifest", 0), null);
  assert.equal(at("download", 5), 0.2);
  assert.equal(at("download", 5, 20, 24), 0.2, "bytes first: the bar does not go back when they are waited for");
  assert.equal(at("download", 10), null, "all bytes are there, and how long the rest takes cannot be told");
  assert.equal(at("upload", 10, 6, 24), 0.4 + 0.6 / 4);
  assert.equal(at("pipelines", 10, 24, 24), null);
  assert.equal(at("ready", 10), 1);
});

test("the manifest and its pictures", () => {
  const manifest = JSON.parse(readFileSync(join(WWW, "manifest.webmanifest"), "utf8"));
  for (const { src, type, sizes } of manifest.icons) {
    const bytes = readFileSync(join(WWW, src));
    if (type !== "image/png") continue;
    assert.equal(`${bytes.readUInt32BE(16)}x${bytes.readUInt32BE(20)}`, sizes, src);
  }
});

test("where there is no GPU the advice is for the system at hand", () => {
  const agents = {
    "gpu.ios": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1",
    "gpu.safari": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "gpu.firefox": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "gpu.firefoxOther": "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "gpu.android": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/110.0.0.0 Mobile Safari/537.36",
    "gpu.chromeLinux": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "gpu.chrome": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
    "gpu.other": "curl/8.0",
  };
  for (const [key, agent] of Object.entries(agents)) assert.equal(advice(agent, true), key, agent);
  assert.equal(advice(agents["gpu.chrome"], false), "gpu.insecure");
});
