/**
 * The picture's panel: drop, paste, choose, photograph, or take an example; one picture, several,
 * or frames of a video. Shows them, and what the model made of them.
 *
 * In: `onPictures(files, example)` with the bytes of each file as it came, undecoded: the engine
 * decodes it, so that it sees exactly what the command line would see. `onShow(index, aspect)`
 * when another one of them is shown.
 */
import { byId, make, showError } from "./dom.js";
import * as format from "./format.js";
import { sampleFrames } from "./video.js";

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
  #strip = byId("strip", HTMLElement);
  #note = byId("picture-note", HTMLElement);
  #error = byId("picture-error", HTMLElement);
  #frames = byId("frames", HTMLInputElement);
  #framesChoice = byId("frames-choice", HTMLElement);
  #handlers;
  /** Of the pictures that are shown. @type {string[]} */
  #addresses = [];
  #index = 0;
  #alt = "";
  /** Most pictures of a question, once the engine told. */
  #most = Infinity;
  /** The video that the pictures are frames of. @type {Blob | null} */
  #video = null;
  /** Counts what was given, so that a slow video does not replace a later picture. */
  #given = 0;

  /** @param {{ onPictures: (files: Uint8Array[], example: Example | null) => void, onShow: (index: number, aspect: number) => void }} handlers */
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
    this.#frames.addEventListener("change", () => this.#video && void this.#take([this.#video], null));
    this.#image.addEventListener("error", () => this.#showImage(false));
    this.#image.addEventListener("load", () => handlers.onShow(this.#index, this.#image.naturalWidth / this.#image.naturalHeight));
    this.#listenForDrops();
    document.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (!files.length) return; // text: let it go where the cursor is
      event.preventDefault();
      void this.#take(files, null);
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

  /** @param {number} most pictures of a question */
  limit(most) {
    this.#most = most;
    this.#frames.max = String(most);
    this.#frames.disabled = false;
  }

  /** The addresses of the pictures, for small copies of them. */
  get addresses() {
    return this.#image.hidden ? [] : [...this.#addresses];
  }

  /** @param {string} text */
  note(text) {
    this.#note.textContent = text;
    showError(this.#error, null);
  }

  /** @param {import("../engine/protocol.js").PictureInfo[]} infos */
  looked(infos) {
    const sizes = [...new Set(infos.map(({ width, height }) => `${width} × ${height}`))];
    const count = infos.length > 1 ? [format.count(infos.length, this.#video ? "frame" : "picture")] : [];
    const milliseconds = infos.reduce((sum, info) => sum + info.preprocessMs + info.visionMs, 0);
    this.note([...count, ...(sizes.length === 1 ? sizes : []), `looked at in ${format.duration(milliseconds)}`].join(" · "));
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
      void this.#take([...(event.dataTransfer?.files ?? [])], null);
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
      await this.#take([await response.blob()], example);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.failed({ code: "network", message: `Could not fetch ${url}: ${reason}` });
    }
  }

  /**
   * @param {Blob[]} files pictures, or a video
   * @param {Example | null} example
   */
  async #take(files, example) {
    if (!files.length) return;
    const given = ++this.#given;
    const video = files.find(({ type }) => type.startsWith("video/")) ?? null;
    let pictures = files;
    if (video) {
      this.note("Taking frames out of the video …");
      const frames = this.#frames.valueAsNumber;
      try {
        pictures = await sampleFrames(video, Math.min(this.#most, Math.max(1, Math.round(frames) || 1)));
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        if (given === this.#given) this.failed({ code: "picture-undecodable", message: `The video could not be read: ${reason}. Choose another file, or take pictures out of it.` });
        return;
      }
    } else if (files.length > this.#most) {
      return this.failed({ code: "option-invalid", message: `These are ${files.length} pictures; at most ${this.#most} go together.` });
    }
    const bytes = await Promise.all(pictures.map(async (file) => new Uint8Array(await file.arrayBuffer())));
    if (given !== this.#given) return;
    // Addresses of earlier pictures stay alive: the chat still shows them.
    this.#addresses = pictures.map((file) => URL.createObjectURL(file));
    this.#alt = example?.alt ?? "The picture you gave";
    this.#video = video;
    this.#framesChoice.hidden = video === null;
    this.#showStrip();
    this.#show(0);
    this.#handlers.onPictures(bytes, example);
  }

  #showStrip() {
    const items = this.#addresses.map((address, index) => {
      const button = make("button", "example");
      button.type = "button";
      const image = make("img", "");
      image.src = address;
      image.alt = `${this.#video ? "Frame" : "Picture"} ${index + 1}`;
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
    this.#image.src = this.#addresses[index] ?? "";
    const count = this.#addresses.length;
    this.#image.alt = count > 1 ? `${this.#video ? "Frame" : "Picture"} ${index + 1} of ${count}` : this.#alt;
    for (const [at, button] of this.#strip.querySelectorAll("button").entries()) {
      button.setAttribute("aria-pressed", String(at === index));
    }
    this.#showImage(true);
  }

  /** @param {boolean} visible */
  #showImage(visible) {
    this.#image.hidden = !visible;
    this.#invitation.hidden = visible;
  }
}
