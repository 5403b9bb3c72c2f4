/** One question of the chat and what came of it: an answer that streams in, or ranked answers. */
import { make, showError } from "./dom.js";
import * as format from "./format.js";
import { say } from "./words.js";

/** @typedef {import("../engine/protocol.js").Answer} Answer */

/** More small pictures than this do not fit beside a question. */
const THUMBNAILS = 4;

export class Turn {
  #item = make("li", "turn");
  #answer = make("p", "answer");
  #text = make("span", "answer-text");
  #notice = make("p", "notice");
  #error = make("p", "error");
  #details = make("details", "details");
  #facts = make("summary", "facts");
  #map = make("button", "plain map-button", "Where it looked");
  #status;

  /**
   * @param {HTMLOListElement} list
   * @param {HTMLElement} status where screen readers are told of the finished answer
   * @param {import("./composer.js").Request} request
   * @param {string[]} thumbnails addresses of the pictures it is about
   */
  constructor(list, status, request, thumbnails) {
    this.#status = status;
    const asked = make("div", "question");
    for (const address of thumbnails.slice(0, THUMBNAILS)) {
      const image = make("img", "thumbnail");
      image.src = address;
      image.alt = "";
      asked.append(image);
    }
    const words = make("p", "question-text", request.shown);
    asked.append(make("span", "hidden", say("turn.asked")));
    if (request.label) words.prepend(make("span", "kind", request.label), " ");
    asked.append(words);
    this.#answer.append(make("span", "hidden", `${say("turn.answered")} `), this.#text, make("span", "cursor"));
    this.#answer.classList.add("streaming");
    this.#details.append(this.#facts);
    this.#map.type = "button";
    this.#map.setAttribute("aria-pressed", "false");
    for (const part of [this.#notice, this.#error, this.#details, this.#facts, this.#map]) part.hidden = true;
    const line = make("div", "turn-line");
    line.append(this.#details, this.#map);
    this.#item.append(asked, this.#answer, this.#notice, this.#error, line);
    list.append(this.#item);
    this.#follow();
  }

  /**
   * Says that the answer waits for the model.
   *
   * @param {Promise<unknown>} ready
   */
  waitFor(ready) {
    this.#tell("It will be answered as soon as the model has arrived.");
    const arrived = () => void (this.#notice.hidden = true);
    ready.then(arrived, arrived);
  }

  /** @param {string} text */
  add(text) {
    this.#text.textContent += text;
    this.#follow();
  }

  /** @param {Answer} answer */
  finish(answer) {
    this.#settle();
    const { text, statistics } = answer;
    this.#text.textContent = text || (answer.stopped ? "" : "(The model gave an empty answer.)");
    this.#showNotices(answer);
    if (answer.candidates.length > 1) this.#answer.after(candidateList(answer.candidates));
    const facts = [`first token after ${format.duration(statistics.timeToFirstTokenMs)}`];
    facts.push(format.count(statistics.tokens, "token"));
    if (statistics.tokens > 1) facts.push(`${statistics.tokensPerSecond.toFixed(1)} tokens/s`);
    if (statistics.visionCached) facts.push("picture features cached");
    this.#showFacts(facts, detailsOf(answer));
    this.#status.textContent = `Answer: ${this.#text.textContent} ${this.#notice.textContent}`;
    this.#follow();
  }

  /**
   * @param {import("../engine/protocol.js").Ranked[]} ranked best first
   * @param {number} milliseconds
   */
  ranked(ranked, milliseconds) {
    this.#settle();
    this.#text.textContent = ranked[0]?.text ?? "";
    this.#answer.after(rankingList(ranked));
    const likelihoods = ranked.map(({ text, logLikelihood }) => /** @type {[string, string]} */ ([text, format.score(logLikelihood)]));
    this.#showFacts([`${format.count(ranked.length, "answer")} ranked in ${format.duration(milliseconds)}`], [["Log-likelihood", ""], ...likelihoods]);
    this.#status.textContent = `Ranked: ${ranked.map(({ text, probability }) => `${text}, ${format.percent(probability)}`).join("; ")}`;
    this.#follow();
  }

  /** @param {import("../engine/protocol.js").PlainError} error */
  fail(error) {
    this.#settle();
    if (error.code === "cancelled") {
      this.#tell("Stopped.");
    } else {
      this.#notice.hidden = true;
      showError(this.#error, error);
      this.#status.textContent = error.message;
    }
    this.#follow();
  }

  /**
   * Offers to show where the model looked.
   *
   * @param {() => void} onToggle
   */
  offerMap(onToggle) {
    this.#map.hidden = false;
    this.#map.addEventListener("click", onToggle);
  }

  /** @param {boolean} shown */
  mapShown(shown) {
    this.#map.setAttribute("aria-pressed", String(shown));
    this.#map.textContent = shown ? "Hide where it looked" : "Where it looked";
  }

  /** The focus, and with it the sight, comes back to the turn. */
  focusMap() {
    this.#map.focus();
  }

  /** The answer, as far as it has come. */
  get text() {
    return this.#text.textContent ?? "";
  }

  /** Its pictures are no longer the model's, so there is no map any more. */
  withdrawMap() {
    this.#map.hidden = true;
  }

  /** Takes the turn off the list, as if it had not been asked. */
  withdraw() {
    this.#item.remove();
  }

  /** @param {Answer} answer */
  #showNotices({ truncatedQuestion, droppedTurns, stopReason }) {
    const notices = [];
    if (truncatedQuestion) notices.push("The question was longer than the model can read; its beginning was cut off.");
    if (droppedTurns > 0) notices.push(`The conversation was longer than the model can read; ${format.count(droppedTurns, "oldest turn")} left out.`);
    if (stopReason === "asked") notices.push("Stopped.");
    if (stopReason === "length") notices.push("The answer reached its length limit.");
    this.#notice.textContent = notices.join(" ");
    this.#notice.hidden = notices.length === 0;
  }

  /**
   * @param {string[]} facts
   * @param {[name: string, value: string][]} details
   */
  #showFacts(facts, details) {
    this.#facts.textContent = facts.join(" · ");
    const list = make("dl", "");
    for (const [name, value] of details) list.append(make("dt", "", name), make("dd", "", value));
    this.#details.append(list);
    this.#details.hidden = this.#facts.hidden = false;
  }

  /** @param {string} text a sentence in small print */
  #tell(text) {
    this.#notice.textContent = this.#status.textContent = text;
    this.#notice.hidden = false;
  }

  /** Keeps the end in sight, unless the visitor has scrolled back. */
  #follow() {
    this.#item.scrollIntoView({ block: "nearest" });
  }

  #settle() {
    this.#answer.classList.remove("streaming");
    this.#answer.querySelector(".cursor")?.remove();
  }
}

/** @param {import("../engine/protocol.js").Candidate[]} candidates */
function candidateList(candidates) {
  const list = make("ol", "candidates");
  list.setAttribute("aria-label", "All answers, best first");
  for (const { text, score } of candidates) {
    const item = make("li", "");
    item.append(make("span", "candidate-text", text || "(empty)"));
    if (score !== null) item.append(" ", make("span", "score", format.score(score)));
    list.append(item);
  }
  return list;
}

/** @param {import("../engine/protocol.js").Ranked[]} ranked */
function rankingList(ranked) {
  const list = make("ol", "ranking");
  list.setAttribute("aria-label", "Answers by probability");
  for (const { text, probability } of ranked) {
    const item = make("li", "");
    const track = make("span", "track");
    const bar = make("span", "bar");
    bar.style.inlineSize = `${100 * probability}%`;
    track.append(bar);
    item.append(make("span", "ranked-text", text), make("span", "ranked-share", format.percent(probability)), track);
    list.append(item);
  }
  return list;
}

/**
 * @param {Answer} answer
 * @returns {[name: string, value: string][]}
 */
function detailsOf({ prompt, score, seed, stopReason, statistics }) {
  const { visionMs, visionCached, bridgeMs, prefillMs, decoderMs, steps } = statistics;
  /** @type {[string, string][]} */
  const details = [
    ["Prompt", prompt],
    ["Picture", visionCached ? "cached" : format.duration(visionMs)],
    ["Q-Former", format.duration(bridgeMs)],
    ["Prompt", format.duration(prefillMs)],
    ["Decoder", `${format.duration(decoderMs)}, ${format.count(steps, "step")}`],
    ["A step", `${format.count(Math.round(statistics.dispatchesPerToken), "kernel")}, ${format.count(Math.round(10 * statistics.submitsPerToken) / 10, "GPU submit")}, ${format.bytes(statistics.readbackBytesPerToken)} read back`],
    ["Ended by", { end: "the model", length: "the length limit", "stop-string": "a stop string", asked: "you" }[stopReason]],
  ];
  if (score !== null) details.push(["Score", format.score(score)]);
  if (seed !== null) details.push(["Seed", String(seed)]);
  return details;
}
