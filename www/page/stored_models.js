/**
 * The list of models in this browser's storage, each with its size, to load or to delete.
 *
 * In: `onLoad(url)` when the visitor asks for one of them. Out: `show()`, which reads the storage.
 */
import { cachedModels, deleteCachedModel, deleteCachedModels } from "../engine/store.js";
import { byId, make } from "./dom.js";
import * as format from "./format.js";
import { say } from "./words.js";

/** @typedef {import("../engine/protocol.js").StoredModel} StoredModel */

export class StoredModels {
  #note = byId("stored-note", HTMLElement);
  #list = byId("stored-models", HTMLUListElement);
  #clear = byId("stored-clear", HTMLButtonElement);
  /** @type {(url: string) => void} */
  #onLoad;

  /** @param {(url: string) => void} onLoad */
  constructor(onLoad) {
    this.#onLoad = onLoad;
    this.#clear.addEventListener("click", () => void this.#delete(deleteCachedModels()));
  }

  async show() {
    const models = await cachedModels();
    const bytes = models.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    this.#note.textContent = models.length
      ? say("stored.sum", { bytes: format.bytes(bytes) })
      : say("stored.none");
    this.#clear.hidden = models.length < 2;
    this.#list.replaceChildren(...models.map((model) => this.#item(model)));
  }

  /** @param {StoredModel} model */
  #item(model) {
    const item = make("li", "stored");
    const size = model.complete
      ? format.bytes(model.bytes)
      : say("stored.part", { stored: format.bytes(model.storedBytes), bytes: format.bytes(model.bytes) });
    const text = make("span", "");
    text.append(make("b", "", model.name), make("small", "", `${model.format} · ${size}`), make("small", "address", model.url));
    const load = make("button", "plain", say(model.complete ? "model.load" : "stored.resume"));
    const remove = make("button", "plain", say("stored.delete"));
    for (const button of [load, remove]) {
      button.type = "button";
      button.setAttribute("aria-label", `${button.textContent} ${model.name} (${model.format})`);
    }
    load.addEventListener("click", () => this.#onLoad(model.url));
    remove.addEventListener("click", () => void this.#delete(deleteCachedModel(model.url)));
    item.append(text, load, remove);
    return item;
  }

  /** @param {Promise<void>} deletion */
  async #delete(deletion) {
    await deletion;
    await this.show();
    const next = this.#list.querySelector("button") ?? document.querySelector("#model-picker input");
    if (next instanceof HTMLElement) next.focus();
  }
}
