/**
 * The model in this project's engine, driven as a page drives it.
 */
/** @typedef {import("../../www/engine/engine.js").Model} Model */
/** @typedef {import("./onnxruntime.js").Case} Case */
/** @typedef {import("./onnxruntime.js").Answer} Answer */

export class Engine {
  #pictures = 0;

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

  /** @returns {Promise<number>} milliseconds until the GPU was done */
  async encode() {
    // The engine keeps the features of a file that it has seen. A PNG ends before the bytes that
    // are added here, so every time it is given the same picture as a new file.
    const file = new Uint8Array(this.picture.length + ++this.#pictures);
    file.set(this.picture);
    return (await this.model.setPicture(file)).visionMs;
  }

  /** @returns {Promise<Answer>} */
  async answer() {
    /** @type {number[]} */
    const tokenTimes = [];
    const { ids } = await this.model.ask(this.question.prompt, {
      maxNewTokens: this.question.greedyIds.length,
      numBeams: 1,
      doSample: false,
      onToken: ({ milliseconds }) => void tokenTimes.push(milliseconds),
    });
    return { tokenTimes, ids };
  }
}
