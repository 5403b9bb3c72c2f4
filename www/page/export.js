/** The chat as a file: text and Markdown to read, JSON with all that it takes to repeat an answer. */
import { say } from "./words.js";

/** @typedef {import("./told.js").Told} Told */

/** @param {Told} told @returns {string} the answer, or what came instead */
function answerOf({ text, error, ranked }) {
  if (ranked) return ranked.map(({ text, probability }) => `${text} (${(100 * probability).toFixed(1)} %)`).join("\n");
  return text || (error ? error.message : "");
}

/** @param {Told[]} turns */
export function asText(turns) {
  return turns.map((told) => `${questionOf(told)}\n${answerOf(told)}\n`).join("\n");
}

/** @param {Told[]} turns */
export function asMarkdown(turns) {
  const parts = turns.map((told) => {
    const { at, names, model } = told;
    const about = [...names.filter(Boolean), ...(model ? [`${model.name} (${model.format})`] : []), at].map(plain).join(", ");
    return `**${plain(questionOf(told))}**\n\n${plain(answerOf(told)).replaceAll("\n", "  \n")}\n\n*${about}*\n`;
  });
  return `# ${say("export.title")}\n\n${parts.join("\n")}`;
}

/** @param {Told} told */
function questionOf({ request }) {
  return request.label ? `${request.label}: ${request.shown}` : request.shown;
}

/** What a file or a model says is no markup. @param {string} text */
function plain(text) {
  return text.replace(/[\\`*_[\]<>#|~&]/g, "\\$&");
}

/** @param {Told[]} turns */
export function asJson(turns) {
  const records = turns.map((told) => ({
    at: told.at,
    question: told.request.shown,
    mode: told.request.label || null,
    prompt: told.answer?.prompt ?? told.request.prompt,
    candidates: told.request.candidates ?? null,
    options: told.options,
    seed: told.answer?.seed ?? null,
    pictures: told.pictures.map((sha256, at) => ({ sha256, name: told.names[at] ?? "" })),
    model: told.model,
    answer: told.text,
    unsure: told.unsure,
    ids: told.answer?.ids ?? null,
    stopReason: told.answer?.stopReason ?? null,
    answers: told.answer && told.answer.candidates.length > 1 ? told.answer.candidates : null,
    ranked: told.ranked,
    error: told.error,
  }));
  return `${JSON.stringify({ format: "instructblip-chat", version: 1, turns: records }, null, 2)}\n`;
}

/**
 * Hands the visitor a file.
 *
 * @param {string} name
 * @param {string} type
 * @param {string} text
 */
export function save(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
