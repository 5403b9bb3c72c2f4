/**
 * The pictures of this chat, by their hashes: those that were given since the page was opened, and
 * those that were kept. A turn names its pictures and finds them here.
 */
import { selectionOf } from "./selection.js";

/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./any_picture.js").Picture} Picture */

export class Library {
  /** @type {Map<string, Selection>} */
  #selections = new Map();
  /** @type {Map<string, { picture: Picture, address: string }>} */
  #pictures = new Map();

  /** @param {Selection} selection */
  add(selection) {
    this.#selections.set(selection.key, selection);
    for (const [at, hash] of selection.hashes.entries()) {
      const [picture, address] = [selection.pictures[at], selection.addresses[at]];
      if (picture && address) this.#pictures.set(hash, { picture, address });
    }
  }

  /** @param {Map<string, Picture>} kept by their hashes */
  addKept(kept) {
    for (const [hash, picture] of kept) this.#pictures.set(hash, { picture, address: URL.createObjectURL(picture.file) });
  }

  /**
   * @param {string[]} hashes
   * @returns {string[]} addresses of those that are there
   */
  addresses(hashes) {
    return hashes.flatMap((hash) => this.#pictures.get(hash)?.address ?? []);
  }

  /**
   * @param {string[]} hashes
   * @param {{ own: boolean, alt?: string, questions?: string[] }} about
   * @returns {Promise<Selection | null>} null where one of them was not kept
   */
  async find(hashes, about) {
    const known = this.#selections.get(hashes.join());
    if (known) return known;
    const pictures = hashes.flatMap((hash) => this.#pictures.get(hash)?.picture ?? []);
    if (!hashes.length || pictures.length < hashes.length) return null;
    const selection = await selectionOf(pictures, about);
    // Something else than what was kept under that name is not shown under it.
    if (selection.key !== hashes.join()) return null;
    this.add(selection);
    return selection;
  }

  /** Forgets all of them. */
  clear() {
    this.#selections.clear();
    this.#pictures.clear();
  }
}
