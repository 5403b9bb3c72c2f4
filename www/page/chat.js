/**
 * The chat: a list of turns that stays when the picture, the engine, or the page itself is
 * exchanged.
 *
 * In: the handlers of a turn, and `onDrop(number)` for one that was none after all.
 */
import { byId } from "./dom.js";
import { Turn } from "./turn.js";

/** @typedef {import("./told.js").Told} Told */

export class Chat {
  #list = byId("turns", HTMLOListElement);
  #status = byId("chat-status", HTMLElement);
  #empty = byId("chat-empty", HTMLElement);
  #menu = byId("chat-menu", HTMLDetailsElement);
  /** @type {Turn[]} */
  #turns = [];
  #next = 0;
  #handlers;

  /** @param {import("./turn.js").Handlers & { onDrop: (number: number) => void }} handlers */
  constructor(handlers) {
    // What was taken off the list is no longer kept either.
    this.#handlers = { ...handlers, onChange: (/** @type {Turn} */ turn) => this.#turns.includes(turn) && handlers.onChange(turn) };
  }

  /** All of it, oldest first. */
  get told() {
    return this.#turns.map(({ told }) => told);
  }

  /**
   * Starts a turn.
   *
   * @param {Omit<Told, "number" | "at" | "text" | "unsure" | "answer" | "ranked" | "milliseconds" | "error">} asked
   * @param {string[]} thumbnails
   */
  turn(asked, thumbnails) {
    const at = new Date().toISOString();
    const turn = this.#add({ ...asked, number: this.#next, at, text: "", unsure: false, answer: null, ranked: null, milliseconds: 0, error: null }, thumbnails);
    this.#handlers.onChange(turn);
    turn.follow();
    return turn;
  }

  /**
   * Shows turns of before a reload.
   *
   * @param {Told[]} turns
   * @param {(hashes: string[]) => string[]} addresses
   */
  restore(turns, addresses) {
    for (const told of turns) this.#add(told, addresses(told.pictures)).restore();
    this.#turns.at(-1)?.follow();
  }

  /** @param {Turn} turn one that was no question after all */
  withdraw(turn) {
    turn.withdraw();
    this.#turns = this.#turns.filter((one) => one !== turn);
    this.#handlers.onDrop(turn.told.number);
    this.#showEmpty();
  }

  /** Takes all turns away. */
  clear() {
    for (const turn of this.#turns) turn.withdraw();
    this.#turns = [];
    this.#showEmpty();
  }

  /**
   * Other pictures: turns about others cannot be shown on them.
   *
   * @param {string} key of the selection
   * @returns {Turn[]} answered ones about these
   */
  changePictures(key) {
    const about = this.#turns.filter(({ told, answered }) => answered && told.pictures.join() === key);
    for (const turn of this.#turns) if (!about.includes(turn)) turn.withdrawMap();
    return about;
  }

  /** @param {Told} told @param {string[]} thumbnails */
  #add(told, thumbnails) {
    const turn = new Turn(this.#list, this.#status, told, thumbnails, this.#handlers);
    this.#turns.push(turn);
    this.#next = Math.max(this.#next, told.number + 1);
    this.#showEmpty();
    return turn;
  }

  #showEmpty() {
    this.#empty.hidden = this.#turns.length > 0;
    this.#menu.hidden = this.#turns.length === 0;
  }
}
