/**
 * What is being typed: question, answers to rank, and mode, kept for this tab, so that a reload does
 * not lose it. Kept at once with each change, since a page that goes away has no time.
 */
import { byId } from "./dom.js";
import { readTab, writeTab } from "./storage.js";

const KEY = "instructblip-draft";
/** A link may suggest a question, but no book. */
const LONGEST = 10_000;

const fields = () => [byId("question", HTMLTextAreaElement), byId("answers", HTMLTextAreaElement)];
const modes = () => byId("mode", HTMLSelectElement);

/** Keeps the form as it stands. */
export function keepDraft() {
  const [question, answers] = fields().map(({ value }) => value);
  const mode = modes().value;
  writeTab(KEY, question || answers || mode !== "free" ? { question, answers, mode } : null);
}

/**
 * Fills the form with what was there, or else with what a link suggests, and keeps it from then on.
 *
 * @param {string | null} suggested
 */
export function restoreDraft(suggested) {
  const kept = /** @type {any} */ (readTab(KEY));
  const texts = [kept?.question || suggested, kept?.answers];
  turnTo([...modes().options].find(({ value }) => value === kept?.mode));
  for (const [at, field] of fields().entries()) {
    const text = texts[at];
    if (typeof text === "string" && text && !field.value) put(field, text.slice(0, LONGEST));
  }
  for (const name of ["input", "change"]) document.addEventListener(name, keepDraft);
  addEventListener("pagehide", keepDraft);
}

/**
 * A question of before, to change it and ask it again.
 *
 * @param {import("./composer.js").Request} request
 */
export function edit(request) {
  const options = [...modes().options];
  turnTo(options.find(({ text }) => text === request.label) ?? options[0]);
  const [question, answers] = fields();
  if (question) put(question, request.shown);
  if (answers && request.candidates) put(answers, request.candidates.join("\n"));
  question?.focus();
}

/** @param {HTMLOptionElement | undefined} mode */
function turnTo(mode) {
  if (!mode || mode.selected) return;
  mode.selected = true;
  modes().dispatchEvent(new Event("change", { bubbles: true }));
}

/** @param {HTMLTextAreaElement} field @param {string} text */
function put(field, text) {
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}
