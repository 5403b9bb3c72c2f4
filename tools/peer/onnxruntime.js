/**
 * The same model in onnxruntime-web's WebGPU provider, from the graphs that `export.py` writes.
 *
 * Features, cross keys and values, and the cache stay in GPU buffers from graph to graph; the host
 * reads nothing but the logits of each step, to choose the next token from them.
 */

/**
 * @typedef {object} Case What is asked, and the right answer.
 * @property {string} prompt
 * @property {number[]} inputIds of the prompt
 * @property {number[]} qformerInputIds of the prompt
 * @property {number[]} greedyIds the answer, without the start token
 * @property {number} startId
 * @property {string[]} formats of the weights in which there are graphs
 * @property {number} size of the picture
 * @property {number} layers of the decoder
 * @property {number} heads
 * @property {number} headWidth
 *
 * @typedef {object} Answer
 * @property {number} [prefillMs] until the GPU was done, where that is known
 * @property {number[]} tokenTimes milliseconds from the question to each token
 * @property {number[]} ids
 */

const STAGES = /** @type {const} */ (["vision", "qformer", "encoder", "decoder"]);

export class OnnxRuntime {
  /** @type {Record<string, any>} */
  #picture = {};

  /**
   * @param {any} ort the module of onnxruntime-web
   * @param {Record<string, any>} sessions by stage
   * @param {Case} question
   * @param {Float32Array} pixels pixel_values [1, 3, size, size]
   */
  constructor(ort, sessions, question, pixels) {
    this.ort = ort;
    this.sessions = sessions;
    this.question = question;
    this.pixels = pixels;
  }

  /**
   * @param {any} ort
   * @param {string} folder address of the graphs
   * @param {string} format of the weights: the graphs are `<stage>.<format>.onnx`
   * @param {Case} question
   * @param {Float32Array} pixels
   */
  static async load(ort, folder, format, question, pixels) {
    /** @type {Record<string, any>} */
    const sessions = {};
    for (const stage of STAGES) {
      sessions[stage] = await ort.InferenceSession.create(`${folder}${stage}.${format}.onnx`, {
        executionProviders: [{ name: "webgpu", validationMode: "disabled" }],
        preferredOutputLocation: stage === "decoder" ? cacheOnGpu(question.layers) : "gpu-buffer",
        graphOptimizationLevel: "all",
      });
    }
    return new OnnxRuntime(ort, sessions, question, pixels);
  }

  /** @returns {Promise<number>} milliseconds until the GPU was done */
  async encode() {
    const { size } = this.question;
    const start = performance.now();
    const pixel_values = new this.ort.Tensor("float32", this.pixels, [1, 3, size, size]);
    const outputs = await this.sessions.vision.run({ pixel_values });
    await this.#finished();
    const milliseconds = performance.now() - start;
    dispose(this.#picture);
    this.#picture = outputs;
    return milliseconds;
  }

  /** @returns {Promise<Answer>} about the picture that was encoded last */
  async answer() {
    const start = performance.now();
    const cross = await this.#prefill(this.#picture.image_embeds);
    await this.#finished();
    const prefillMs = performance.now() - start;
    /** @type {number[]} */
    const tokenTimes = [];
    const ids = await this.#decode(cross, () => tokenTimes.push(performance.now() - start));
    dispose(cross);
    return { prefillMs, tokenTimes, ids };
  }

  async #finished() {
    const device = await this.ort.env.webgpu.device;
    await device.queue.onSubmittedWorkDone();
  }

  /**
   * @param {any} image_embeds
   * @returns {Promise<Record<string, any>>} cross keys and values of every decoder layer
   */
  async #prefill(image_embeds) {
    const { inputIds, qformerInputIds } = this.question;
    const qformer_input_ids = this.#ids(qformerInputIds);
    const { query_embeds } = await this.sessions.qformer.run({ image_embeds, qformer_input_ids });
    const cross = await this.sessions.encoder.run({ query_embeds, input_ids: this.#ids(inputIds) });
    dispose({ query_embeds });
    return cross;
  }

  /**
   * Greedy, as many tokens as the right answer has.
   *
   * @param {Record<string, any>} cross
   * @param {() => void} onToken
   */
  async #decode(cross, onToken) {
    const { greedyIds, startId, layers, heads, headWidth } = this.question;
    const nothing = new Float32Array(0);
    /** @type {Record<string, any>} */
    let cache = {};
    for (let layer = 0; layer < layers; layer++) {
      cache[`past_key.${layer}`] = new this.ort.Tensor("float32", nothing, [1, heads, headWidth, 0]);
      cache[`past_value.${layer}`] = new this.ort.Tensor("float32", nothing, [1, heads, 0, headWidth]);
    }
    /** @type {number[]} */
    const ids = [];
    while (ids.length < greedyIds.length) {
      const input_ids = this.#ids([ids.at(-1) ?? startId]);
      const bias_start = new this.ort.Tensor("int64", [BigInt(greedyIds.length - ids.length)], [1]);
      const outputs = await this.sessions.decoder.run({ input_ids, bias_start, ...cache, ...cross });
      dispose(cache);
      cache = {};
      for (const [name, tensor] of Object.entries(outputs)) {
        if (name.startsWith("present")) cache[name.replace("present", "past")] = tensor;
      }
      ids.push(largest(outputs.logits.data));
      onToken();
    }
    dispose(cache);
    return ids;
  }

  /** @param {number[]} list */
  #ids(list) {
    return new this.ort.Tensor("int64", BigInt64Array.from(list, BigInt), [1, list.length]);
  }
}

/** @param {number} layers */
function cacheOnGpu(layers) {
  /** @type {Record<string, string>} */
  const places = { logits: "cpu" };
  for (let layer = 0; layer < layers; layer++) {
    for (const part of ["key", "value"]) places[`present_${part}.${layer}`] = "gpu-buffer";
  }
  return places;
}

/** @param {Record<string, any>} tensors */
function dispose(tensors) {
  for (const tensor of Object.values(tensors)) tensor.dispose();
}

/** @param {Float32Array} values */
function largest(values) {
  let best = 0;
  for (let at = 1; at < values.length; at++) {
    if (/** @type {number} */ (values[at]) > /** @type {number} */ (values[best])) best = at;
  }
  return best;
}
