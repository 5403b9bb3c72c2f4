/** What the page says: every language has every text, and index.html says what `en.js` does. No browser. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { LANGUAGES, fill, firstKnown, say } from "../../www/page/words.js";
import en from "../../www/page/words/en.js";

const WWW = fileURLToPath(new URL("../../www", import.meta.url));
const HTML = readFileSync(join(WWW, "index.html"), "utf8");
const ENGLISH = /** @type {Record<string, import("../../www/page/words.js").Entry>} */ (en);

/** @param {import("../../www/page/words.js").Entry} entry @returns {string[]} its variants */
const variants = (entry) => (typeof entry === "string" ? [entry] : [entry.one, entry.other]);

/** @param {string} text */
const places = (text) => [...text.matchAll(/\{\w+\}/g)].map(([place]) => place).sort();

test("every language has the same keys, variants and places", async () => {
  for (const language of Object.keys(LANGUAGES)) {
    const table = (await import(`../../www/page/words/${language}.js`)).default;
    assert.deepEqual(Object.keys(table), Object.keys(ENGLISH), language);
    for (const [key, entry] of Object.entries(ENGLISH)) {
      assert.equal(typeof table[key], typeof entry, `${language} ${key}`);
      for (const [at, text] of variants(table[key]).entries()) {
        assert.ok(text.trim(), `${language} ${key} is empty`);
        assert.deepEqual(places(text), places(variants(entry)[at] ?? ""), `${language} ${key}`);
      }
    }
  }
});

test("index.html says what en.js does", () => {
  const texts = [...HTML.matchAll(/<(\w+)\b[^>]*?\sdata-words="([^"]+)"[^>]*>([^<]*)<\/\1>/g)];
  assert.equal(texts.length, HTML.match(/\sdata-words="/g)?.length, "a marked element holds nothing but its text");
  assert.equal(HTML.match(/<title>([^<]*)/)?.[1], ENGLISH["page.title"]);
  for (const [, , key = "", text] of texts) assert.equal(text, ENGLISH[key], key);
  for (const [tag] of HTML.matchAll(/<[^>]+\sdata-words-\w+=[^>]+>/g)) {
    for (const [, name, key = ""] of tag.matchAll(/\sdata-words-(\w+)="([^"]+)"/g)) {
      const attribute = name === "label" ? "aria-label" : name;
      assert.equal(tag.match(new RegExp(`\\s${attribute}="([^"]*)"`))?.[1], ENGLISH[key], key);
    }
  }
});

test("languages, places and plurals", () => {
  assert.equal(firstKnown(["fr", "de-AT", "en"]), "de");
  assert.equal(firstKnown([null, {}, "xx"]), "en");
  assert.equal(firstKnown(["constructor"]), "en");
  assert.equal(say("map.queryOf", { query: 5, count: 12 }), "5 of 12");
  assert.equal(fill({ one: "{count} cat", other: "{count} cats" }, { count: 1 }, "en"), "1 cat");
  assert.equal(fill({ one: "{count} cat", other: "{count} cats" }, { count: 0 }, "de"), "0 cats");
  assert.equal(fill("{count} {constructor}", { count: "{count}" }, "en"), "{count} {constructor}", "values are no templates");
});
