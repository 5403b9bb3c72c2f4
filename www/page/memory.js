/**
 * What the model is told of the conversation: the turns about the current pictures from the moment
 * on at which the visitor asked for it. Not offered for a model that says that it never learned
 * from conversations. One that says nothing gets the benefit of the doubt: the published
 * checkpoints were trained on conversations, and their files do not say so.
 */
import { byId } from "./dom.js";
import { say } from "./words.js";

/** @typedef {import("../engine/protocol.js").DialogueTurn} DialogueTurn */

export class Memory {
  #box = byId("remember", HTMLInputElement);
  #choice = byId("remember-choice", HTMLElement);
  #forget = byId("forget", HTMLButtonElement);
  /** @type {DialogueTurn[]} */
  #turns = [];

  constructor() {
    this.#box.addEventListener("change", () => this.forget());
    this.#forget.addEventListener("click", () => {
      this.forget();
      this.#box.focus();
    });
    this.#show();
  }

  /** @param {boolean} possible whether the model can make anything of it */
  offer(possible) {
    this.#choice.hidden = !possible;
    this.#show();
  }

  /** What goes before the next question, oldest first. @returns {DialogueTurn[]} */
  get turns() {
    return this.#on ? [...this.#turns] : [];
  }

  /**
   * @param {string} question
   * @param {string} answer
   */
  add(question, answer) {
    if (this.#on) this.#turns.push({ question, answer });
    this.#show();
  }

  forget() {
    this.#turns = [];
    this.#show();
  }

  get #on() {
    return this.#box.checked && !this.#choice.hidden;
  }

  #show() {
    this.#forget.hidden = !this.#on || this.#turns.length === 0;
    this.#forget.textContent = say("memory.forget", { count: this.#turns.length });
  }
}
