/**
 * Where the model looked: the Q-Former's attention drawn over the picture, with a legend; of all
 * queries or one, and as the difference to another question.
 *
 * In: `onCompare(question)` when the visitor names another question, `onClose()`.
 */
import { byId, make } from "./dom.js";
import { percent } from "./format.js";
import { say } from "./words.js";

/** @typedef {import("../engine/protocol.js").AttentionMaps} AttentionMaps */
/** @typedef {[red: number, green: number, blue: number, alpha: number]} Colour */

/** From the least to the most; the same stops as `.scale` in map.css, and as `ask --attention` draws. @type {Colour[]} */
export const MORE = [[13, 8, 60, 0.62], [126, 3, 168, 0.5], [230, 92, 80, 0.5], [252, 230, 70, 0.68]];
/** From less than the other question to more. @type {Colour[]} */
const DIFFERENCE = [[20, 90, 230, 0.75], [60, 140, 240, 0.35], [255, 255, 255, 0], [250, 150, 40, 0.35], [235, 80, 0, 0.75]];
/** Longest side of the drawn map; the page scales it to the picture. */
const DRAWN = 448;

export class MapPanel {
  #canvas = byId("map", HTMLCanvasElement);
  #panel = byId("map-panel", HTMLElement);
  #title = byId("map-title", HTMLElement);
  #answer = byId("map-answer", HTMLElement);
  #note = byId("map-note", HTMLElement);
  #scale = byId("map-scale", HTMLElement);
  #query = byId("map-query", HTMLInputElement);
  #queryName = byId("map-query-name", HTMLOutputElement);
  #against = byId("map-question", HTMLInputElement);
  /** @type {AttentionMaps | null} */
  #maps = null;
  #picture = 0;
  #aspect = 1;

  /** @param {{ onCompare: (question: string) => void, onClose: () => void }} handlers */
  constructor(handlers) {
    byId("map-close", HTMLButtonElement).addEventListener("click", handlers.onClose);
    this.#query.addEventListener("input", () => this.#draw());
    byId("map-against", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      handlers.onCompare(this.#against.value.trim());
    });
  }

  /**
   * @param {AttentionMaps} maps
   * @param {string} question
   * @param {string} against the question that it is compared with, or empty
   * @param {string} answer to the question
   */
  show(maps, question, against, answer) {
    this.#maps = maps;
    this.#title.textContent = against ? say("map.titleAgainst", { question, against }) : say("map.title", { question });
    this.#answer.textContent = answer;
    this.#against.value = against;
    this.#query.max = String(maps.pictures[0]?.queries.length ?? 0);
    this.#query.value = "0";
    this.#panel.hidden = this.#canvas.hidden = false;
    this.#draw();
    this.#canvas.scrollIntoView({ block: "nearest" }); // on a phone the chat is below it
  }

  hide() {
    this.#maps = null;
    this.#panel.hidden = this.#canvas.hidden = true;
  }

  /** @param {string[]} questions that were asked, to choose from */
  suggest(questions) {
    const options = [...new Set(questions)].map((question) => {
      const option = make("option", "");
      option.value = question;
      return option;
    });
    byId("map-questions", HTMLElement).replaceChildren(...options);
  }

  /**
   * The picture that is shown.
   *
   * @param {number} index
   * @param {number} aspect width over height
   */
  turnTo(index, aspect) {
    this.#picture = index;
    this.#aspect = aspect;
    this.#draw();
  }

  #draw() {
    const maps = this.#maps;
    const shown = (maps?.difference ?? maps?.pictures)?.[this.#picture];
    if (!maps || !shown) return;
    const query = this.#query.valueAsNumber;
    const values = query === 0 ? shown.average : (shown.queries[query - 1] ?? shown.average);
    this.#queryName.value = query === 0 ? say("map.average") : say("map.queryOf", { query, count: shown.queries.length });
    const different = maps.difference !== null;
    const largest = Math.max(...values.map(Math.abs), Number.MIN_VALUE);
    const low = different ? -largest : Math.min(...values);
    paint(this.#canvas, values, maps.side, this.#aspect, different ? DIFFERENCE : MORE, low, largest);
    this.#scale.classList.toggle("difference", different);
    const share = (/** @type {number} */ value) => `${value > 0 && different ? "+" : ""}${(100 * value).toFixed(largest < 0.01 ? 2 : 1)} %`;
    byId("map-low", HTMLElement).textContent = share(low);
    byId("map-high", HTMLElement).textContent = share(largest);
    const place = placeOf(values.indexOf(Math.max(...values)), maps.side);
    this.#note.textContent = different
      ? say("map.noteAgainst", { place })
      : say("map.note", { place, share: percent(shown.classShare) });
    this.#canvas.setAttribute("aria-label", `${this.#title.textContent}. ${this.#note.textContent}`);
  }
}

/**
 * Draws a map as large as the picture, smoothly between the middles of the patches.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {number[]} values `side` rows of `side`
 * @param {number} side
 * @param {number} aspect
 * @param {Colour[]} colours
 * @param {number} low
 * @param {number} high
 */
export function paint(canvas, values, side, aspect, colours, low, high) {
  const pixels = new ImageData(side, side);
  for (const [at, value] of values.entries()) {
    pixels.data.set(colourAt(colours, (value - low) / (high - low || 1)), 4 * at);
  }
  const small = document.createElement("canvas");
  small.width = small.height = side;
  small.getContext("2d")?.putImageData(pixels, 0, 0);
  canvas.width = Math.round(DRAWN * Math.min(1, aspect));
  canvas.height = Math.round(DRAWN / Math.max(1, aspect));
  const context = canvas.getContext("2d");
  if (!context) return;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

/**
 * @param {Colour[]} colours evenly spaced from 0 to 1
 * @param {number} share
 */
function colourAt(colours, share) {
  const at = Math.min(Math.max(share, 0), 1) * (colours.length - 1);
  const below = Math.min(Math.floor(at), colours.length - 2);
  const [from, to] = /** @type {[Colour, Colour]} */ (colours.slice(below, below + 2));
  const mixed = from.map((part, index) => part + ((to[index] ?? 0) - part) * (at - below));
  return [...mixed.slice(0, 3), (mixed[3] ?? 0) * 255];
}

/**
 * A patch in words, for those who do not see the map.
 *
 * @param {number} patch
 * @param {number} side
 */
function placeOf(patch, side) {
  const third = (/** @type {number} */ at) => Math.min(2, Math.floor((3 * at) / side));
  const ninth = 3 * third(Math.floor(patch / side)) + third(patch % side);
  return say(/** @type {import("./words.js").Key} */ (`map.place.${ninth}`));
}
