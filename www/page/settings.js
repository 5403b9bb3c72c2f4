/**
 * The drawer of decoding settings, under the names that `transformers` gives them: the knobs that
 * the engine tells of.
 *
 * A knob that was not touched is not sent, so that the checkpoint's own setting holds. Changes are
 * kept in this browser where it allows that.
 */
import { byId, drawer, make } from "./dom.js";
import { read, write } from "./storage.js";
import { ofEngine, say } from "./words.js";

/** @typedef {import("../engine/protocol.js").AskOptions} AskOptions */
/** @typedef {import("../engine/protocol.js").Knob} Knob */

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
  if (!knob.slider) return typeof value === (knob.kind === "flag" ? "boolean" : "string") ? value : undefined;
  const [min, max] = knob.slider;
  return typeof value === "number" && value >= min && value <= max ? value : undefined;
}

export class Settings {
  #dialog = byId("advanced", HTMLDialogElement);
  #open = byId("advanced-open", HTMLButtonElement);
  /** @type {Knob[]} */
  #knobs = [];
  /** What was changed when it was last stored. */
  #kept = /** @type {Record<string, unknown>} */ (read(STORE) ?? {});
  /** What was changed. @type {Map<string, number | boolean | string>} */
  #changed = new Map();
  /** @type {Map<string, { field: HTMLInputElement | HTMLTextAreaElement, output: HTMLOutputElement | null, row: HTMLElement }>} */
  #rows = new Map();

  constructor() {
    drawer(this.#dialog, this.#open, byId("advanced-close", HTMLButtonElement));
    byId("advanced-reset", HTMLButtonElement).addEventListener("click", () => {
      this.#changed.clear();
      this.#keep();
    });
  }

  /** @param {Knob[]} knobs to show, group by group */
  offer(knobs) {
    this.#knobs = knobs;
    this.#changed.clear();
    for (const knob of knobs) {
      const value = accepted(knob, this.#kept[knob.name]);
      if (value !== undefined) this.#changed.set(knob.name, /** @type {any} */ (value));
    }
    this.#agree("");
    const groups = Map.groupBy(knobs, ({ group }) => group);
    const fieldsets = Array.from(groups, ([title, knobs]) => {
      const group = make("fieldset", "knobs");
      group.append(make("legend", "", ofEngine(title, title)), ...knobs.map((knob) => this.#row(knob)));
      return group;
    });
    byId("knobs", HTMLElement).replaceChildren(...fieldsets);
    this.#open.disabled = false;
    this.#show();
  }

  /** The options for the next question. @returns {AskOptions} */
  options() {
    const options = this.#knobs.filter((knob) => this.#changed.has(knob.name) && this.#works(knob)).map((knob) => {
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
    const hint = make("span", "hint", ofEngine(knob.name, knob.hint));
    hint.id = `${id}-hint`;
    const field = knob.kind === "texts" ? make("textarea", "") : make("input", "");
    field.id = id;
    field.setAttribute("aria-describedby", hint.id);
    /** @type {HTMLOutputElement | null} */
    let output = null;
    if (field instanceof HTMLTextAreaElement) {
      field.rows = 2;
    } else if (knob.slider) {
      [field.min, field.max, field.step] = /** @type {[string, string, string]} */ (knob.slider.map(String));
      field.type = knob.kind === "seed" ? "number" : "range";
      if (knob.kind === "seed") field.placeholder = say("settings.random");
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
    if (taken === undefined || taken === (knob.default ?? "")) this.#changed.delete(knob.name);
    else this.#changed.set(knob.name, /** @type {any} */ (taken));
    this.#agree(knob.name);
    this.#keep(field);
  }

  /**
   * Without draws there are at most as many answers as beams: what was not touched follows.
   *
   * @param {string} touched
   */
  #agree(touched) {
    const [beams, answers] = ["num_beams", "num_return_sequences"].map((name) => Number(this.#changed.get(name) ?? 1));
    if (this.#changed.get("do_sample") === true || !beams || !answers || answers <= beams) return;
    if (touched === "num_return_sequences") this.#changed.set("num_beams", answers);
    else this.#changed.set("num_return_sequences", beams);
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
    this.#kept = Object.fromEntries(this.#changed);
    write(STORE, this.#changed.size ? this.#kept : null);
    this.#show(typing);
  }

  /** @param {HTMLElement} [typing] */
  #show(typing) {
    for (const knob of this.#knobs) {
      const row = this.#rows.get(knob.name);
      if (!row) continue;
      const value = this.#changed.get(knob.name) ?? knob.default ?? "";
      if (row.field instanceof HTMLInputElement && row.field.type === "checkbox") row.field.checked = value === true;
      else if (row.field !== typing) row.field.value = String(value);
      if (row.output) row.output.value = String(value);
      row.field.disabled = !this.#works(knob);
      row.row.classList.toggle("changed", this.#changed.has(knob.name));
      row.row.classList.toggle("idle", row.field.disabled);
    }
    const count = this.#knobs.filter((knob) => this.#changed.has(knob.name) && this.#works(knob)).length;
    this.#open.textContent = count ? say("settings.openChanged", { count }) : say("settings.open");
    this.#open.title = count ? say("settings.changed", { count }) : "";
  }
}
