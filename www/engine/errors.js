/**
 * The one error class of the engine. Its `code` is the stable code of `src/error.rs`, its
 * `message` a sentence for people.
 */
export class InstructBlipError extends Error {
  /**
   * @param {string} code
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
      return { code, message: thrown.message };
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
