/**
 * Questions with the templates that InstructBLIP was trained and evaluated with. Each function
 * makes a request that `ask`, `rank` and `attention` take in place of free text; the wordings are
 * those of `src/prompt.rs`, filled in by the engine.
 */

/** @typedef {import("./protocol.js").Prompt} Prompt */
/** @typedef {import("./protocol.js").DialogueTurn} DialogueTurn */

/** @satisfies {Record<string, (...parts: any[]) => Prompt>} */
export const prompts = {
  /** One sentence about the picture. */
  caption: () => ({ kind: /** @type {const} */ ("caption") }),

  /** All there is to see. */
  description: () => ({ kind: /** @type {const} */ ("description") }),

  /**
   * A question, answered in a word or two.
   *
   * @param {string} question
   */
  shortAnswer: (question) => ({ kind: /** @type {const} */ ("short-answer"), question }),

  /**
   * A question, answered in sentences.
   *
   * @param {string} question
   */
  longAnswer: (question) => ({ kind: /** @type {const} */ ("long-answer"), question }),

  /**
   * A question whose answer is given.
   *
   * @param {string} answer
   */
  question: (answer) => ({ kind: /** @type {const} */ ("question"), answer }),

  /**
   * A question with the answers to choose from.
   *
   * @param {string} question
   * @param {string[]} options
   */
  multipleChoice: (question, options) => ({ kind: /** @type {const} */ ("multiple-choice"), question, options }),

  /**
   * The next question of a conversation. The oldest turns are left out where not all fit; the
   * answer says how many.
   *
   * @param {DialogueTurn[]} turns
   * @param {string} question
   */
  dialogue: (turns, question) => ({ kind: /** @type {const} */ ("dialogue"), turns, question }),

  /**
   * A question about a picture with a text that belongs to it.
   *
   * @param {string} context
   * @param {string} question
   */
  context: (context, question) => ({ kind: /** @type {const} */ ("context"), context, question }),
};
