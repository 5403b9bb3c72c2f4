/**
 * What becomes of a file that somebody gave as a picture, before anything is replaced by it: it is
 * taken as it is where the engine's own decoder reads it, drawn by the browser where only that can,
 * or refused with a sentence that names the file.
 *
 * A picture is loaded as an `<img>` from a `blob:` address and in no other way: so an SVG runs no
 * script and loads nothing. The engine gets undecoded bytes wherever it can, so that it sees what
 * the command line would see.
 */
import { say } from "./words.js";

/** As in `src/image/decode.rs`. */
const MOST_PIXELS = 50e6;
/** More would take the browser half a gigabyte to draw. */
const MOST_DRAWN_PIXELS = 120e6;
/** Longest side of what the browser draws; models look at a few hundred pixels. */
const DRAWN_SIDE = 2048;
/** Sizes of an SVG that names none. */
const VECTOR_SIDE = 1024;
const PATIENCE_MS = 20_000;

/**
 * @typedef {object} Picture
 * @property {Blob} file as the engine gets it
 * @property {string} name of the file, or empty
 * @property {string[]} notes what was done to it
 * @property {boolean} drawn whether the browser drew it
 */

/** A file that is no picture here; its message is a sentence for the visitor. */
export class Unreadable extends Error {
  /** @param {string} sentence @param {import("../engine/errors.js").ErrorCode} code */
  constructor(sentence, code) {
    super(sentence);
    this.code = code;
  }
}

/**
 * @param {Blob} file
 * @param {string} [name]
 * @returns {Promise<Picture>}
 * @throws {Unreadable}
 */
export async function readPicture(file, name = file instanceof File ? file.name : "") {
  const called = name ? say("file.named", { name }) : say("file.unnamed");
  if (file.size === 0) throw new Unreadable(say("file.empty", { file: called }), "picture-empty");
  let kind = "unknown";
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    kind = kindOf(bytes);
    if (kind === "pdf" || kind === "zip") throw new Unreadable(say(`file.${kind}`, { file: called }), "picture-undecodable");
    if (isCut(kind, bytes)) throw new Unreadable(say("file.cut", { file: called }), "picture-undecodable");
    const typed = new Blob([bytes], { type: TYPES[kind] ?? file.type });
    return await withImage(typed, async (image) => {
      const { naturalWidth: width, naturalHeight: height } = image;
      if (width * height > MOST_DRAWN_PIXELS) throw new Unreadable(say("file.large", { file: called, width, height }), "picture-too-large");
      if (!NATIVE.has(kind) || width * height > MOST_PIXELS) return { ...(await draw(image, kind)), name };
      const frames = await framesOf(bytes, typed.type);
      const notes = frames > 1 ? [say("file.firstFrame", { count: frames })] : [];
      return { file: typed, name, notes: [...notes, ...shape(width, height)], drawn: false };
    });
  } catch (error) {
    if (error instanceof Unreadable) throw error;
    throw new Unreadable(say(kind === "heic" ? "file.heic" : "file.unknown", { file: called }), "picture-undecodable");
  }
}

/**
 * A picture that the engine refused after all, drawn by the browser.
 *
 * @param {Picture} picture
 * @returns {Promise<Picture>}
 */
export async function redraw(picture) {
  return withImage(picture.file, async (image) => ({ ...(await draw(image, "other")), name: picture.name }));
}

/** Formats that the engine decodes. */
const NATIVE = new Set(["png", "jpeg", "webp", "gif", "bmp"]);
/** So that the browser takes the file for what it is, whatever its name says. @type {Record<string, string>} */
const TYPES = { png: "image/png", jpeg: "image/jpeg", webp: "image/webp", gif: "image/gif", bmp: "image/bmp", svg: "image/svg+xml", avif: "image/avif", heic: "image/heic" };

/**
 * What a file is, by its first bytes.
 *
 * @param {Uint8Array} bytes
 * @returns {string} one of {@link TYPES}, `pdf`, `zip`, or `unknown`
 */
export function kindOf(bytes) {
  const start = String.fromCharCode(...bytes.subarray(0, 64));
  if (start.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (start.startsWith("\xff\xd8\xff")) return "jpeg";
  if (start.startsWith("GIF8")) return "gif";
  if (start.startsWith("BM")) return "bmp";
  if (start.startsWith("RIFF") && start.slice(8, 12) === "WEBP") return "webp";
  if (start.startsWith("%PDF")) return "pdf";
  if (start.startsWith("PK\x03\x04")) return "zip";
  if (start.slice(4, 8) === "ftyp") {
    const brands = start.slice(8, Math.max(12, bytes[3] ?? 0));
    if (/avi[fs]/.test(brands)) return "avif";
    if (/hei[cxms]|hev[cx]|mif1|msf1/.test(brands)) return "heic";
  }
  return isSvg(new TextDecoder().decode(bytes.subarray(0, 4096))) ? "svg" : "unknown";
}

/**
 * Whether the first element is an `svg`. Step by step: as one pattern, a file of comments alone would take for ever.
 *
 * @param {string} text
 */
function isSvg(text) {
  let rest = text.trimStart();
  for (let before = /^(?:<\?xml|<!DOCTYPE svg|<!--)/i.exec(rest); before; before = /^(?:<\?xml|<!DOCTYPE svg|<!--)/i.exec(rest)) {
    const close = before[0] === "<!--" ? "-->" : ">";
    const end = rest.indexOf(close, before[0].length);
    if (end < 0) return false;
    rest = rest.slice(end + close.length).trimStart();
  }
  return /^<svg[\s>]/i.test(rest);
}

/**
 * Whether the end of the file is missing; browsers draw such a file with a grey rest.
 *
 * @param {string} kind
 * @param {Uint8Array} bytes
 */
export function isCut(kind, bytes) {
  if (kind === "png") return !includes(bytes, [0x49, 0x45, 0x4e, 0x44], 8);
  if (kind === "webp") return new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true) + 8 > bytes.length;
  if (kind !== "jpeg") return false;
  let at = 2;
  // Segments before the scan are skipped: a thumbnail in them has an end of its own.
  while (bytes[at] === 0xff && bytes[at + 1] !== 0xda) at += 2 + 256 * (bytes[at + 2] ?? 0) + (bytes[at + 3] ?? 0);
  return !includes(bytes, [0xff, 0xd9], at);
}

/**
 * @param {Uint8Array} bytes
 * @param {number[]} pattern
 * @param {number} from
 */
function includes(bytes, pattern, from) {
  const [first = 0] = pattern;
  for (let at = bytes.indexOf(first, from); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (pattern.every((byte, offset) => bytes[at + offset] === byte)) return true;
  }
  return false;
}

/**
 * @template T
 * @param {Blob} file
 * @param {(image: HTMLImageElement) => Promise<T>} use
 * @returns {Promise<T>}
 */
async function withImage(file, use) {
  const address = URL.createObjectURL(file);
  const image = new Image();
  try {
    await new Promise((resolve, reject) => {
      image.addEventListener("load", resolve);
      image.addEventListener("error", reject);
      setTimeout(reject, PATIENCE_MS);
      image.src = address;
    });
    return await use(image);
  } finally {
    URL.revokeObjectURL(address);
  }
}

/**
 * @param {HTMLImageElement} image
 * @param {string} kind
 */
async function draw(image, kind) {
  const width = image.naturalWidth || VECTOR_SIDE;
  const height = image.naturalHeight || VECTOR_SIDE;
  const scale = kind === "svg" ? VECTOR_SIDE / Math.max(width, height) : Math.min(1, DRAWN_SIDE / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d");
  if (!context) throw new Error("no canvas");
  // The engine drops transparency, and what is behind it is black more often than not.
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  const file = await new Promise((/** @type {(blob: Blob | null) => void} */ done) => canvas.toBlob(done, "image/png"));
  if (!file) throw new Error("it cannot be copied");
  const notes = [say("file.redrawn")];
  if (scale < 1 && kind !== "svg") notes.push(say("file.smaller", { width, height }));
  return { file, notes: [...notes, ...shape(width, height)], drawn: true };
}

/**
 * @param {number} width
 * @param {number} height
 */
function shape(width, height) {
  return Math.max(width, height) > 3 * Math.min(width, height) ? [say("file.squeezed")] : [];
}

/**
 * Frames of an animation, where the browser tells; 1 where not.
 *
 * @param {Uint8Array} bytes
 * @param {string} type
 * @returns {Promise<number>}
 */
async function framesOf(bytes, type) {
  const Decoder = /** @type {any} */ (globalThis).ImageDecoder;
  if (!Decoder || !/gif|webp|png/.test(type)) return 1;
  try {
    const decoder = new Decoder({ data: bytes, type });
    await Promise.all([decoder.completed, decoder.tracks.ready]);
    const frames = decoder.tracks.selectedTrack?.frameCount ?? 1;
    decoder.close();
    return frames;
  } catch {
    return 1;
  }
}
