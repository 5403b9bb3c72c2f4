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

/** @typedef {typeof CODES[number]} ErrorCode */

/**
 * The one error class of the engine. Its `code` is the stable code of `src/error.rs`, its
 * `message` a sentence for people.
 */
export class InstructBlipError extends Error {
  /**
   * @param {ErrorCode} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = "InstructBlipError";
    this.code = code;
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
    const code = /** @type {{ code?: unknown }} */ (/** @type {unknown} */ (thrown)).code;
    if (thrown.name === "InstructBlipError" && typeof code === "string") {
      return { code: /** @type {ErrorCode} */ (code), message: thrown.message };
    }
    if (thrown.name === "AbortError") return { code: "cancelled", message: "Cancelled." };
    return { code: "internal", message: `Internal error: ${thrown.message}. Please report it.` };
  }
  return { code: "internal", message: `Internal error: ${String(thrown)}. Please report it.` };
}

/**
 * @param {import("./protocol.js").PlainError} plain
 * @returns {InstructBlipError}
 */
export function fromPlain(plain) {
  return new InstructBlipError(plain.code, plain.message);
}
