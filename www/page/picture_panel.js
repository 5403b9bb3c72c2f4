/**
 * The picture's panel: drop, paste, choose, photograph, or take an example; one picture, several,
 * or frames of a video. Shows them, and what the model made of them. What cannot be read replaces
 * nothing.
 *
 * In: `onSelection(selection)` when questions are about other pictures, `onShow(index, aspect)`
 * when another one of them is shown.
 */
import { redraw } from "./any_picture.js";
import { byId, make, showError } from "./dom.js";
import { listenForDrops } from "./drops.js";
import * as format from "./format.js";
import { select, selectionOf } from "./selection.js";
import { say } from "./words.js";

/**
 * @typedef {import("./selection.js").Example} Example
 * @typedef {import("./selection.js").Selection} Selection
 */

export class PicturePanel {
  #image = byId("picture", HTMLImageElement);
  #invitation = byId("invitation", HTMLElement);
  #strip = byId("strip", HTMLElement);
  #note = byId("picture-note", HTMLElement);
  #error = byId("picture-error", HTMLElement);
  #frames = byId("frames", HTMLInputElement);
  #framesChoice = byId("frames-choice", HTMLElement);
  #handlers;
  /** What is shown. @type {Selection | null} */
  #shown = null;
  /** What was shown before it, for the case that the engine cannot read it. @type {Selection | null} */
  #before = null;
  #index = 0;
  /** Most pictures of a question, once the engine told. */
  #most = Infinity;
  /** Counts what was given, so that a slow video does not replace a later picture. */
  #given = 0;

  /** @param {{ onSelection: (selection: Selection | null) => void, onShow: (index: number, aspect: number) => void }} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    for (const [button, input] of [["choose", "file"], ["photograph", "camera"]]) {
      const field = byId(input, HTMLInputElement);
      byId(button, HTMLButtonElement).addEventListener("click", () => field.click());
      field.addEventListener("change", () => {
        const files = [...(field.files ?? [])];
        field.value = ""; // so that choosing the same file again is a change
        void this.#take(files, null);
      });
    }
    this.#frames.addEventListener("change", () => this.#shown?.video && void this.#take([this.#shown.video], null));
    this.#image.addEventListener("error", () => this.#showImage(false));
    this.#image.addEventListener("load", () => this.#shown && handlers.onShow(this.#index, this.#image.naturalWidth / this.#image.naturalHeight));
    listenForDrops(byId("drop", HTMLElement), {
      onFiles: (files) => void this.#take(files, null),
      onAddress: () => this.complain("picture-undecodable", say("picture.address")),
    });
  }

  /**
   * Brings the buttons of index.html to life.
   *
   * @param {Example[]} examples in the order of the buttons
   */
  offerExamples(examples) {
    for (const [at, button] of byId("examples", HTMLElement).querySelectorAll("button").entries()) {
      const example = examples[at];
      if (example) button.addEventListener("click", () => void this.takeExample(example));
    }
  }

  /** Takes away the example of index.html, where no other picture took its place. */
  clear() {
    if (!this.#shown) this.#show(0);
  }

  /** @param {number} most pictures of a question */
  limit(most) {
    this.#most = most;
    this.#frames.max = String(most);
    this.#frames.disabled = false;
  }

  /** @param {string} text */
  note(text) {
    this.#note.textContent = text;
  }

  /** @param {import("../engine/protocol.js").PictureInfo[]} infos */
  looked(infos) {
    const sizes = [...new Set(infos.map(({ width, height }) => `${width} × ${height}`))];
    const count = infos.length > 1 ? [say(this.#shown?.video ? "picture.frameCount" : "picture.count", { count: infos.length })] : [];
    const done = [...new Set(this.#shown?.pictures.flatMap(({ notes }) => notes))];
    if (!this.#error.dataset.code?.startsWith("picture-")) showError(this.#error, null);
    const milliseconds = infos.reduce((sum, info) => sum + info.preprocessMs + info.visionMs, 0);
    this.note([...count, ...(sizes.length === 1 ? sizes : []), ...done, say("picture.looked", { time: format.duration(milliseconds) })].join(" · "));
  }

  /**
   * The model could not look at the pictures. Those that the engine cannot read are drawn by the
   * browser; if that was so already, what was shown before comes back.
   *
   * @param {import("../engine/protocol.js").PlainError} error
   */
  async failed(error) {
    this.#note.textContent = "";
    const refused = this.#shown;
    if (!refused || !error.code.startsWith("picture-")) return showError(this.#error, error);
    const redrawn = async () => selectionOf(await Promise.all(refused.pictures.map(redraw)), refused);
    const drawn = refused.pictures.every(({ drawn }) => drawn) ? null : await redrawn().catch(() => null);
    if (refused !== this.#shown) return;
    if (drawn) return this.#replace(drawn);
    const before = this.#before;
    this.bring(before);
    this.#before = null; // it is not tried over and over
    const name = refused.pictures.length === 1 && refused.pictures[0]?.name;
    const sentences = [...(name ? [`${say("file.named", { name })}:`] : []), error.message, ...(before ? [say("picture.kept")] : [])];
    this.complain(error.code, sentences.join(" "));
  }

  /**
   * @param {import("../engine/errors.js").ErrorCode} code
   * @param {string} message
   */
  complain(code, message) {
    showError(this.#error, { code, message });
  }

  /**
   * Shows pictures that were read before, or none.
   *
   * @param {Selection | null} selection
   */
  bring(selection) {
    this.#given++;
    this.#before = this.#shown;
    showError(this.#error, null);
    this.#replace(selection);
  }

  /** @param {Example} example */
  async takeExample(example) {
    const url = new URL(`../examples/${example.file}`, import.meta.url).href;
    try {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      await this.#take([await response.blob()], example);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.complain("network", say("picture.fetch", { url, reason }));
    }
  }

  /**
   * @param {Blob[]} files pictures, or a video
   * @param {Example | null} example
   */
  async #take(files, example) {
    if (!files.length) return;
    const given = ++this.#given;
    const note = this.#note.textContent ?? "";
    showError(this.#error, null);
    if (files.length > this.#most) {
      return this.complain("option-invalid", say("picture.many", { count: files.length, most: this.#most }));
    }
    const video = files.some(({ type }) => type.startsWith("video/"));
    this.note(say(video ? "picture.takingFrames" : "picture.reading"));
    const frames = Math.min(this.#most, Math.max(1, Math.round(this.#frames.valueAsNumber) || 1));
    const { selection, refused } = await select(files, example, frames);
    if (given !== this.#given) return;
    if (selection) this.bring(selection);
    else this.note(note);
    const [first] = refused;
    if (!first) return;
    const rest = selection ? [say("picture.leftOut")] : this.#shown ? [say("picture.kept")] : [];
    this.complain(first.code, [...refused.map(({ message }) => message), ...rest].join(" "));
  }

  /** @param {Selection | null} selection */
  #replace(selection) {
    this.#shown = selection;
    this.#framesChoice.hidden = !selection?.video;
    this.#showStrip();
    this.#show(0);
    if (!selection) this.note("");
    this.#handlers.onSelection(selection);
  }

  #showStrip() {
    const items = (this.#shown?.addresses ?? []).map((address, index) => {
      const button = make("button", "example");
      button.type = "button";
      const image = make("img", "");
      image.src = address;
      image.alt = say(this.#shown?.video ? "picture.frame" : "picture.one", { index: index + 1 });
      button.append(image);
      button.addEventListener("click", () => this.#show(index));
      const item = make("li", "");
      item.append(button);
      return item;
    });
    this.#strip.hidden = items.length < 2;
    this.#strip.replaceChildren(...items);
  }

  /** @param {number} index */
  #show(index) {
    this.#index = index;
    const { addresses = [], alt = "", video = null } = this.#shown ?? {};
    const address = addresses[index];
    if (address) this.#image.src = address;
    else this.#image.removeAttribute("src");
    this.#image.alt = addresses.length > 1 ? say(video ? "picture.frameOf" : "picture.oneOf", { index: index + 1, count: addresses.length }) : alt || say("picture.given");
    for (const [at, button] of this.#strip.querySelectorAll("button").entries()) {
      button.setAttribute("aria-pressed", String(at === index));
    }
    this.#showImage(address !== undefined);
  }

  /** @param {boolean} visible */
  #showImage(visible) {
    this.#image.hidden = !visible;
    this.#invitation.hidden = visible;
  }
}
