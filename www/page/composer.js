/**
 * The form: a question in one of a few modes, one-click presets, and answers to rank.
 *
 * In: `onAsk(request)` with what to ask and how the chat shows it, `onStop()`.
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

/**
 * @typedef {object} Mode
 * @property {string} label
 * @property {string} placeholder
 * @property {(text: string, answers: string[]) => Omit<Request, "shown" | "label">} request
 */

/** @type {Record<string, Mode>} */
const MODES = {
  free: {
    label: say("ask.free"),
    placeholder: say("ask.free.hint"),
    request: (text) => ({ prompt: text, talks: true }),
  },
  short: {
    label: say("ask.short"),
    placeholder: say("ask.short.hint"),
    request: (text) => ({ prompt: prompts.shortAnswer(text), talks: true }),
  },
  question: {
    label: say("ask.reverse"),
    placeholder: say("ask.reverse.hint"),
    request: (text) => ({ prompt: prompts.question(text), talks: false }),
  },
  rank: {
    label: say("ask.rank"),
    placeholder: say("ask.rank.hint"),
    request: (text, candidates) => ({ prompt: text, talks: false, candidates }),
  },
};

export class Composer {
  #form = byId("ask", HTMLFormElement);
  #question = byId("question", HTMLTextAreaElement);
  #answers = byId("answers", HTMLTextAreaElement);
  #send = byId("send", HTMLButtonElement);
  #stop = byId("stop", HTMLButtonElement);
  #suggestions = byId("suggestions", HTMLElement);
  #refusal = byId("ask-error", HTMLElement);
  #remember = byId("remember", HTMLInputElement);
  #mode = "free";
  #onAsk;

  /** @param {{ onAsk: (request: Request) => void, onStop: () => void }} handlers */
  constructor(handlers) {
    this.#onAsk = handlers.onAsk;
    for (const [name, { label }] of Object.entries(MODES)) this.#addMode(name, label);
    this.#preset("caption", prompts.caption());
    this.#preset("description", prompts.description());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!this.#send.disabled) this.#submit();
    });
    for (const field of [this.#question, this.#answers]) {
      field.addEventListener("input", () => showError(this.#refusal, null));
    }
    this.#question.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (this.#mode === "rank" && !this.#answers.value) this.#answers.focus();
      else this.#form.requestSubmit();
    });
    this.#stop.addEventListener("click", handlers.onStop);
  }

  /** Whether earlier questions and answers go before the next one. */
  get remembers() {
    return this.#remember.checked;
  }

  /** The question was taken: makes room for the next. The answers to rank stay. */
  clear() {
    this.#question.value = "";
    showError(this.#refusal, null);
  }

  /**
   * A request that could not be done as it is: says so at the form, with what was typed.
   *
   * @param {Request} request
   * @param {import("../engine/protocol.js").PlainError} error
   */
  refuse(request, error) {
    if (typeof request.prompt === "string" || request.label) this.#question.value = request.shown;
    showError(this.#refusal, error);
    this.#question.focus();
  }

  /** @param {string[]} questions */
  suggest(questions) {
    const buttons = questions.map((question) => {
      const button = make("button", "suggestion", question);
      button.type = "button";
      button.addEventListener("click", () => {
        this.#question.value = question;
        if (this.#send.disabled || this.#mode === "rank") this.#question.focus();
        else this.#ask({ prompt: question, shown: question, label: "", talks: true });
      });
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
    const stopHadFocus = document.activeElement === this.#stop;
    const sendHadFocus = document.activeElement === this.#send;
    this.#send.hidden = state === "answering";
    this.#stop.hidden = state !== "answering";
    this.#send.disabled = state !== "ready";
    for (const id of ["caption", "description"]) byId(id, HTMLButtonElement).disabled = state !== "ready";
    if (sendHadFocus && state === "answering") this.#stop.focus();
    if (stopHadFocus && state === "ready") this.#question.focus();
  }

  /**
   * @param {string} name
   * @param {string} label
   */
  #addMode(name, label) {
    const choice = make("label", "mode");
    const radio = make("input", "hidden");
    radio.type = "radio";
    radio.name = "mode";
    radio.value = name;
    radio.checked = name === this.#mode;
    radio.addEventListener("change", () => this.#turnTo(name));
    choice.append(radio, make("span", "suggestion", label));
    byId("modes", HTMLFieldSetElement).append(choice);
  }

  /** @param {string} name */
  #turnTo(name) {
    this.#mode = name;
    const { placeholder } = this.#current();
    this.#question.placeholder = placeholder;
    byId("question-label", HTMLLabelElement).textContent = placeholder;
    this.#answers.hidden = name !== "rank";
    this.#send.textContent = say(name === "rank" ? "ask.sendRank" : "ask.send");
    this.#form.classList.toggle("ranking-form", name === "rank");
    showError(this.#refusal, null);
  }

  /**
   * @param {"caption" | "description"} id of its button
   * @param {import("../engine/protocol.js").Prompt} prompt
   */
  #preset(id, prompt) {
    const button = byId(id, HTMLButtonElement);
    const shown = button.textContent ?? "";
    button.addEventListener("click", () => this.#ask({ prompt, shown, label: "", talks: false }));
  }

  #submit() {
    const shown = this.#question.value;
    const lines = this.#answers.value.split("\n").map((line) => line.trim());
    const mode = this.#current();
    this.#ask({ shown, label: this.#mode === "free" ? "" : mode.label, ...mode.request(shown, lines.filter(Boolean)) });
  }

  /** @param {Request} request */
  #ask(request) {
    const stopWasHidden = this.#stop.hidden;
    this.#onAsk(request);
    if (stopWasHidden && document.activeElement === document.body) this.#stop.focus();
  }

  #current() {
    return /** @type {Mode} */ (MODES[this.#mode]);
  }
}
