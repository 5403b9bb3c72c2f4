/**
 * Which turn's map is shown: asks the engine for it when the visitor does, and only then.
 */
import { plainError } from "../engine/errors.js";
import { byId, showError } from "./dom.js";
import { MapPanel } from "./map_panel.js";

/** @typedef {import("./turn.js").Turn} Turn */
/** @typedef {{ turn: Turn, prompt: string | import("../engine/protocol.js").Prompt, question: string }} Asked */

export class Looked {
  #model;
  /** Questions about the current picture. @type {Asked[]} */
  #asked = [];
  /** @type {Asked | null} */
  #shown = null;
  /** @type {AbortController | null} */
  #control = null;
  #error = byId("map-error", HTMLElement);
  #panel = new MapPanel({
    onCompare: (question) => this.#shown && void this.#show(this.#shown, question),
    onClose: () => this.close(),
  });

  /** @param {() => import("../engine/engine.js").Model | null} model */
  constructor(model) {
    this.#model = model;
  }

  /**
   * @param {Turn} turn
   * @param {Asked["prompt"]} prompt
   * @param {string} question
   */
  offer(turn, prompt, question) {
    const asked = { turn, prompt, question };
    this.#asked.push(asked);
    turn.offerMap(() => (this.#shown === asked ? this.hide() : void this.#show(asked, "")));
  }

  /** Another picture came: earlier questions have no map on it. */
  clear() {
    this.#asked = [];
    this.hide();
  }

  /**
   * @param {number} index of the shown picture
   * @param {number} aspect
   */
  turnTo(index, aspect) {
    this.#panel.turnTo(index, aspect);
  }

  /** Takes the shown map away and leads back to its turn; false where none is shown. */
  close() {
    const turn = this.#shown?.turn;
    this.hide();
    turn?.focusMap();
    return turn !== undefined;
  }

  /** Takes the shown map away. */
  hide() {
    this.#control?.abort();
    this.#shown?.turn.mapShown(false);
    this.#shown = null;
    this.#panel.hide();
    showError(this.#error, null);
  }

  /**
   * @param {Asked} asked
   * @param {string} against another question, or empty
   */
  async #show(asked, against) {
    const model = this.#model();
    if (!model) return;
    if (this.#shown !== asked) this.hide();
    this.#control?.abort();
    const control = (this.#control = new AbortController());
    this.#shown = asked;
    asked.turn.mapShown(true);
    showError(this.#error, null);
    const other = this.#asked.find(({ question }) => question === against)?.prompt ?? against;
    try {
      const maps = await model.attention(asked.prompt, { ...(against && { against: other }), signal: control.signal });
      if (control.signal.aborted) return;
      this.#panel.suggest(this.#asked.filter((one) => one !== asked).map(({ question }) => question));
      this.#panel.show(maps, asked.question, against, asked.turn.text);
    } catch (thrown) {
      if (control.signal.aborted) return;
      this.hide();
      showError(this.#error, plainError(thrown));
    }
  }
}
