/**
 * What questions are about: one picture, several, or frames of a video. A selection is made once
 * and then only passed around: to the panel that shows it, the turns that ask about it, and what
 * is kept for a reload.
 */
import { Unreadable, readPicture } from "./any_picture.js";
import { sampleFrames } from "./video.js";
import { say } from "./words.js";

/**
 * @typedef {import("./any_picture.js").Picture} Picture
 *
 * @typedef {object} Example
 * @property {string} file
 * @property {string} alt
 * @property {string[]} questions
 *
 * @typedef {object} Selection
 * @property {Picture[]} pictures
 * @property {Uint8Array[]} bytes of each, as the engine gets it
 * @property {string[]} hashes SHA-256 of each
 * @property {string} key the same for the same pictures in the same order
 * @property {string[]} addresses of each, for showing it; they live as long as the page
 * @property {string} alt
 * @property {string[]} questions to try, of an example
 * @property {boolean} own whether the visitor brought it
 * @property {Blob | null} video that the pictures are frames of
 */

/**
 * @param {Picture[]} pictures
 * @param {{ alt?: string, questions?: string[], own?: boolean, video?: Blob | null }} [about]
 * @returns {Promise<Selection>}
 */
export async function selectionOf(pictures, { alt = "", questions = [], own = true, video = null } = {}) {
  const bytes = await Promise.all(pictures.map(async ({ file }) => new Uint8Array(await file.arrayBuffer())));
  const hashes = await Promise.all(bytes.map(sha256));
  const addresses = pictures.map(({ file }) => URL.createObjectURL(file));
  return { pictures, bytes, hashes, key: hashes.join(), addresses, alt, questions, own, video };
}

/**
 * What can be read of some files.
 *
 * @param {Blob[]} files pictures, or a video
 * @param {Example | null} example that the file is of
 * @param {number} frames to take out of a video
 * @returns {Promise<{ selection: Selection | null, refused: Unreadable[] }>}
 */
export async function select(files, example, frames) {
  const video = files.find(({ type }) => type.startsWith("video/")) ?? null;
  /** @type {Unreadable[]} */
  const refused = [];
  let given = files;
  if (video) {
    try {
      given = await sampleFrames(video, frames);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return { selection: null, refused: [new Unreadable(say("picture.video", { reason }), "picture-undecodable")] };
    }
  }
  /** @type {Picture[]} */
  const pictures = [];
  // One after the other: a large picture takes a good deal of memory while it is drawn.
  for (const file of given) {
    try {
      pictures.push(await readPicture(file));
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      refused.push(error);
    }
  }
  const selection = pictures.length
    ? await selectionOf(pictures, { alt: example?.alt, questions: example?.questions, own: example === null, video })
    : null;
  return { selection, refused };
}

/** @param {Uint8Array} bytes @returns {Promise<string>} */
async function sha256(bytes) {
  // Absent where the page came over plain http; nothing is answered there either.
  if (!crypto.subtle) return crypto.randomUUID?.() ?? String(Math.random());
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", /** @type {Uint8Array<ArrayBuffer>} */ (bytes)));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
