/**
 * The chat: a list of turns that stays when the picture, or even the engine, is exchanged.
 * Every question stands alone; the model does not see earlier turns.
 */
import { byId, make, showError } from "./dom.js";
import * as format from "./format.js";

/** One question and its answer, growing while it streams in. */
class Turn {
  #answer = make("p", "answer");
  #text = make("span", "answer-text");
  #notice = make("p", "notice");
  #facts = make("p", "facts");
  #error = make("p", "error");
  #status;

  /**
   * @param {HTMLOListElement} list
   * @param {HTMLElement} status where screen readers are told of the finished answer
   * @param {string} question
   * @param {string} thumbnail address of the picture, or empty
   */
  constructor(list, status, question, thumbnail) {
    this.#status = status;
    const item = make("li", "turn");
    const asked = make("div", "question");
    if (thumbnail) {
      const image = make("img", "thumbnail");
      image.src = thumbnail;
      image.alt = "";
      asked.append(image);
    }
    asked.append(make("p", "question-text", question));
    this.#answer.append(this.#text, make("span", "cursor"));
    this.#answer.classList.add("streaming");
    this.#notice.hidden = this.#facts.hidden = this.#error.hidden = true;
    item.append(asked, this.#answer, this.#notice, this.#error, this.#facts);
    list.append(item);
    this.follow();
  }

  /** @param {string} text */
  add(text) {
    this.#text.textContent += text;
    this.follow();
  }

  /** Keeps the end in sight, unless the visitor has scrolled back. */
  follow() {
    const item = this.#answer.parentElement;
    item?.scrollIntoView({ block: "nearest" });
  }

  /**
   * @param {import("../engine/protocol.js").Answer} answer
   * @param {boolean} byVisitor whether the visitor stopped it
   */
  finish(answer, byVisitor) {
    this.#settle();
    const { text, statistics } = answer;
    this.#text.textContent = text || (answer.stopped ? "" : "(The model gave an empty answer.)");
    const notices = [];
    if (answer.truncatedQuestion) {
      notices.push("The question was longer than the model can read; its beginning was cut off.");
    }
    if (answer.stopped) notices.push(byVisitor ? "Stopped." : "The answer reached its length limit.");
    this.#notice.textContent = notices.join(" ");
    this.#notice.hidden = notices.length === 0;
    const facts = [`first token after ${format.duration(statistics.timeToFirstTokenMs)}`];
    facts.push(`${statistics.tokens} ${statistics.tokens === 1 ? "token" : "tokens"}`);
    if (statistics.tokens > 1) facts.push(`${statistics.tokensPerSecond.toFixed(1)} tokens/s`);
    if (statistics.visionCached) facts.push("picture features cached");
    this.#facts.textContent = facts.join(" · ");
    this.#facts.hidden = false;
    this.#status.textContent = `Answer: ${this.#text.textContent} ${this.#notice.textContent}`;
    this.follow();
  }

  /** @param {import("../engine/protocol.js").PlainError} error */
  fail(error) {
    this.#settle();
    if (error.code === "cancelled") {
      this.#notice.textContent = "Stopped.";
      this.#notice.hidden = false;
      this.#status.textContent = "Stopped.";
    } else {
      showError(this.#error, error);
      this.#status.textContent = error.message;
    }
    this.follow();
  }

  /** Takes the turn off the list, as if it had not been asked. */
  withdraw() {
    this.#answer.parentElement?.remove();
  }

  #settle() {
    this.#answer.classList.remove("streaming");
    this.#answer.querySelector(".cursor")?.remove();
  }
}

export class Chat {
  #list = byId("turns", HTMLOListElement);
  #status = byId("chat-status", HTMLElement);
  #empty = byId("chat-empty", HTMLElement);
  #form = byId("ask", HTMLFormElement);
  #question = byId("question", HTMLTextAreaElement);
  #send = byId("send", HTMLButtonElement);
  #stop = byId("stop", HTMLButtonElement);
  #suggestions = byId("suggestions", HTMLElement);
  #refusal = byId("ask-error", HTMLElement);
  #onAsk;

  /** @param {{ onAsk: (question: string) => void, onStop: () => void }} handlers */
  constructor(handlers) {
    this.#onAsk = handlers.onAsk;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#send.disabled) return;
      this.#onAsk(this.#question.value);
    });
    this.#question.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    });
    this.#question.addEventListener("input", () => showError(this.#refusal, null));
    this.#stop.addEventListener("click", handlers.onStop);
  }

  /**
   * Starts a turn.
   *
   * @param {string} question
   * @param {string} thumbnail
   */
  turn(question, thumbnail) {
    this.#empty.hidden = true;
    this.#question.value = "";
    showError(this.#refusal, null);
    return new Turn(this.#list, this.#status, question, thumbnail);
  }

  /**
   * A question that was none: says so at the form instead of keeping an empty turn.
   *
   * @param {Turn} turn
   * @param {import("../engine/protocol.js").PlainError} error
   */
  refuse(turn, error) {
    turn.withdraw();
    this.#empty.hidden = this.#list.childElementCount > 0;
    showError(this.#refusal, error);
    this.#question.focus();
  }

  /** @param {string[]} questions */
  suggest(questions) {
    this.#suggestions.replaceChildren(
      ...questions.map((question) => {
        const button = make("button", "suggestion", question);
        button.type = "button";
        button.addEventListener("click", () => {
          if (this.#send.disabled) {
            this.#question.value = question;
            this.#question.focus();
          } else {
            this.#onAsk(question);
          }
        });
        return button;
      }),
    );
  }

  /**
   * What the visitor can do now.
   *
   * @param {"waiting" | "ready" | "answering"} state waiting for a model, ready, or answering
   */
  allow(state) {
    const stopHadFocus = document.activeElement === this.#stop;
    const sendHadFocus = document.activeElement === this.#send;
    this.#send.hidden = state === "answering";
    this.#stop.hidden = state !== "answering";
    this.#send.disabled = state !== "ready";
    if (sendHadFocus && state === "answering") this.#stop.focus();
    if (stopHadFocus && state === "ready") this.#question.focus();
  }
}
