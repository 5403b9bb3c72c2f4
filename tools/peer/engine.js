/**
 * The model in this project's engine, driven as a page drives it.
 */
/** @typedef {import("../../www/engine/engine.js").Model} Model */
/** @typedef {import("./onnxruntime.js").Case} Case */
/** @typedef {import("./onnxruntime.js").Run} Run */

export class Engine {
  #runs = 0;

  /**
   * @param {Model} model
   * @param {Case} question
   * @param {Uint8Array} picture the bytes of its file, a PNG
   */
  constructor(model, question, picture) {
    this.model = model;
    this.question = question;
    this.picture = picture;
  }

  /** @returns {Promise<Run>} */
  async run() {
    // The engine keeps the features of a file that it has seen. A PNG ends before the bytes that
    // are added here, so every run gives it the same picture as a new file.
    const file = new Uint8Array(this.picture.length + ++this.#runs);
    file.set(this.picture);
    const { visionMs } = await this.model.setPicture(file);
    /** @type {number[]} */
    const times = [];
    const { ids } = await this.model.ask(this.question.prompt, {
      maxNewTokens: this.question.greedyIds.length,
      numBeams: 1,
      doSample: false,
      onToken: ({ milliseconds }) => void times.push(milliseconds),
    });
    return { imageEncodeMs: visionMs, tokenTimes: times, ids };
  }
}
