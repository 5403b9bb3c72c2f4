/**
 * What a model knows, as its shard set says of itself: beside its name, and under the first answer
 * about each picture that a visitor brought, with a way to another model.
 */
import { make } from "./dom.js";
import { language, say } from "./words.js";

/** @typedef {import("../engine/protocol.js").About} About */

/** Pictures under which it was said. @type {Set<string>} */
const told = new Set();

/**
 * Says what is to be thought of an answer: that the model doubts it itself, and what it knows at all.
 *
 * @param {import("./turn.js").Turn} turn
 * @param {About | null} about
 * @param {() => void} onChange another model is wanted
 */
export function comment(turn, about, onChange) {
  const { own, pictures, answer } = turn.told;
  const [probability, bound] = [answer?.probability, about?.unsureBelow];
  if (typeof probability === "number" && typeof bound === "number" && probability < bound) turn.doubt();
  const text = knowledge(about);
  const key = pictures.join();
  if (!own || !text || told.has(key)) return;
  told.add(key);
  const line = make("p", "small knows", `${text} `);
  const button = make("button", "plain action", say("about.other"));
  button.type = "button";
  button.addEventListener("click", onChange);
  line.append(button);
  turn.append(line);
}

/**
 * @param {About | null} about
 * @returns {string} sentences; empty where the set says nothing
 */
export function knowledge(about) {
  const knows = about?.knows?.[language] ?? about?.knows?.en;
  const sentences = knows ? [say("about.knows", { what: knows })] : [];
  if (about?.language && about.language !== language) sentences.push(say("about.asked", { language: nameOf(about.language) }));
  return sentences.join(" ");
}

/** @param {string} code @returns {string} such as `English` */
function nameOf(code) {
  try {
    return new Intl.DisplayNames([language], { type: "language" }).of(code) ?? code;
  } catch {
    return code; // what the set says is no language
  }
}
