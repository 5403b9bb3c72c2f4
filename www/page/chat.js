/**
 * The chat: a list of turns that stays when the picture, or even the engine, is exchanged, and the
 * conversation about the current picture, which the model is told of where the visitor wants that.
 */
import { byId } from "./dom.js";
import { Turn } from "./turn.js";

export class Chat {
  #list = byId("turns", HTMLOListElement);
  #status = byId("chat-status", HTMLElement);
  #empty = byId("chat-empty", HTMLElement);
  /** Turns about the current picture. @type {Turn[]} */
  #current = [];
  /** @type {import("../engine/protocol.js").DialogueTurn[]} */
  #conversation = [];

  /**
   * Starts a turn.
   *
   * @param {import("./composer.js").Request} request
   * @param {string[]} thumbnails
   */
  turn(request, thumbnails) {
    this.#empty.hidden = true;
    const turn = new Turn(this.#list, this.#status, request, thumbnails);
    this.#current.push(turn);
    return turn;
  }

  /** @param {Turn} turn one that was no question after all */
  withdraw(turn) {
    turn.withdraw();
    this.#empty.hidden = this.#list.childElementCount > 0;
  }

  /**
   * @param {string} question
   * @param {string} answer
   */
  remember(question, answer) {
    this.#conversation.push({ question, answer });
  }

  /** What was said about the current picture, oldest first. */
  get conversation() {
    return [...this.#conversation];
  }

  /** Another picture: earlier turns can neither be continued nor shown on it. */
  changePicture() {
    for (const turn of this.#current) turn.withdrawMap();
    this.#current = [];
    this.#conversation = [];
  }
}
