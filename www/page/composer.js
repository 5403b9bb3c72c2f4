/**
 * The form: a question in one of a few modes, one-click presets, and answers to rank.
 *
 * In: `onAsk(request)` with what to ask and how the chat shows it, `onStop()`. What is asked while
 * an answer is being made waits here until that is done.
 */
import { prompts } from "../engine/prompts.js";
import { byId, make, showError } from "./dom.js";
import { say } from "./words.js";

/**
 * @typedef {object} Request
 * @property {string | import("../engine/protocol.js").Prompt} prompt
 * @property {string} shown what the visitor typed or chose
 * @property {string} label of the mode, or empty
 * @property {boolean} talks whether it may continue a conversation
 * @property {string[]} [candidates] answers to rank instead of making one
 */

/** @typedef {"free" | "short" | "reverse" | "rank"} Mode */

/** @type {Record<Mode, (text: string, answers: string[]) => Omit<Request, "shown" | "label">>} */
const MODES = {
  free: (text) => ({ prompt: text, talks: true }),
  short: (text) => ({ prompt: prompts.shortAnswer(text), talks: true }),
  reverse: (text) => ({ prompt: prompts.question(text), talks: false }),
  rank: (text, candidates) => ({ prompt: text, talks: false, candidates }),
};

export class Composer {
  #form = byId("ask", HTMLFormElement);
  #question = byId("question", HTMLTextAreaElement);
  #answers = byId("answers", HTMLTextAreaElement);
  #send = byId("send", HTMLButtonElement);
  #stop = byId("stop", HTMLButtonElement);
  #suggestions = byId("suggestions", HTMLElement);
  #refusal = byId("ask-error", HTMLElement);
  #note = byId("ask-note", HTMLElement);
  #select = byId("mode", HTMLSelectElement);
  #presets = ["caption", "description"].map((id) => byId(id, HTMLButtonElement));
  /** @type {"waiting" | "ready" | "answering"} */
  #state = "waiting";
  /** Asked while another answer was made. @type {Request | null} */
  #next = null;
  /** What was typed, the latest last, and where arrow-up has got to. @type {string[]} */
  #typed = [];
  #recalled = 0;
  #onAsk;

  /** @param {{ onAsk: (request: Request) => void, onStop: () => void }} handlers */
  constructor(handlers) {
    this.#onAsk = handlers.onAsk;
    this.#select.addEventListener("change", () => this.#turnTo());
    const [caption, description] = this.#presets;
    caption?.addEventListener("click", () => this.#preset(caption, prompts.caption()));
    description?.addEventListener("click", () => this.#preset(description, prompts.description()));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#state !== "waiting") this.#submit();
    });
    for (const field of [this.#question, this.#answers]) field.addEventListener("input", () => this.#refuse(null));
    this.#question.addEventListener("keydown", (event) => this.#press(event));
    this.#stop.addEventListener("click", () => {
      this.#takeBack();
      handlers.onStop();
    });
    this.#turnTo(); // a browser may have kept the choice over a reload
  }

  /** The question was taken: makes room for the next. The answers to rank stay. */
  clear() {
    this.#question.value = "";
    this.#refuse(null);
  }

  /**
   * A request that could not be done as it is: says so at the form, with what was typed.
   *
   * @param {Request} request
   * @param {import("../engine/protocol.js").PlainError} error
   */
  refuse(request, error) {
    if (typeof request.prompt === "string" || request.label) this.#question.value = request.shown;
    this.#refuse(error, this.#question);
  }

  /** @param {string[]} questions */
  suggest(questions) {
    const buttons = questions.map((question) => {
      const button = make("button", "suggestion", question);
      button.type = "button";
      button.addEventListener("click", () => this.#suggested(question));
      return button;
    });
    this.#suggestions.replaceChildren(...buttons);
  }

  /**
   * What the visitor can do now.
   *
   * @param {"waiting" | "ready" | "answering"} state waiting for a model, ready, or answering
   */
  allow(state) {
    const focused = document.activeElement;
    this.#state = state;
    this.#send.hidden = state === "answering";
    this.#stop.hidden = state !== "answering";
    for (const button of [this.#send, ...this.#presets]) button.disabled = state === "waiting";
    if (focused === this.#send && state === "answering") this.#stop.focus();
    else if (focused === this.#stop && state !== "answering") this.#question.focus();
    else if (focused instanceof HTMLButtonElement && focused.disabled) this.#question.focus();
    const next = this.#next;
    if (state !== "ready" || !next) return;
    this.#wait(null);
    this.#onAsk(next);
  }

  /** @returns {Mode} */
  get #mode() {
    return /** @type {Mode} */ (this.#select.value);
  }

  #turnTo() {
    const ranks = this.#mode === "rank";
    const hint = say(`ask.${this.#mode}.hint`);
    this.#question.placeholder = hint;
    byId("question-label", HTMLLabelElement).textContent = hint;
    this.#answers.hidden = !ranks;
    this.#send.textContent = say(ranks ? "ask.sendRank" : "ask.send");
    this.#form.classList.toggle("ranking-form", ranks);
    this.#refuse(null);
  }

  /** @param {KeyboardEvent} event in the question's field */
  #press(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (this.#mode === "rank" && !this.#answers.value) this.#answers.focus();
      else this.#form.requestSubmit();
    }
    // Earlier questions, where the field holds none of its own.
    const by = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    if (!by || (this.#question.value && this.#question.value !== this.#typed[this.#recalled])) return;
    const at = (this.#question.value ? this.#recalled : this.#typed.length) + by;
    if (at < 0 || at > this.#typed.length) return;
    event.preventDefault();
    this.#recalled = at;
    this.#question.value = this.#typed[at] ?? "";
  }

  /** @param {string} question that was offered */
  #suggested(question) {
    if (this.#mode !== "rank" && this.#state !== "waiting") {
      return this.#ask({ prompt: question, shown: question, label: "", talks: true });
    }
    this.#question.value = question;
    this.#refuse(null);
    (this.#mode === "rank" ? this.#answers : this.#question).focus();
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {import("../engine/protocol.js").Prompt} prompt
   */
  #preset(button, prompt) {
    this.#ask({ prompt, shown: button.textContent ?? "", label: "", talks: false });
  }

  #submit() {
    const mode = this.#mode;
    const shown = this.#question.value;
    const answers = this.#answers.value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!shown.trim()) return this.#refuse({ code: "question-empty", message: say("ask.empty") }, this.#question);
    if (mode === "rank" && !answers.length) return this.#refuse({ code: "option-invalid", message: say("ask.noAnswers") }, this.#answers);
    this.#typed = [...this.#typed.filter((text) => text !== shown), shown];
    const label = mode === "free" ? "" : say(`ask.${mode}`);
    this.#ask({ shown, label, ...MODES[mode](shown, answers) });
  }

  /** @param {Request} request */
  #ask(request) {
    if (this.#state === "answering") {
      this.clear();
      return this.#wait(request);
    }
    this.#onAsk(request);
  }

  /** @param {Request | null} request to be asked after the answer that is being made */
  #wait(request) {
    this.#next = request;
    this.#note.hidden = !request;
    this.#note.textContent = request ? say("ask.next", { question: request.shown }) : "";
  }

  /** Stopping also stops what waits; what was typed comes back. */
  #takeBack() {
    const next = this.#next;
    if (next && !this.#question.value && (typeof next.prompt === "string" || next.label)) this.#question.value = next.shown;
    this.#wait(null);
  }

  /**
   * Says at the form what is wrong with it; `null` takes that back.
   *
   * @param {import("../engine/protocol.js").PlainError | null} error
   * @param {HTMLTextAreaElement} [field] that it is about
   */
  #refuse(error, field) {
    showError(this.#refusal, error);
    for (const one of [this.#question, this.#answers]) one.setAttribute("aria-invalid", String(one === field && error !== null));
    field?.focus();
  }
}
