/**
 * The picture's panel: drop, paste, choose, photograph, or take an example; shows the picture
 * and what the model made of it.
 *
 * In: `onPicture(bytes, example)` with the bytes of the file as it came, undecoded: the engine decodes
 * it, so that it sees exactly what the command line would see.
 */
import { byId, make, showError } from "./dom.js";
import * as format from "./format.js";

/**
 * @typedef {object} Example
 * @property {string} file
 * @property {string} alt
 * @property {string[]} questions
 */

export class PicturePanel {
  #drop = byId("drop", HTMLElement);
  #image = byId("picture", HTMLImageElement);
  #invitation = byId("invitation", HTMLElement);
  #note = byId("picture-note", HTMLElement);
  #error = byId("picture-error", HTMLElement);
  #onPicture;
  #address = "";

  /** @param {(bytes: Uint8Array, example: Example | null) => void} onPicture */
  constructor(onPicture) {
    this.#onPicture = onPicture;
    for (const [button, input] of [["choose", "file"], ["photograph", "camera"]]) {
      const field = byId(input, HTMLInputElement);
      byId(button, HTMLButtonElement).addEventListener("click", () => field.click());
      field.addEventListener("change", () => {
        const file = field.files?.[0];
        field.value = ""; // so that choosing the same file again is a change
        if (file) void this.#take(file, null);
      });
    }
    this.#image.addEventListener("error", () => this.#showImage(false));
    this.#listenForDrops();
    document.addEventListener("paste", (event) => {
      const file = event.clipboardData?.files[0];
      if (!file) return; // text: let it go where the cursor is
      event.preventDefault();
      void this.#take(file, null);
    });
  }

  /** @param {Example[]} examples */
  showExamples(examples) {
    const list = byId("examples", HTMLElement);
    for (const example of examples) {
      const button = make("button", "example");
      button.type = "button";
      const image = make("img", "");
      image.src = new URL(`../examples/${example.file}`, import.meta.url).href;
      image.alt = example.alt;
      image.width = image.height = 64;
      button.append(image);
      button.addEventListener("click", () => void this.#takeExample(image.src, example));
      const item = make("li", "");
      item.append(button);
      list.append(item);
    }
  }

  /** The address of the shown picture, for small copies of it. */
  get address() {
    return this.#image.hidden ? "" : this.#address;
  }

  /** @param {string} text */
  note(text) {
    this.#note.textContent = text;
    showError(this.#error, null);
  }

  /** @param {import("../engine/protocol.js").PictureInfo} info */
  looked(info) {
    this.note(`${info.width} × ${info.height} · looked at in ${format.duration(info.preprocessMs + info.visionMs)}`);
  }

  /** @param {import("../engine/protocol.js").PlainError} error */
  failed(error) {
    this.#note.textContent = "";
    showError(this.#error, error);
  }

  #listenForDrops() {
    // Anywhere on the page counts: a near miss must not navigate away from the chat.
    let depth = 0;
    const hasFile = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
    const mark = (/** @type {number} */ by) => {
      depth = by === 0 ? 0 : Math.max(0, depth + by);
      this.#drop.classList.toggle("over", depth > 0);
    };
    document.addEventListener("dragenter", (event) => hasFile(event) && mark(1));
    document.addEventListener("dragleave", (event) => hasFile(event) && mark(-1));
    document.addEventListener("dragover", (event) => hasFile(event) && event.preventDefault());
    document.addEventListener("drop", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      mark(0);
      const file = event.dataTransfer?.files[0];
      if (file) void this.#take(file, null);
    });
  }

  /**
   * @param {string} url
   * @param {Example} example
   */
  async #takeExample(url, example) {
    try {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      await this.#take(await response.blob(), example);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.failed({ code: "network", message: `Could not fetch ${url}: ${reason}` });
    }
  }

  /**
   * @param {Blob} file
   * @param {Example | null} example
   */
  async #take(file, example) {
    const bytes = new Uint8Array(await file.arrayBuffer());
    // Addresses of earlier pictures stay alive: the chat still shows them.
    this.#address = URL.createObjectURL(file);
    this.#image.src = this.#address;
    this.#image.alt = example?.alt ?? "The picture you gave";
    this.#showImage(true);
    this.#onPicture(bytes, example);
  }

  /** @param {boolean} visible */
  #showImage(visible) {
    this.#image.hidden = !visible;
    this.#invitation.hidden = visible;
  }
}
