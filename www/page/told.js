/**
 * A turn as data: what was asked, of what, with which options, and what came of it. It is what the
 * chat shows, what is kept for a reload, and what is exported.
 *
 * @typedef {import("../engine/protocol.js").Answer} Answer
 *
 * @typedef {object} AskedModel
 * @property {string} name
 * @property {string} url
 * @property {string} format
 * @property {string | null} sha256 of the list of its files, where it is known; see `StoredModel`
 *
 * @typedef {object} Told
 * @property {number} number of the turn in its chat
 * @property {string} at when it was asked, as ISO 8601
 * @property {import("./composer.js").Request} request
 * @property {string | import("../engine/protocol.js").Prompt} prompt what was asked, with what was said before
 * @property {import("../engine/protocol.js").AskOptions} options that were not the model's own
 * @property {string[]} pictures SHA-256 of each
 * @property {string[]} names of their files, empty where there is none
 * @property {boolean} own whether the visitor brought them
 * @property {AskedModel | null} model
 * @property {string} text of the answer so far
 * @property {Answer | null} answer
 * @property {import("../engine/protocol.js").Ranked[] | null} ranked
 * @property {boolean} unsure whether the model finds its answer unlikely itself
 * @property {number} milliseconds that ranking took
 * @property {import("../engine/protocol.js").PlainError | null} error
 */

/** @param {unknown} value @returns {value is string[]} */
const isTexts = (value) => Array.isArray(value) && value.every((text) => typeof text === "string");
/** @param {any} value @returns {boolean} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Whether something out of a storage has the shape of a turn; another version of the page may have
 * written it.
 *
 * @param {any} value
 * @returns {value is Told}
 */
export function isTold(value) {
  if (!isObject(value) || !isObject(value.request) || !isObject(value.options)) return false;
  const { request, answer, ranked, error, model } = value;
  const prompts = [request.prompt, value.prompt].every((prompt) => typeof prompt === "string" || (isObject(prompt) && typeof prompt.kind === "string"));
  const texts = [value.at, value.text, request.shown, request.label];
  return (
    prompts &&
    texts.every((text) => typeof text === "string") &&
    Number.isSafeInteger(value.number) &&
    isTexts(value.pictures) &&
    isTexts(value.names) &&
    (request.candidates === undefined || isTexts(request.candidates)) &&
    (model === null || (isObject(model) && isTexts([model.name, model.url, model.format]))) &&
    (error === null || (isObject(error) && isTexts([error.code, error.message]))) &&
    (ranked === null || (Array.isArray(ranked) && ranked.every((one) => isObject(one) && typeof one.text === "string" && isNumbers([one.probability, one.logLikelihood])))) &&
    (answer === null || isAnswer(answer))
  );
}

/** @param {unknown[]} values */
const isNumbers = (values) => values.every((value) => typeof value === "number");

/** @param {any} value */
function isAnswer(value) {
  const { statistics } = isObject(value) ? value : { statistics: null };
  if (!isObject(statistics) || !isTexts([value.text, value.prompt, value.stopReason]) || !Array.isArray(value.candidates)) return false;
  const { timeToFirstTokenMs, tokensPerSecond, tokens, steps, visionMs, bridgeMs, prefillMs, decoderMs, dispatchesPerToken, submitsPerToken, readbackBytesPerToken } = statistics;
  return (
    isNumbers([timeToFirstTokenMs, tokensPerSecond, tokens, steps, visionMs, bridgeMs, prefillMs, decoderMs]) &&
    isNumbers([dispatchesPerToken, submitsPerToken, readbackBytesPerToken, value.droppedTurns]) &&
    isNumbers([value.score, value.seed].filter((one) => one !== null)) &&
    value.candidates.every((/** @type {any} */ one) => isObject(one) && typeof one.text === "string" && isNumbers([one.logProbability, one.score ?? 0]))
  );
}
