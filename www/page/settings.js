/**
 * The drawer of decoding settings, under the names that `transformers` gives them.
 *
 * A knob that was not touched is not sent, so that the checkpoint's own setting holds. Changes are
 * kept in this browser where it allows that.
 */
import { byId, make } from "./dom.js";
import { read, write } from "./storage.js";

/** @typedef {import("../engine/protocol.js").AskOptions} AskOptions */

/**
 * @typedef {object} Knob
 * @property {string} name
 * @property {string} hint
 * @property {number | boolean | string} value as long as nobody changes it
 * @property {[min: number, max: number, step: number]} [range] of a number
 * @property {boolean} [open] a number that is typed, and may be left out
 * @property {"sampling" | "search" | "beams"} [needs] does nothing without sampling, with it, or without several beams
 */

/** @type {{ title: string, knobs: Knob[] }[]} */
const GROUPS = [
  {
    title: "Search",
    knobs: [
      { name: "num_beams", hint: "Answers followed side by side. 1 takes the likeliest token each time. Not with do_sample.", value: 1, range: [1, 10, 1], needs: "search" },
      { name: "num_return_sequences", hint: "Answers shown: at most num_beams, or drawn one by one.", value: 1, range: [1, 10, 1] },
      { name: "length_penalty", hint: "Above 0 favours long beams, below 0 short ones.", value: 1, range: [-1, 2, 0.1], needs: "beams" },
    ],
  },
  {
    title: "Chance",
    knobs: [
      { name: "do_sample", hint: "Draw each token instead of taking the likeliest.", value: false },
      { name: "temperature", hint: "Below 1 is more careful, above 1 more daring.", value: 1, range: [0.1, 2, 0.1], needs: "sampling" },
      { name: "top_k", hint: "Draw among this many tokens; 0 is all.", value: 50, range: [0, 200, 1], needs: "sampling" },
      { name: "top_p", hint: "Draw among the likeliest tokens that hold this share.", value: 1, range: [0.5, 1, 0.01], needs: "sampling" },
      { name: "seed", hint: "The same seed draws the same answer. Empty is a new one each time.", value: "", range: [0, 4294967295, 1], open: true, needs: "sampling" },
    ],
  },
  {
    title: "Repetition",
    knobs: [
      { name: "repetition_penalty", hint: "Above 1 avoids tokens that were said.", value: 1, range: [0.1, 3, 0.1] },
      { name: "no_repeat_ngram_size", hint: "No run of this many tokens twice; 0 is off.", value: 0, range: [0, 10, 1] },
    ],
  },
  {
    title: "Length",
    knobs: [
      { name: "min_length", hint: "Tokens before the answer may end, the start token counted.", value: 0, range: [0, 50, 1] },
      { name: "max_new_tokens", hint: "Tokens after which it is cut.", value: 256, range: [1, 500, 1] },
      { name: "stop_strings", hint: "The answer ends with any of these, one a line.", value: "" },
    ],
  },
];
const KNOBS = GROUPS.flatMap(({ knobs }) => knobs);
const STORE = "instructblip-settings";

/** @param {string} name such as `num_beams` @returns {string} such as `numBeams` */
const camelCase = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());

/**
 * The value as this knob takes it, or undefined where it is none of its values.
 *
 * @param {Knob} knob
 * @param {unknown} value
 */
function accepted(knob, value) {
  if (!knob.range) return typeof value === typeof knob.value ? value : undefined;
  const [min, max] = knob.range;
  return typeof value === "number" && value >= min && value <= max ? value : undefined;
}

export class Settings {
  #dialog = byId("advanced", HTMLDialogElement);
  #open = byId("advanced-open", HTMLButtonElement);
  /** What was changed. @type {Map<string, number | boolean | string>} */
  #changed = new Map();
  /** @type {Map<string, { field: HTMLInputElement | HTMLTextAreaElement, output: HTMLOutputElement | null, row: HTMLElement }>} */
  #rows = new Map();

  constructor() {
    const stored = /** @type {Record<string, unknown>} */ (read(STORE) ?? {});
    for (const knob of KNOBS) {
      const value = accepted(knob, stored[knob.name]);
      if (value !== undefined) this.#changed.set(knob.name, /** @type {any} */ (value));
    }
    const groups = GROUPS.map(({ title, knobs }) => {
      const group = make("fieldset", "knobs");
      group.append(make("legend", "", title), ...knobs.map((knob) => this.#row(knob)));
      return group;
    });
    byId("knobs", HTMLElement).append(...groups);
    this.#show();
    this.#open.addEventListener("click", () => this.#dialog.showModal());
    byId("advanced-close", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
    byId("advanced-reset", HTMLButtonElement).addEventListener("click", () => {
      this.#changed.clear();
      this.#keep();
    });
    // A click beside the drawer is one on the dialog's backdrop, which has no child there.
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
  }

  /** The options for the next question. @returns {AskOptions} */
  options() {
    const options = KNOBS.filter((knob) => this.#changed.has(knob.name) && this.#works(knob)).map((knob) => {
      const value = this.#changed.get(knob.name);
      const lines = typeof value === "string" ? value.split("\n").filter(Boolean) : value;
      return [camelCase(knob.name), lines];
    });
    return Object.fromEntries(options);
  }

  /** @param {Knob} knob */
  #row(knob) {
    const id = `knob-${knob.name}`;
    const row = make("div", "knob");
    const label = make("label", "", "");
    label.htmlFor = id;
    label.append(make("code", "", knob.name));
    const hint = make("span", "hint", knob.hint);
    hint.id = `${id}-hint`;
    const field = knob.range || typeof knob.value === "boolean" ? make("input", "") : make("textarea", "");
    field.id = id;
    field.setAttribute("aria-describedby", hint.id);
    /** @type {HTMLOutputElement | null} */
    let output = null;
    if (field instanceof HTMLTextAreaElement) {
      field.rows = 2;
    } else if (knob.range) {
      [field.min, field.max, field.step] = /** @type {[string, string, string]} */ (knob.range.map(String));
      field.type = knob.open ? "number" : "range";
      if (knob.open) field.placeholder = "random";
      else output = make("output", "");
    } else {
      field.type = "checkbox";
    }
    if (output) output.htmlFor.add(id);
    row.append(label, field, ...(output ? [output] : []), hint);
    field.addEventListener("input", () => this.#take(knob, field));
    this.#rows.set(knob.name, { field, output, row });
    return row;
  }

  /**
   * @param {Knob} knob
   * @param {HTMLInputElement | HTMLTextAreaElement} field
   */
  #take(knob, field) {
    /** @type {unknown} */
    let value = field.value;
    if (field instanceof HTMLInputElement) value = field.type === "checkbox" ? field.checked : field.valueAsNumber;
    const taken = accepted(knob, value);
    if (taken === undefined || taken === knob.value) this.#changed.delete(knob.name);
    else this.#changed.set(knob.name, /** @type {any} */ (taken));
    this.#keep(field);
  }

  /** @param {Knob} knob whether it changes anything as the others stand */
  #works(knob) {
    const samples = this.#changed.get("do_sample") === true;
    if (knob.needs === "sampling") return samples;
    if (knob.needs === "search") return !samples;
    return knob.needs !== "beams" || (!samples && Number(this.#changed.get("num_beams") ?? 1) > 1);
  }

  /** @param {HTMLElement} [typing] the field in use, which keeps its text as it is */
  #keep(typing) {
    write(STORE, this.#changed.size ? Object.fromEntries(this.#changed) : null);
    this.#show(typing);
  }

  /** @param {HTMLElement} [typing] */
  #show(typing) {
    for (const knob of KNOBS) {
      const row = this.#rows.get(knob.name);
      if (!row) continue;
      const value = this.#changed.get(knob.name) ?? knob.value;
      if (row.field instanceof HTMLInputElement && row.field.type === "checkbox") row.field.checked = value === true;
      else if (row.field !== typing) row.field.value = String(value);
      if (row.output) row.output.value = String(value);
      row.field.disabled = !this.#works(knob);
      row.row.classList.toggle("changed", this.#changed.has(knob.name));
      row.row.classList.toggle("idle", row.field.disabled);
    }
    const count = KNOBS.filter((knob) => this.#changed.has(knob.name) && this.#works(knob)).length;
    this.#open.textContent = count ? `Advanced (${count})` : "Advanced";
    this.#open.title = count ? `${count} changed` : "";
  }
}
