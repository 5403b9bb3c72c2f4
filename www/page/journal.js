/**
 * Keeps the chat of this tab and its pictures, so that a reload, or a tab that the system threw
 * away, loses nothing. All of it stays in this browser, within a budget in bytes, and goes after a
 * week, with "New chat" or with "Delete all".
 *
 * Each tab has a chat of its own (`tab.js` tells which one this is); a duplicated tab goes on with
 * a copy. Where the browser denies storage nothing is kept, and the page works as ever.
 *
 * What is read back may be another version's: what has not the expected shape counts as absent.
 */
import { openDatabase, settled, written } from "./database.js";
import { whichTab } from "./tab.js";
import { isTold } from "./told.js";

/** @typedef {import("./told.js").Told} Told */
/** @typedef {import("./selection.js").Selection} Selection */
/** @typedef {import("./any_picture.js").Picture} Picture */

/**
 * @typedef {object} Shown the selection that questions are about
 * @property {string[]} hashes
 * @property {string} alt
 * @property {string[]} questions
 * @property {boolean} own
 *
 * @typedef {{ hash: string, file: Blob, name: string, notes: string[], drawn: boolean }} KeptPicture
 * @typedef {{ tab: string, changed: number, shown: Shown | null }} Tab
 */

const DATABASE = "instructblip-chats";
const STORES = /** @type {const} */ (["tabs", "turns", "pictures"]);
const KEYS = { tabs: "tab", turns: ["tab", "number"], pictures: "hash" };
/** Of all pictures of all tabs. */
const MOST_BYTES = 64e6;
const MOST_AGE_MS = 7 * 24 * 3600e3;
/** A token's worth of writing waits this long for the next. */
const PAUSE_MS = 250;
/** A database that does not open in this time is done without. */
const PATIENCE_MS = 5000;

export class Journal {
  /** @type {IDBDatabase | null} */
  #database = null;
  #tab = "";
  /** @type {Map<number, Told>} turns to be written */
  #unwritten = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Writes come one after the other. @type {Promise<unknown>} */
  #writing = Promise.resolve();
  /** @type {Shown | null} */
  #shown = null;

  /** @returns {Promise<Journal>} which may be one that keeps nothing */
  static async open() {
    const journal = new Journal();
    addEventListener("pagehide", () => journal.#flush());
    const late = new Promise((_, reject) => setTimeout(reject, PATIENCE_MS));
    await Promise.race([journal.#open(), late]).catch(() => (journal.#database = null));
    return journal;
  }

  async #open() {
    this.#database = await openDatabase(DATABASE, KEYS);
    await this.#claim();
    await this.#forgetOld();
  }

  /** Whether anything is kept. */
  get keeps() {
    return this.#database !== null;
  }

  /**
   * What this tab had before it was loaded anew.
   *
   * @returns {Promise<{ turns: Told[], shown: Shown | null, pictures: Map<string, Picture> }>}
   */
  async restore() {
    /** @type {Map<string, Picture>} */
    const pictures = new Map();
    try {
      const turns = (await this.#all("turns", this.#ofTab())).map(({ told }) => told).filter(isTold);
      const tab = await this.#get("tabs", this.#tab);
      const shown = isShown(tab?.shown) ? tab.shown : null;
      this.#shown = shown;
      for (const hash of new Set([...turns.flatMap(({ pictures }) => pictures), ...(shown?.hashes ?? [])])) {
        const kept = await this.#get("pictures", hash);
        if (isPicture(kept)) pictures.set(hash, kept);
      }
      return { turns: turns.sort((a, b) => a.number - b.number), shown, pictures };
    } catch {
      return { turns: [], shown: null, pictures };
    }
  }

  /** @param {Told} told as it stands; it may change and be given again */
  keepTurn(told) {
    this.#unwritten.set(told.number, told);
    this.#timer ??= setTimeout(() => this.#flush(), PAUSE_MS);
  }

  /** @param {number} number of a turn that was none */
  dropTurn(number) {
    this.#unwritten.delete(number);
    void this.#write(["turns"], (stores) => void stores.turns.delete([this.#tab, number]));
  }

  /** @param {Selection | null} selection that questions are about from now on */
  keepSelection(selection) {
    this.#shown = selection && { hashes: selection.hashes, alt: selection.alt, questions: selection.questions, own: selection.own };
    const pictures = selection?.pictures.map(({ file, name, notes, drawn }, at) => ({ hash: selection.hashes[at] ?? "", file, name, notes, drawn })) ?? [];
    const bytes = pictures.reduce((sum, { file }) => sum + file.size, 0);
    void this.#write(["tabs", "pictures"], (stores) => {
      stores.tabs.put(this.#tabNow());
      if (bytes <= MOST_BYTES) for (const picture of pictures) stores.pictures.put(picture);
    }).then(() => this.#prune());
  }

  /** Forgets the chat of this tab. */
  async clear() {
    this.#drop();
    await this.#write(["tabs", "turns"], (stores) => {
      stores.tabs.delete(this.#tab);
      stores.turns.delete(this.#ofTab());
    });
    await this.#prune();
  }

  /** Forgets the chats of all tabs. */
  async clearAll() {
    this.#drop();
    await this.#write([...STORES], (stores) => STORES.forEach((name) => void stores[name].clear()));
  }

  #drop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#unwritten.clear();
    this.#shown = null;
  }

  #flush() {
    this.#timer = undefined;
    const turns = [...this.#unwritten.values()];
    this.#unwritten.clear();
    if (!turns.length) return;
    void this.#write(["tabs", "turns"], (stores) => {
      stores.tabs.put(this.#tabNow());
      for (const told of turns) stores.turns.put({ tab: this.#tab, number: told.number, told });
    });
  }

  /** @returns {Tab} */
  #tabNow() {
    return { tab: this.#tab, changed: Date.now(), shown: this.#shown };
  }

  #ofTab(tab = this.#tab) {
    return IDBKeyRange.bound([tab, -Infinity], [tab, Infinity]);
  }

  /** Finds out which tab this is; a duplicate goes on with a copy. From now on its week counts. */
  async #claim() {
    const { tab, copyOf } = await whichTab();
    this.#tab = tab;
    const from = copyOf ?? tab;
    const [kept, turns] = await Promise.all([this.#get("tabs", from), this.#all("turns", this.#ofTab(from))]);
    await this.#write(["tabs", "turns"], (stores) => {
      if (kept) stores.tabs.put({ ...kept, tab, changed: Date.now() });
      if (copyOf !== null) for (const turn of turns) stores.turns.put({ ...turn, tab });
    });
  }

  /** Chats of a week ago, and pictures that no chat has. */
  async #forgetOld() {
    const old = (await this.#all("tabs")).filter(({ tab, changed }) => tab !== this.#tab && !(changed > Date.now() - MOST_AGE_MS));
    await this.#forget(old);
    await this.#prune();
  }

  /** @param {Tab[]} tabs */
  async #forget(tabs) {
    await this.#write(["tabs", "turns"], (stores) => {
      for (const { tab } of tabs) {
        stores.tabs.delete(tab);
        stores.turns.delete(this.#ofTab(tab));
      }
    });
  }

  /** Keeps within the budget: other tabs' chats go first, the oldest of them first, then this one's oldest pictures. */
  async #prune() {
    if (!this.#database) return;
    const [pictures, turns, tabs] = await Promise.all([this.#all("pictures"), this.#all("turns"), this.#all("tabs")]);
    const sizes = new Map(pictures.map(({ hash, file }) => [String(hash), Number(file?.size) || 0]));
    /** What each tab needs, the most recent first. @type {string[]} */
    const wanted = [];
    const own = (/** @type {Tab} */ { tab }) => Number(tab === this.#tab);
    for (const tab of tabs.sort((a, b) => own(b) - own(a) || b.changed - a.changed)) {
      const asked = turns.filter((turn) => turn.tab === tab.tab).sort((a, b) => b.number - a.number);
      wanted.push(...(tab.shown?.hashes ?? []), ...asked.flatMap(({ told }) => told?.pictures ?? []));
    }
    let left = MOST_BYTES;
    const kept = new Set([...new Set(wanted)].filter((hash) => (left -= sizes.get(hash) ?? 0) >= 0));
    await this.#write(["pictures"], (stores) => {
      for (const hash of sizes.keys()) if (!kept.has(hash)) stores.pictures.delete(hash);
    });
  }

  /** @param {typeof STORES[number]} store @param {IDBValidKey} key @returns {Promise<any>} */
  #get(store, key) {
    return this.#read(store, (objects) => objects.get(key));
  }

  /** @param {typeof STORES[number]} store @param {IDBKeyRange} [range] @returns {Promise<any[]>} */
  async #all(store, range) {
    return (await this.#read(store, (objects) => objects.getAll(range))) ?? [];
  }

  /**
   * @param {typeof STORES[number]} store
   * @param {(objects: IDBObjectStore) => IDBRequest} ask
   */
  async #read(store, ask) {
    await this.#writing;
    return this.#database && settled(ask(this.#database.transaction(store).objectStore(store)));
  }

  /**
   * @param {typeof STORES[number][]} names
   * @param {(stores: Record<typeof STORES[number], IDBObjectStore>) => void} change
   */
  #write(names, change) {
    const write = this.#writing.then(() => this.#database && written(this.#database, names, change));
    this.#writing = write.catch(() => {}); // denied or full: the page works without
    return this.#writing;
  }
}

/** @param {any} value @returns {value is Shown} */
function isShown(value) {
  const texts = (/** @type {unknown} */ list) => Array.isArray(list) && list.every((text) => typeof text === "string");
  return texts(value?.hashes) && value.hashes.length > 0 && texts(value.questions) && typeof value.alt === "string" && typeof value.own === "boolean";
}

/** @param {any} value @returns {value is KeptPicture} */
function isPicture(value) {
  const notes = Array.isArray(value?.notes) && value.notes.every((/** @type {unknown} */ note) => typeof note === "string");
  return notes && value.file instanceof Blob && typeof value.name === "string" && typeof value.drawn === "boolean";
}
