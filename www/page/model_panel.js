/**
 * The model's panel: which model is loaded, its loading bar with Cancel, and the picker.
 *
 * In: `onLoad(url, name)` when the visitor asks for a model, `onCancel()` while one loads, `link()`,
 * the page's address with the model that is loaded.
 * Out: methods that show each state.
 */
import { keepStorage } from "../engine/store.js";
import { Unfit } from "./addresses.js";
import { byId, handFocus, showError } from "./dom.js";
import * as format from "./format.js";
import { shareOf } from "./loading.js";
import { StoredModels } from "./stored_models.js";
import { say } from "./words.js";

/** What is there on every page. */
const POCKET = "./pocket/";

/** From here on the browser is asked not to clear its storage by itself; some ask the visitor. */
const LARGE_BYTES = 256e6;

/** @typedef {import("../engine/protocol.js").Progress} Progress */
/** @typedef {import("../engine/protocol.js").PlainError} PlainError */

export class ModelPanel {
  #name = byId("model-name", HTMLElement);
  #state = byId("model-state", HTMLElement);
  #change = byId("model-change", HTMLButtonElement);
  #loading = byId("loading", HTMLElement);
  #bar = byId("loading-bar", HTMLProgressElement);
  #text = byId("loading-text", HTMLElement);
  #cancel = byId("loading-cancel", HTMLButtonElement);
  #warning = byId("model-warning", HTMLElement);
  #error = byId("model-error", HTMLElement);
  #again = byId("model-again", HTMLButtonElement);
  /** The way out of a model that cannot be had. */
  #instead = byId("model-instead", HTMLButtonElement);
  #proposal = byId("model-proposal", HTMLElement);
  #link = byId("model-link", HTMLButtonElement);
  #knows = byId("model-knows", HTMLElement);
  #picker = byId("model-picker", HTMLFormElement);
  #url = byId("model-url", HTMLInputElement);
  #stored;
  #askedToKeep = false;
  /** @type {string} */
  #loadedName = "";
  /** Announced to screen readers at every tenth only. */
  #announced = -1;
  #isPocket = true;
  #fromStorage = false;

  /** @param {{ link: () => string, onLoad: (url: string) => void, onCancel: () => void, onAgain: () => void }} handlers */
  constructor(handlers) {
    this.#cancel.addEventListener("click", handlers.onCancel);
    this.#again.addEventListener("click", handlers.onAgain);
    this.#instead.addEventListener("click", () => {
      this.#openPicker(false);
      handlers.onLoad(POCKET);
    });
    this.#link.addEventListener("click", async () => {
      const done = await navigator.clipboard?.writeText(handlers.link()).then(() => true, () => false);
      this.#link.textContent = say(done ? "turn.copied" : "turn.notCopied");
    });
    this.#change.addEventListener("click", () => this.#openPicker(this.#picker.hidden));
    byId("model-pick-cancel", HTMLButtonElement).addEventListener("click", () => {
      this.#openPicker(false);
    });
    this.#url.addEventListener("focus", () => (byId("model-other", HTMLInputElement).checked = true));
    this.#picker.addEventListener("submit", (event) => {
      event.preventDefault();
      const other = byId("model-other", HTMLInputElement).checked;
      const url = other ? this.#url.value.trim() : POCKET;
      if (!url) return this.#url.focus();
      this.#openPicker(false);
      handlers.onLoad(url);
    });
    this.#stored = new StoredModels((url) => {
      this.#openPicker(false);
      handlers.onLoad(url);
    });
  }

  /**
   * Opens the picker with an address filled in: a link proposes a model, a person decides.
   *
   * @param {string} url
   * @param {unknown} problem why it cannot be loaded, or null
   */
  propose(url, problem) {
    this.#url.value = url;
    byId("model-other", HTMLInputElement).checked = true;
    if (!this.#loadedName) {
      this.#name.textContent = say("model.none");
      this.#state.textContent = "";
      this.#loading.hidden = true;
      this.#instead.hidden = false;
    }
    this.openPicker();
    this.#proposal.hidden = problem !== null;
    this.#proposal.textContent = problem === null ? say("model.proposal", { host: new URL(url, document.baseURI).host }) : "";
    const message = problem instanceof Unfit ? say(problem.key, problem.params) : String(problem);
    showError(this.#error, problem === null ? null : { code: "option-invalid", message });
  }

  /** @param {string} knowledge what the model says of itself, or empty */
  describe(knowledge) {
    this.#knows.hidden = !knowledge;
    if (this.#knows.textContent !== knowledge) this.#knows.textContent = knowledge;
  }

  /** Lets the visitor choose another model. */
  openPicker() {
    this.#openPicker(true);
  }

  /** @param {string} url */
  startLoading(url) {
    this.#loadedName = nameOf(url);
    this.#isPocket = url === POCKET || url === new URL(POCKET, document.baseURI).href;
    this.#fromStorage = false;
    this.describe("");
    this.#proposal.hidden = this.#instead.hidden = true;
    this.#announced = -1;
    this.#name.textContent = this.#loadedName;
    this.#state.textContent = say("model.opening");
    this.#state.dataset.state = "loading";
    this.#loading.hidden = false;
    handFocus(this.#again, this.#cancel);
    this.#bar.removeAttribute("value");
    this.#text.textContent = say("model.reading");
    this.#again.hidden = true;
    showError(this.#error, null);
    this.#warn(null);
  }

  /** @param {Progress} progress */
  progress(progress) {
    const { phase, loaded, total } = progress;
    if (progress.warning) this.#warn(progress.warning);
    if (phase === "manifest" || total === 0) return;
    this.#fromStorage = progress.fromCache >= total;
    const share = shareOf(progress);
    if (share === null) this.#bar.removeAttribute("value");
    else this.#bar.value = share;
    this.#text.textContent = describe(progress);
    if (phase === "download" && total > LARGE_BYTES && !this.#askedToKeep) {
      this.#askedToKeep = true;
      void keepStorage();
    }
    const tenth = Math.floor((10 * loaded) / total);
    if (tenth > this.#announced) {
      this.#announced = tenth;
      this.#state.textContent = tenth === 0 ? say("model.opening") : say("model.openingShare", { share: tenth * 10 });
    }
  }

  /** @param {import("../engine/protocol.js").ModelInfo} info */
  ready(info) {
    handFocus(this.#cancel, this.#change);
    this.#loading.hidden = true;
    const facts = [say("model.ready"), info.format, say("model.parameters", { number: format.parameters(info.parameters) }), format.bytes(info.bytes)];
    if (this.#fromStorage) facts.push(say("model.fromStorage"));
    this.#name.textContent = info.name || this.#loadedName;
    this.#state.textContent = facts.join(" · ");
    this.#state.dataset.state = "ready";
  }

  /**
   * @param {PlainError} error
   * @param {boolean} again whether loading it again may help
   */
  failed(error, again) {
    this.#state.textContent = say(error.code === "cancelled" ? "model.notLoaded" : "model.failed");
    this.#state.dataset.state = "failed";
    showError(this.#error, error.code === "cancelled" ? null : error);
    this.#again.hidden = !again;
    this.#instead.hidden = this.#isPocket;
    handFocus(this.#cancel, again ? this.#again : this.#change);
    this.#loading.hidden = true;
  }

  /**
   * The engine went away and is being rebuilt; the sentence stays while that happens.
   *
   * @param {PlainError} error
   */
  lost(error) {
    showError(this.#error, error);
  }

  /** @returns {boolean} whether it was open */
  closePicker() {
    const open = !this.#picker.hidden;
    this.#openPicker(false);
    return open;
  }

  /** @param {boolean} open */
  #openPicker(open) {
    if (!open) handFocus(this.#picker, this.#change);
    this.#picker.hidden = !open;
    this.#change.setAttribute("aria-expanded", String(open));
    this.#link.hidden = !this.#loadedName || !navigator.clipboard;
    this.#link.textContent = say("model.link");
    this.#proposal.hidden = true;
    if (!open) return;
    /** @type {HTMLElement | null} */ (this.#picker.querySelector("input:checked"))?.focus();
    void this.#stored.show();
  }

  /** @param {string | null} warning */
  #warn(warning) {
    this.#warning.hidden = warning === null;
    this.#warning.textContent = warning ?? "";
  }
}

/**
 * A line for the loading bar.
 *
 * @param {Progress} progress
 * @returns {string}
 */
function describe({ phase, loaded, total, fromCache, bytesPerSecond, secondsLeft, compiled, pipelines }) {
  if (loaded >= total) {
    return compiled < pipelines
      ? say("model.compiling", { total: format.bytes(total), compiled, pipelines })
      : say("model.preparing", { total: format.bytes(total) });
  }
  const parts = [say(phase === "cache" ? "model.bytesStored" : "model.bytes", { loaded: format.bytes(loaded), total: format.bytes(total) })];
  if (bytesPerSecond > 0) parts.push(say("model.rate", { bytes: format.bytes(bytesPerSecond) }));
  if (secondsLeft !== null) parts.push(say("model.left", { time: format.countdown(secondsLeft) }));
  if (phase === "download" && fromCache > 0) parts.push(say("model.hadBytes", { bytes: format.bytes(fromCache) }));
  return parts.join(" · ");
}

/**
 * The last folder of an address, for want of a better name until the model tells its own.
 *
 * @param {string} url
 * @returns {string}
 */
function nameOf(url) {
  const folders = new URL(url, document.baseURI).pathname.split("/").filter(Boolean);
  return decodeURIComponentSafely(folders.at(-1) ?? "model");
}

/** @param {string} text */
function decodeURIComponentSafely(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
