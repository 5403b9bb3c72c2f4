/**
 * A conversation with a model: its pictures, what was said about them, and the questions to come.
 *
 * `Model.conversation()` makes them. They share the model's weights, and features of pictures that
 * they have in common, and see nothing of each other.
 */

/** @typedef {import("./protocol.js").TokenEvent} TokenEvent */
/** @typedef {import("./protocol.js").Prompt} Prompt */
/** @typedef {(call: any, signal?: AbortSignal, onEvent?: (value: any) => void) => Promise<any>} Request */

export class Conversation {
  #request;
  #id;
  #end;

  /**
   * What {@link Conversation#say} asked and was answered about the current pictures, oldest first.
   *
   * @type {import("./protocol.js").DialogueTurn[]}
   */
  turns = [];

  /**
   * @param {Request} request
   * @param {number} id
   * @param {(id: number) => void} end
   */
  constructor(request, id, end) {
    this.#request = request;
    this.#id = id;
    this.#end = end;
  }

  /**
   * Gives the conversation a picture (the bytes of its file) and computes its features; or several
   * pictures, such as frames of a video, which questions are then about together. What was said
   * before is forgotten.
   *
   * @overload
   * @param {Uint8Array} bytes
   * @param {AbortSignal} [signal]
   * @returns {Promise<import("./protocol.js").PictureInfo>}
   */
  /**
   * @overload
   * @param {Uint8Array[]} bytes
   * @param {AbortSignal} [signal]
   * @returns {Promise<import("./protocol.js").PictureInfo[]>}
   */
  /**
   * @param {Uint8Array | Uint8Array[]} bytes
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  setPicture(bytes, signal) {
    this.turns = [];
    const files = Array.isArray(bytes) ? bytes : [bytes];
    const infos = this.#request({ call: "setPictures", conversation: this.#id, files }, signal);
    return Array.isArray(bytes) ? infos : infos.then(([info]) => info);
  }

  /**
   * Asks about the picture.
   *
   * @param {string | Prompt} question free text, or one of `prompts`
   * @param {import("./protocol.js").AskOptions & { signal?: AbortSignal, onToken?: (token: TokenEvent) => void }} [options]
   * @returns {Promise<import("./protocol.js").Answer>}
   */
  ask(question, options = {}) {
    const { signal, onToken, ...rest } = options;
    return this.#request({ call: "ask", conversation: this.#id, question, options: rest }, signal, onToken);
  }

  /**
   * Compares given answers: how likely the model finds each, best first.
   *
   * @param {string | Prompt} question
   * @param {string[]} candidates
   * @param {import("./protocol.js").RankOptions & { signal?: AbortSignal }} [options]
   * @returns {Promise<import("./protocol.js").Ranked[]>}
   */
  rank(question, candidates, { signal, ...options } = {}) {
    return this.#request({ call: "rank", conversation: this.#id, question, candidates, options }, signal);
  }

  /**
   * Where the Q-Former looks for a question, and how that differs from another one.
   *
   * @param {string | Prompt} question
   * @param {{ against?: string | Prompt, instructionAware?: boolean, signal?: AbortSignal }} [options]
   * @returns {Promise<import("./protocol.js").AttentionMaps>}
   */
  attention(question, { against, instructionAware, signal } = {}) {
    return this.#request({ call: "attention", conversation: this.#id, question, against, instructionAware }, signal);
  }

  /**
   * Asks about the pictures with what was said before as context, and remembers the answer. The
   * oldest turns are left out where not all fit.
   *
   * @param {string} question
   * @param {Parameters<Conversation["ask"]>[1]} [options]
   * @returns {Promise<import("./protocol.js").Answer>}
   */
  async say(question, options = {}) {
    const { turns } = this;
    const answer = await this.ask({ kind: "dialogue", turns, question }, options);
    // Not to the turns about other pictures, which may have come meanwhile.
    turns.push({ question, answer: answer.text });
    return answer;
  }

  /** Gives back what it holds; the model stays. */
  free() {
    if (this.#id !== 0) this.#end(this.#id);
  }
}
