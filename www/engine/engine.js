/**
 * The model as the page sees it: the interface of the wasm `Model`, over a worker.
 *
 * Every `Model.load` starts a worker of its own, so that a new model begins with fresh wasm
 * memory and a fresh GPU device, and `free` gives everything back by ending the worker.
 */
import { Conversation } from "./conversation.js";
import { InstructBlipError, fromPlain } from "./errors.js";
import { workerAddress } from "./script_urls.js";

/** @typedef {import("./protocol.js").TokenEvent} TokenEvent */
/** @typedef {import("./protocol.js").Prompt} Prompt */

/**
 * @typedef {object} Waiting
 * @property {(value: any) => void} resolve
 * @property {(error: Error) => void} reject
 * @property {((value: any) => void) | undefined} onEvent
 */

/**
 * Starts the worker through a `blob:` address. Such a worker inherits the page's
 * Content-Security-Policy (one with an address of its own does not), and it may be started by a
 * page of another origin than these files.
 *
 * @param {(error: InstructBlipError) => void} failed called once, when it does not start or breaks
 * @returns {Worker}
 */
function startWorker(failed) {
  const { script, address, trusted } = workerAddress();
  const worker = new Worker(trusted, { type: "module", name: "instructblip" });
  let started = false;
  // The address is needed until the worker has read it; its first message proves that it has.
  worker.addEventListener("message", () => URL.revokeObjectURL(address), { once: true });
  worker.addEventListener("message", () => (started = true), { once: true });
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    const sentence = started
      ? `Internal error: ${event.message || "the worker failed"}. Please report it.`
      : `The engine did not start from ${script}${event.message ? ` (${event.message})` : ""}. Is the folder engine/ there whole, and unchanged by a bundler?`;
    failed(new InstructBlipError(started ? "internal" : "module-missing", sentence));
  });
  return worker;
}

/**
 * A model that is loaded, from {@link Model.load}, or being loaded, from {@link Model.open}. Calls
 * are answered in the order they come, each as soon as the parts of the model that it needs are
 * there: pictures need the vision tower, which is the first to arrive, everything else all of it.
 */
export class Model {
  #worker = startWorker((error) => this.#end(error));
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #nextId = 1;
  #nextConversation = 0;
  #main = this.conversation();
  /** @type {Error | undefined} */
  #gone;
  /** @type {(error: InstructBlipError) => void} */
  #resolveLost = () => {};
  #resolveVision = () => {};
  /** @type {(controls: import("./protocol.js").Controls) => void} */
  #resolveControls = () => {};

  /** What a page offers for a question; settles when the engine runs, before anything of the model is there. */
  controls = /** @type {Promise<import("./protocol.js").Controls>} */ (new Promise((resolve) => (this.#resolveControls = resolve)));

  /** Settles when pictures can be looked at, which is before the model is ready. */
  vision = /** @type {Promise<void>} */ (new Promise((resolve) => (this.#resolveVision = resolve)));

  /** Settles when all of the model is there. @type {Promise<import("./protocol.js").ModelInfo>} */
  ready = new Promise(() => {});

  /** What was loaded; empty until it is. @type {import("./protocol.js").ModelInfo} */
  info = { name: "", format: "", parameters: 0, bytes: 0 };

  /**
   * What the shard set says of itself: there before the first of its shards is fetched; null until
   * then, and where it says nothing.
   *
   * @type {import("./protocol.js").About | null}
   */
  about = null;

  /** Settles, with the reason, when the engine is gone: GPU lost, or an internal error. */
  lost = /** @type {Promise<InstructBlipError>} */ (
    new Promise((resolve) => (this.#resolveLost = resolve))
  );

  constructor() {
    this.#worker.addEventListener("message", (event) => this.#receive(event.data));
  }

  /**
   * Fetches a shard set and prepares it on the GPU.
   *
   * @param {string | URL} url the folder that holds `config.json` and the shards
   * @param {import("./protocol.js").LoadOptions} [options]
   * @returns {Promise<Model>}
   */
  static async load(url, options = {}) {
    const model = Model.open(url, options);
    await model.ready;
    return model;
  }

  /**
   * As {@link Model.load}, but gives the model at once. What is asked of it meanwhile waits for
   * the parts it needs; if loading fails, so does all that waits, with the same error.
   *
   * @param {string | URL} url
   * @param {import("./protocol.js").LoadOptions} [options]
   * @returns {Model}
   */
  static open(url, options = {}) {
    const model = new Model();
    model.ready = model.#load(url, options);
    model.ready.catch(() => {}); // whoever waits for it hears of it
    return model;
  }

  /**
   * @param {string | URL} url
   * @param {import("./protocol.js").LoadOptions} options
   */
  async #load(url, { signal, onProgress, cache = true, stallTimeout }) {
    // At once, whatever the worker is at; what it has stored stays.
    const cancel = () => this.free();
    signal?.addEventListener("abort", cancel);
    try {
      const address = new URL(url, document.baseURI).href;
      this.info = await this.#request({ call: "load", url: address, cache, stallTimeout }, signal, onProgress);
      return this.info;
    } catch (error) {
      this.#worker.terminate();
      this.#fail(/** @type {Error} */ (error));
      throw error;
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  /**
   * A conversation of its own: pictures and questions that no other one sees. Features of a
   * picture that two of them have are computed once.
   *
   * @returns {Conversation}
   */
  conversation() {
    return new Conversation((call, signal, onEvent) => this.#request(call, signal, onEvent), this.#nextConversation++, (id) => {
      if (!this.#gone) this.#worker.postMessage({ endConversation: id });
    });
  }

  /** The conversation that `setPicture`, `ask`, `rank` and `attention` of the model belong to. */
  get main() {
    return this.#main;
  }

  /**
   * Gives the model a picture (the bytes of its file) and computes its features; or several
   * pictures, such as frames of a video, which questions are then about together. Waits for the
   * vision tower only, see {@link Model#vision}.
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
    return /** @type {any} */ (this.#main).setPicture(bytes, signal);
  }

  /**
   * Asks about the picture.
   *
   * @param {string | Prompt} question free text, or one of `prompts`
   * @param {import("./protocol.js").AskOptions & { signal?: AbortSignal, onToken?: (token: TokenEvent) => void }} [options]
   * @returns {Promise<import("./protocol.js").Answer>}
   */
  ask(question, options = {}) {
    return this.#main.ask(question, options);
  }

  /**
   * Compares given answers: how likely the model finds each, best first.
   *
   * @param {string | Prompt} question
   * @param {string[]} candidates
   * @param {import("./protocol.js").RankOptions & { signal?: AbortSignal }} [options]
   * @returns {Promise<import("./protocol.js").Ranked[]>}
   */
  rank(question, candidates, options = {}) {
    return this.#main.rank(question, candidates, options);
  }

  /**
   * Where the Q-Former looks for a question, and how that differs from another one.
   *
   * @param {string | Prompt} question
   * @param {{ against?: string | Prompt, instructionAware?: boolean, signal?: AbortSignal }} [options]
   * @returns {Promise<import("./protocol.js").AttentionMaps>}
   */
  attention(question, options = {}) {
    return this.#main.attention(question, options);
  }

  /**
   * The text that a prompt becomes for this model.
   *
   * @param {Prompt} prompt
   * @returns {Promise<import("./protocol.js").FilledPrompt>}
   */
  prompt(prompt) {
    return this.#request({ call: "prompt", prompt });
  }

  /**
   * Compares the loaded model with a golden file of the reference implementation.
   *
   * @param {Uint8Array} golden
   * @param {string} [name] of the file, for messages
   * @param {import("./protocol.js").VerifyOptions} [options]
   * @returns {Promise<any>}
   */
  verify(golden, name, options) {
    return this.#request({ call: "verify", golden, name, options });
  }

  /**
   * Times the loaded model on this GPU, and the GPU itself.
   *
   * @param {import("./protocol.js").BenchOptions} [options]
   * @param {(stage: string) => void} [onStage] told what is being measured
   * @returns {Promise<any>} a `BenchReport` of src/bench
   */
  bench(options = {}, onStage) {
    return this.#request({ call: "bench", options }, undefined, onStage);
  }

  /** Ends the worker; everything it held, on the GPU too, is given back. */
  free() {
    this.#worker.terminate();
    this.#fail(new InstructBlipError("cancelled", "Cancelled."));
  }

  /**
   * @param {any} call
   * @param {AbortSignal} [signal]
   * @param {(value: any) => void} [onEvent]
   * @returns {Promise<any>}
   */
  #request(call, signal, onEvent) {
    if (this.#gone) return Promise.reject(this.#gone);
    if (signal?.aborted) return Promise.reject(new InstructBlipError("cancelled", "Cancelled."));
    const id = this.#nextId++;
    const cancel = () => this.#worker.postMessage({ cancel: id });
    signal?.addEventListener("abort", cancel);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onEvent });
      this.#worker.postMessage({ ...call, id });
    }).finally(() => signal?.removeEventListener("abort", cancel));
  }

  /** @param {import("./protocol.js").FromWorker} message */
  #receive(message) {
    if (message.event === "lost") return this.#end(fromPlain(message.error));
    if (message.event === "controls") return this.#resolveControls(message.value);
    if (message.event === "about") {
      this.about = message.value;
      return;
    }
    if (message.event === "vision") return this.#resolveVision();
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    if (message.event === "progress" || message.event === "token" || message.event === "stage") {
      waiting.onEvent?.(message.value);
      return;
    }
    this.#waiting.delete(message.id);
    if (message.event === "result") waiting.resolve(message.value);
    else waiting.reject(fromPlain(message.error));
  }

  /** @param {InstructBlipError} error */
  #end(error) {
    this.#worker.terminate();
    this.#resolveLost(error);
    this.#fail(error);
  }

  /** @param {Error} error */
  #fail(error) {
    this.#gone ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#gone);
    this.#waiting.clear();
  }
}
