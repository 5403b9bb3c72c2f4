/** The codes, as `src/error.rs` has them: a test there compares the two lists. */
export const CODES = /** @type {const} */ ([
  "picture-empty",
  "picture-undecodable",
  "picture-too-large",
  "config-invalid",
  "checkpoint-header",
  "index-invalid",
  "tensor-missing",
  "tensor-shape",
  "tensor-value",
  "tokenizer-invalid",
  "question-empty",
  "picture-missing",
  "option-invalid",
  "data-invalid",
  "webgpu-missing",
  "adapter-missing",
  "device-lost",
  "model-too-large",
  "out-of-memory",
  "gpu",
  "network",
  "cors-missing",
  "shard-corrupt",
  "cancelled",
  "io",
  "internal",
]);

/** Those, and what only a page can meet: files of the engine that are not where they should be. */
/** @typedef {typeof CODES[number] | "module-missing"} ErrorCode */

/**
 * The one error class of the engine. Its `code` is the stable code of `src/error.rs`, its
 * `message` a sentence for people.
 */
export class InstructBlipError extends Error {
  /**
   * @param {ErrorCode} code
   * @param {string} message
   * @param {string | null} [option]
   */
  constructor(code, message, option = null) {
    super(message);
    this.name = "InstructBlipError";
    this.code = code;
    /** Of `option-invalid`, the option as `AskOptions` calls it, such as `numBeams`. */
    this.option = option;
  }
}

/**
 * Anything that was thrown, as a code and a sentence that can cross to another thread.
 *
 * @param {unknown} thrown
 * @returns {import("./protocol.js").PlainError}
 */
export function plainError(thrown) {
  if (thrown instanceof Error) {
    const { code, option } = /** @type {{ code?: unknown, option?: unknown }} */ (/** @type {unknown} */ (thrown));
    if (thrown.name === "InstructBlipError" && typeof code === "string") {
      return { code: /** @type {ErrorCode} */ (code), message: thrown.message, option: typeof option === "string" ? option : null };
    }
    if (thrown.name === "AbortError") return { code: "cancelled", message: "Cancelled.", option: null };
    return { code: "internal", message: `Internal error: ${thrown.message}. Please report it.`, option: null };
  }
  return { code: "internal", message: `Internal error: ${String(thrown)}. Please report it.`, option: null };
}

/**
 * @param {import("./protocol.js").PlainError} plain
 * @returns {InstructBlipError}
 */
export function fromPlain(plain) {
  return new InstructBlipError(plain.code, plain.message, plain.option);
}
