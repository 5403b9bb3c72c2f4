/**
 * What was before: the turns and pictures of this tab, kept through a reload, and the way back to
 * the pictures of a turn.
 */
import { cachedModels } from "../engine/store.js";
import { Journal } from "./journal.js";
import { Library } from "./library.js";

/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./told.js").Told} Told */

export class Past {
  #journal;
  #library = new Library();

  /** @param {Journal} journal */
  constructor(journal) {
    this.#journal = journal;
  }

  static async open() {
    return new Past(await Journal.open());
  }

  /** Whether a reload finds it again. */
  get keeps() {
    return this.#journal.keeps;
  }

  /** @param {Told} told as it stands */
  keepTurn(told) {
    this.#journal.keepTurn(told);
  }

  /** @param {number} number of a turn that was none */
  dropTurn(number) {
    this.#journal.dropTurn(number);
  }

  /** @param {Selection | null} selection that questions are about from now on */
  keepSelection(selection) {
    if (selection) this.#library.add(selection);
    this.#journal.keepSelection(selection);
  }

  /**
   * @param {Told} told
   * @returns {Promise<Selection | null>} its pictures, unless one of them is no longer there
   */
  picturesOf(told) {
    return this.#library.find(told.pictures, told);
  }

  /**
   * Puts back the chat of before a reload.
   *
   * @param {import("./chat.js").Chat} chat
   * @returns {Promise<Selection | null | undefined>} what questions were about; null where it is
   *   no longer there, undefined where there was nothing
   */
  async restore(chat) {
    const { turns, shown, pictures } = await this.#journal.restore();
    this.#library.addKept(pictures);
    chat.restore(turns, (hashes) => this.#library.addresses(hashes));
    return shown ? this.#library.find(shown.hashes, shown) : undefined;
  }

  /** @param {"this" | "all"} which chats are to be forgotten */
  async forget(which) {
    this.#library.clear();
    await (which === "all" ? this.#journal.clearAll() : this.#journal.clear());
  }
}

/**
 * Who answers, for the records.
 *
 * @param {string} url of the model's folder
 * @param {import("../engine/protocol.js").ModelInfo} info
 * @returns {Promise<import("./told.js").AskedModel>}
 */
export async function answererOf(url, { name, format }) {
  const folder = new URL(url, document.baseURI).href;
  const stored = (await cachedModels()).find((model) => model.url === folder);
  return { name, url: folder, format, sha256: stored?.sha256 ?? null };
}
