/**
 * The paper's ablation, live: a turn's question asked once more of a Q-Former that does not read it,
 * beside the answer of the one that did, each with the map of where it looked. Both maps have one
 * scale, so that they can be compared.
 */
import { plainError } from "../engine/errors.js";
import { make, showError } from "./dom.js";
import { MORE, paint } from "./map_panel.js";
import { say } from "./words.js";

/** @typedef {import("./turn.js").Turn} Turn */
/** @typedef {import("../engine/engine.js").Model} Model */

/** As the calls take it. */
const BLIND = { instructionAware: false };

/** @type {WeakSet<Turn>} */
const offered = new WeakSet();

/**
 * Puts the switch into a turn, once.
 *
 * @param {Turn} turn whose answer is there
 * @param {() => Model | null} model
 * @param {string} address of the first of its pictures
 */
export function offerAblation(turn, model, address) {
  if (offered.has(turn) || "instructionAware" in turn.told.options) return;
  offered.add(turn);
  const button = make("button", "plain action switch", say("ablation.switch"));
  button.type = "button";
  button.setAttribute("role", "switch");
  button.setAttribute("aria-checked", "true");
  button.title = say("ablation.why");
  /** @type {AbortController | null} */
  let control = null;
  /** @type {HTMLElement | null} */
  let shown = null;
  button.addEventListener("click", async () => {
    control?.abort();
    shown?.remove();
    const reads = button.getAttribute("aria-checked") !== "true";
    button.setAttribute("aria-checked", String(reads));
    const asked = model();
    if (reads || !asked) return;
    control = new AbortController();
    const panel = (shown = make("div", "ablation"));
    panel.append(make("p", "small", say("ablation.wait")));
    turn.append(panel);
    try {
      const parts = await compare(asked, turn, address, control.signal);
      if (!control.signal.aborted) panel.replaceChildren(...parts);
    } catch (thrown) {
      const place = make("p", "error");
      showError(place, plainError(thrown));
      panel.replaceChildren(place);
    }
    turn.follow();
  });
  turn.addAction(button);
}

/**
 * @param {Model} model
 * @param {Turn} turn
 * @param {string} address
 * @param {AbortSignal} signal
 */
async function compare(model, { told, text }, address, signal) {
  const { prompt, options } = told;
  const blind = await model.ask(prompt, { ...options, ...BLIND, signal });
  const maps = [
    await model.attention(prompt, { signal }),
    await model.attention(prompt, { ...BLIND, signal }),
  ].map(({ side, pictures }) => ({ side, values: pictures[0]?.average ?? [] }));
  const image = make("img", "");
  image.src = address;
  await image.decode();
  const all = maps.flatMap(({ values }) => values);
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const figures = maps.map(({ side, values }, at) => {
    const figure = make("figure", "ablated");
    const picture = make("div", "ablated-picture");
    const shown = make("img", "");
    shown.src = address;
    shown.alt = "";
    const canvas = make("canvas", "");
    paint(canvas, values, side, image.naturalWidth / image.naturalHeight, MORE, low, high);
    picture.append(shown, canvas);
    const words = make("figcaption", "");
    words.append(make("span", "quiet", say(at === 0 ? "ablation.reads" : "ablation.blind")), make("span", "ablated-answer", at === 0 ? text : blind.text || say("turn.empty")));
    figure.append(words, picture);
    return figure;
  });
  const row = make("div", "ablated-row");
  row.append(...figures);
  return [row, make("p", "small", say(text === blind.text ? "ablation.same" : "ablation.why"))];
}
