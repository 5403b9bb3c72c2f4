/**
 * Lists the files of the page with their SHA-256 in `dist/page_files.js`, by which the service
 * worker knows one version of the page from another: it keeps all of these files, or none.
 *
 *     node tools/page_files.mjs [ROOT]
 *
 * `cargo xtask build` runs it after the module is made; the browser tests run it too.
 */
import { createHash } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** Where the list goes, below the page's folder. */
export const LIST = "dist/page_files.js";

/** Beside these may lie models, which have a store of their own. */
const FOLDERS = /^((dist|engine|examples|page|page\/words)\/)?[^/]+\.\w+$/;
/** Never requested by the page, or packed copies. */
const LEFT_OUT = /^(sw\.js|preview\.png)$|\.d\.ts$|\.br$/;

/**
 * @param {string} root the page's folder
 * @returns {Promise<Record<string, string>>} hashes by file; the page itself is `./`
 */
export async function pageFiles(root) {
  const names = (await readdir(root, { recursive: true }))
    .map((name) => name.replaceAll(sep, "/"))
    .filter((name) => FOLDERS.test(name) && name !== LIST && !LEFT_OUT.test(name))
    .sort();
  /** @type {Record<string, string>} */
  const files = {};
  for (const name of names) {
    const digest = createHash("sha256").update(await readFile(join(root, name)));
    files[name === "index.html" ? "./" : name] = digest.digest("hex");
  }
  return files;
}

/** @param {string} root */
export async function writePageFiles(root) {
  const files = await pageFiles(root);
  const version = createHash("sha256").update(JSON.stringify(files)).digest("hex").slice(0, 16);
  const text = `// Made by tools/page_files.mjs for sw.js.\nself.PAGE = ${JSON.stringify({ version, files }, null, 2)};\n`;
  const path = join(root, LIST);
  // A file that stays the same keeps its date, so that nobody fetches it again.
  if ((await readFile(path, "utf8").catch(() => "")) !== text) await writeFile(path, text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writePageFiles(process.argv[2] ?? fileURLToPath(new URL("../www", import.meta.url)));
}
