/**
 * What can be done with the whole chat: copy it, save it, pass on a link, begin anew, delete what is
 * kept.
 *
 * In: `told()`, the chat; `link()`, its address for others; `onNew()`, `onDeleteAll()`.
 */
import { byId } from "./dom.js";
import { asJson, asMarkdown, asText, save } from "./export.js";
import { say } from "./words.js";

export class ChatMenu {
  #menu = byId("chat-menu", HTMLDetailsElement);
  #note = byId("chat-kept", HTMLElement);
  #done = byId("chat-done", HTMLElement);

  /** @param {{ told: () => import("./told.js").Told[], link: () => string, onNew: () => void, onDeleteAll: () => void }} handlers */
  constructor({ told, link, onNew, onDeleteAll }) {
    const name = () => `instructblip-${new Date().toISOString().slice(0, 10)}`;
    this.#on("chat-copy", () => this.#copy(asText(told())));
    this.#on("chat-link", () => this.#copy(link()));
    this.#on("chat-markdown", () => save(`${name()}.md`, "text/markdown", asMarkdown(told())));
    this.#on("chat-json", () => save(`${name()}.json`, "application/json", asJson(told())));
    this.#on("chat-new", onNew);
    this.#on("chat-delete-all", onDeleteAll);
    this.#menu.addEventListener("toggle", () => (this.#done.textContent = ""));
  }

  /** @param {boolean} keeps whether the browser lets the page keep the chat */
  tell(keeps) {
    this.#note.textContent = say(keeps ? "chat.kept" : "chat.notKept");
  }

  /** @param {string} text */
  async #copy(text) {
    const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
    this.#done.textContent = say(done ? "turn.copied" : "turn.notCopied");
  }

  /** @param {string} id @param {() => void} onClick */
  #on(id, onClick) {
    byId(id, HTMLButtonElement).addEventListener("click", () => {
      this.#done.textContent = "";
      onClick();
    });
  }
}
