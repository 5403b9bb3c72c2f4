/**
 * One question of the chat and what came of it: an answer that streams in, or ranked answers. All
 * that it shows is in its record, so that a turn of before a reload looks as it did.
 */
import { make, showError } from "./dom.js";
import * as format from "./format.js";
import { action, candidateList, copyButton, detailsOf, factsOf, noticesOf, rankingList, thumbnails } from "./turn_parts.js";
import { say } from "./words.js";

/** @typedef {import("../engine/protocol.js").Answer} Answer */
/** @typedef {import("./told.js").Told} Told */

/**
 * @typedef {object} Handlers
 * @property {(turn: Turn) => void} onChange what it tells has changed
 * @property {(turn: Turn) => void} onBring its pictures are wanted back
 * @property {(turn: Turn) => void} onAgain
 * @property {(turn: Turn) => void} onEdit
 */

export class Turn {
  /** What is kept of it. */
  told;
  #item = make("li", "turn");
  #answer = make("p", "answer");
  #text = make("span", "answer-text");
  #unsure = make("span", "unsure", say("turn.unsure"));
  #notice = make("p", "notice");
  #error = make("p", "error");
  #details = make("details", "details");
  #facts = make("summary", "facts");
  #actions = make("span", "actions");
  #map = make("button", "plain map-button", say("turn.map"));
  /** What makes sense only while its pictures are the model's. @type {HTMLElement[]} */
  #live = [this.#map];
  #status;
  #handlers;

  /**
   * @param {HTMLOListElement} list
   * @param {HTMLElement} status where screen readers are told of the finished answer
   * @param {Told} told
   * @param {string[]} addresses of its pictures
   * @param {Handlers} handlers
   */
  constructor(list, status, told, addresses, handlers) {
    this.told = told;
    this.#status = status;
    this.#handlers = handlers;
    const { request } = told;
    const asked = make("div", "question");
    if (addresses.length) asked.append(thumbnails(addresses, () => handlers.onBring(this)));
    const words = make("p", "question-text", request.shown);
    asked.append(make("span", "hidden", say("turn.asked")));
    if (request.label) words.prepend(make("span", "kind", request.label), " ");
    asked.append(words);
    this.#answer.append(make("span", "hidden", `${say("turn.answered")} `), this.#text, make("span", "cursor"), " ", this.#unsure);
    this.#answer.classList.add("streaming");
    this.#details.append(this.#facts);
    this.#map.type = "button";
    this.#map.setAttribute("aria-pressed", "false");
    for (const part of [this.#notice, this.#error, this.#details, this.#facts, this.#map, this.#unsure]) part.hidden = true;
    this.#actions.append(action(say("turn.again"), () => handlers.onAgain(this)), action(say("turn.edit"), () => handlers.onEdit(this)));
    this.#actions.hidden = true;
    const line = make("div", "turn-line");
    line.append(this.#details, this.#map, this.#actions);
    this.#item.append(asked, this.#answer, this.#notice, this.#error, line);
    list.append(this.#item);
  }

  /** Whether it came to an answer, so that there is a map. */
  get answered() {
    return this.told.answer !== null || this.told.ranked !== null;
  }

  /** The answer, as far as it has come. */
  get text() {
    return this.told.text;
  }

  /** Shows what was kept of a turn, whose end may be missing. */
  restore() {
    const { answer, ranked, error, text } = this.told;
    if (this.told.unsure === true) this.doubt();
    if (answer) return this.#showAnswer(answer);
    if (ranked) return this.#showRanked(ranked);
    this.#settle();
    this.#text.textContent = text;
    if (error) return this.#showError(error);
    this.#notice.textContent = say("turn.interrupted");
    this.#notice.hidden = false;
  }

  /**
   * Says that the answer waits for the model.
   *
   * @param {Promise<unknown>} ready
   */
  waitFor(ready) {
    this.#tell(say("turn.waits"));
    const arrived = () => void (this.#notice.hidden = true);
    ready.then(arrived, arrived);
  }

  /** @param {string} text */
  add(text) {
    this.told.text += text;
    this.#text.textContent = this.told.text;
    this.#handlers.onChange(this);
    this.follow();
  }

  /** @param {Answer} answer */
  finish(answer) {
    this.told.answer = answer;
    this.told.text = answer.text;
    this.#showAnswer(answer);
    this.#status.textContent = say("turn.said", { answer: this.#text.textContent ?? "", notice: this.#notice.textContent ?? "" });
    this.#done();
  }

  /**
   * @param {import("../engine/protocol.js").Ranked[]} ranked best first
   * @param {number} milliseconds
   */
  ranked(ranked, milliseconds) {
    this.told.ranked = ranked;
    this.told.milliseconds = milliseconds;
    this.told.text = ranked[0]?.text ?? "";
    this.#showRanked(ranked);
    this.#status.textContent = say("turn.rankedSaid", { answers: ranked.map(({ text, probability }) => `${text}, ${format.percent(probability)}`).join("; ") });
    this.#done();
  }

  /** @param {import("../engine/protocol.js").PlainError} error */
  fail(error) {
    this.told.error = { code: error.code, message: error.message };
    this.#settle();
    this.#showError(error);
    this.#status.textContent = this.#notice.textContent || error.message;
    this.#done();
  }

  /** The model finds its own answer unlikely. */
  doubt() {
    this.told.unsure = true;
    this.#unsure.hidden = false;
    this.#unsure.title = say("turn.unsureWhy");
    this.#handlers.onChange(this);
  }

  /** @param {HTMLElement} button one more thing to do with it, while its pictures are the model's */
  addAction(button) {
    this.#actions.append(button);
    this.#live.push(button);
  }

  /**
   * Puts something below the answer.
   *
   * @param {HTMLElement} part
   */
  append(part) {
    this.#item.append(part);
    this.follow();
  }

  /**
   * Offers to show where the model looked.
   *
   * @param {() => void} onToggle
   */
  offerMap(onToggle) {
    for (const part of this.#live) part.hidden = false;
    this.#map.onclick = onToggle;
  }

  /** @param {boolean} shown */
  mapShown(shown) {
    this.#map.setAttribute("aria-pressed", String(shown));
    this.#map.textContent = say(shown ? "turn.mapHide" : "turn.map");
  }

  /** The focus, and with it the sight, comes back to the turn. */
  focusMap() {
    this.#map.focus();
  }

  /** Its pictures are no longer the model's, so there is no map any more. */
  withdrawMap() {
    for (const part of this.#live) part.hidden = true;
  }

  /** Takes the turn off the list, as if it had not been asked. */
  withdraw() {
    this.#item.remove();
  }

  /** Keeps the end in sight, unless the visitor has scrolled back. */
  follow() {
    this.#item.scrollIntoView({ block: "nearest" });
  }

  #done() {
    this.#handlers.onChange(this);
    this.follow();
  }

  /** @param {Answer} answer */
  #showAnswer(answer) {
    this.#settle();
    this.#text.textContent = answer.text || (answer.stopped ? "" : say("turn.empty"));
    this.#notice.textContent = noticesOf(answer).join(" ");
    this.#notice.hidden = !this.#notice.textContent;
    if (answer.candidates.length > 1) this.#answer.after(candidateList(answer.candidates));
    this.#showFacts(factsOf(answer), detailsOf(answer, this.told));
  }

  /** @param {import("../engine/protocol.js").Ranked[]} ranked */
  #showRanked(ranked) {
    this.#settle();
    this.#text.textContent = this.told.text;
    this.#answer.after(rankingList(ranked));
    const likelihoods = ranked.map(({ text, logLikelihood }) => /** @type {[string, string]} */ ([text, format.score(logLikelihood)]));
    this.#showFacts([say("turn.ranked", { count: ranked.length, time: format.duration(this.told.milliseconds) })], [[say("turn.logLikelihood"), ""], ...likelihoods]);
  }

  /** @param {import("../engine/protocol.js").PlainError} error */
  #showError(error) {
    if (error.code === "cancelled") return this.#tell(say("turn.stopped"));
    this.#notice.hidden = true;
    showError(this.#error, error);
  }

  /**
   * @param {string[]} facts
   * @param {import("./turn_parts.js").Detail[]} details
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

  #settle() {
    this.#answer.classList.remove("streaming");
    this.#answer.querySelector(".cursor")?.remove();
    this.#actions.hidden = false;
    if (this.told.text && navigator.clipboard) this.#actions.prepend(copyButton(this.told.text));
  }
}
