/** The model's look at the pictures: given to it as soon as it can, and taken back for others. */
import { plainError } from "../engine/errors.js";
import { say } from "./words.js";

/** @typedef {import("../engine/protocol.js").PlainError} PlainError */

export class Looking {
  /**
   * The work on the current pictures: null once their features are there, else why not.
   *
   * @type {Promise<PlainError | null>}
   */
  done = Promise.resolve(null);
  /** @type {AbortController | null} */
  #control = null;
  #panel;

  /** @param {import("./picture_panel.js").PicturePanel} panel that says how it goes */
  constructor(panel) {
    this.#panel = panel;
  }

  /** The model could not be loaded: that it did not look is no fault of the pictures'. */
  end() {
    this.#control = null;
  }

  /**
   * @param {import("../engine/engine.js").Model | null} model
   * @param {import("./selection.js").Selection | null} selection
   */
  start(model, selection) {
    this.#control?.abort();
    this.done = Promise.resolve(null);
    if (!selection) return;
    this.#panel.note(say(model ? "picture.waits" : "picture.noModel"));
    if (!model) return;
    const control = (this.#control = new AbortController());
    const { bytes } = selection;
    void model.vision.then(() => {
      if (this.#control === control) this.#panel.note(say("picture.looking", { count: bytes.length }));
    });
    this.done = model.setPicture(bytes, control.signal).then(
      (infos) => {
        if (this.#control === control) this.#panel.looked(infos);
        return null;
      },
      (thrown) => {
        const error = plainError(thrown);
        if (this.#control === control) void this.#panel.failed(error);
        return error;
      },
    );
  }
}
