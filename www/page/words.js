/**
 * What the page says, in the visitor's language.
 *
 * In: `?lang=` of the address, what the visitor chose before, the browser's languages; the texts in
 * `words/`. Out: `say(key, params)`, `language`, and the page's own texts exchanged once, where
 * index.html marks them with `data-words` (text), or `data-words-label`, `-placeholder`, `-title`
 * and `-alt` (attributes). English is in index.html itself, so that it shows before any script.
 */
import en from "./words/en.js";
import { read, write } from "./storage.js";

/** @typedef {keyof typeof en} Key */
/** @typedef {string | { one: string, other: string }} Entry `other` unless `params.count` is one */
/** @typedef {Record<string, string | number>} Params */

/** The languages there are, as each calls itself. */
export const LANGUAGES = /** @type {const} */ ({ en: "English", de: "Deutsch" });
const STORE = "instructblip-language";
const ATTRIBUTES = { label: "aria-label", placeholder: "placeholder", title: "title", alt: "alt" };

/** @type {Record<string, () => Promise<{ default: Record<Key, Entry>, knobs: Record<string, string> }>>} */
const OTHERS = { de: () => import("./words/de.js") };

/**
 * The first of the wanted languages that there is.
 *
 * @param {readonly unknown[]} wanted such as `de-AT`, the most wanted first
 * @returns {keyof typeof LANGUAGES}
 */
export function firstKnown(wanted) {
  const codes = wanted.map((name) => String(name ?? "").toLowerCase().split("-", 1)[0] ?? "");
  return /** @type {keyof typeof LANGUAGES} */ (codes.find((code) => Object.hasOwn(LANGUAGES, code)) ?? "en");
}

/**
 * @param {Entry} entry
 * @param {Params} params for its `{name}`s
 * @param {string} language whose plurals hold
 * @returns {string}
 */
export function fill(entry, params, language) {
  const one = new Intl.PluralRules(language).select(Number(params.count)) === "one";
  const text = typeof entry === "string" ? entry : one ? entry.one : entry.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(Object.hasOwn(params, name) ? params[name] : whole));
}

// Tests import this file where there is no page.
const address = new URLSearchParams(globalThis.location?.search);
const wanted = firstKnown([address.get("lang"), read(STORE), ...(globalThis.document ? navigator.languages : [])]);
const other = await OTHERS[wanted]?.().catch(() => null); // what cannot be fetched stays English
export const language = other ? wanted : "en";
/** @type {Record<Key, Entry>} */
const table = other?.default ?? en;
const knobs = other?.knobs ?? {};

/**
 * @param {Key} key
 * @param {Params} [params]
 * @returns {string}
 */
export function say(key, params = {}) {
  return fill(table[key], params, language);
}

/**
 * What the engine says in English of one of its knobs or groups, in the visitor's language.
 *
 * @param {string} name
 * @param {string} english
 * @returns {string}
 */
export function ofEngine(name, english) {
  return (Object.hasOwn(knobs, name) && knobs[name]) || english;
}

/** @param {string} chosen the language from now on: the page is opened anew in it */
export function speak(chosen) {
  write(STORE, chosen);
  const url = new URL(location.href);
  url.searchParams.delete("lang");
  history.replaceState(history.state, "", url);
  location.reload();
}

/** @param {ParentNode} root */
function translate(root) {
  /** @param {string} name of the attribute that holds a key */
  const marked = (name) => [...root.querySelectorAll(`[${name}]`)].map((element) => ({ element, text: say(/** @type {Key} */ (element.getAttribute(name))) }));
  for (const { element, text } of marked("data-words")) element.textContent = text;
  for (const [name, attribute] of Object.entries(ATTRIBUTES)) {
    for (const { element, text } of marked(`data-words-${name}`)) element.setAttribute(attribute, text);
  }
}

if (globalThis.document) {
  document.documentElement.lang = language;
  if (language !== "en") {
    document.title = say("page.title");
    translate(document);
  }
}
