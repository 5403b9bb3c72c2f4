/** What a turn is made of besides its texts: lists of answers, details, buttons. */
import { make } from "./dom.js";
import * as format from "./format.js";
import { say } from "./words.js";

/** @typedef {import("../engine/protocol.js").Answer} Answer */
/** @typedef {[name: string, value: string]} Detail */

/** More small pictures than this do not fit beside a question. */
const THUMBNAILS = 4;
const COPIED_MS = 2000;

/**
 * The answers after the best one, which stands above the list already.
 *
 * @param {import("../engine/protocol.js").Candidate[]} candidates
 */
export function candidateList(candidates) {
  const list = make("ol", "candidates");
  list.start = 2;
  list.setAttribute("aria-label", say("turn.others"));
  for (const { text, logProbability } of candidates.slice(1)) {
    const item = make("li", "");
    item.append(make("span", "candidate-text", text || say("turn.emptyCandidate")), " ", make("span", "score", format.percent(Math.exp(logProbability))));
    list.append(item);
  }
  return list;
}

/** @param {import("../engine/protocol.js").Ranked[]} ranked */
export function rankingList(ranked) {
  const list = make("ol", "ranking");
  list.setAttribute("aria-label", say("turn.byProbability"));
  for (const { text, probability } of ranked) {
    const item = make("li", "");
    const track = make("span", "track");
    const bar = make("span", "bar");
    bar.style.inlineSize = `${100 * probability}%`;
    track.append(bar);
    item.append(make("span", "ranked-text", text), make("span", "ranked-share", format.percent(probability)), track);
    list.append(item);
  }
  return list;
}

/**
 * @param {Answer} answer
 * @param {import("./told.js").Told} told
 * @returns {Detail[]}
 */
export function detailsOf({ prompt, candidates, score, seed, stopReason, statistics }, { options, model }) {
  const { visionMs, visionCached, bridgeMs, prefillMs, decoderMs, steps } = statistics;
  const step = {
    kernels: say("turn.kernels", { count: Math.round(statistics.dispatchesPerToken) }),
    submits: say("turn.submits", { count: Math.round(10 * statistics.submitsPerToken) / 10 }),
    bytes: format.bytes(statistics.readbackBytesPerToken),
  };
  /** @type {Detail[]} */
  const details = [
    [say("turn.prompt"), prompt],
    [say("turn.options"), optionsText(options) || say("turn.noOptions")],
    [say("turn.picture"), visionCached ? say("turn.cached") : format.duration(visionMs)],
    ["Q-Former", format.duration(bridgeMs)],
    [say("turn.reading"), format.duration(prefillMs)],
    [say("turn.decoder"), `${format.duration(decoderMs)}, ${say("turn.steps", { count: steps })}`],
    [say("turn.step"), say("turn.stepOf", step)],
    [say("turn.endedBy"), say(`turn.end.${stopReason}`)],
  ];
  const [best] = candidates;
  if (best) details.push([say("turn.probability"), format.percent(Math.exp(best.logProbability))]);
  if (score !== null) details.push([say("turn.score"), format.score(score)]);
  if (seed !== null) details.push([say("turn.seed"), String(seed)]);
  if (model) details.push([say("turn.model"), `${model.name}, ${model.format}`]);
  return details;
}

/**
 * @param {import("../engine/protocol.js").AskOptions} options
 * @returns {string} under the names of the drawer, such as `num_beams 5`
 */
export function optionsText(options) {
  const named = Object.entries(options).map(([name, value]) => {
    const knob = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    return `${knob} ${typeof value === "object" ? JSON.stringify(value) : value}`;
  });
  return named.join(" · ");
}

/**
 * @param {string} text
 * @param {() => void} onClick
 * @returns {HTMLButtonElement}
 */
export function action(text, onClick) {
  const button = make("button", "plain action", text);
  button.type = "button";
  button.addEventListener("click", onClick);
  return button;
}

/** @param {string} text */
export function copyButton(text) {
  const copy = action(say("turn.copy"), async () => {
    const done = await navigator.clipboard.writeText(text).then(() => true, () => false);
    copy.textContent = say(done ? "turn.copied" : "turn.notCopied");
    setTimeout(() => (copy.textContent = say("turn.copy")), COPIED_MS);
  });
  return copy;
}

/**
 * @param {Answer} answer
 * @returns {string[]} the line below it
 */
export function factsOf({ statistics }) {
  const facts = [say("turn.first", { time: format.duration(statistics.timeToFirstTokenMs) }), say("turn.tokens", { count: statistics.tokens })];
  if (statistics.tokens > 1) facts.push(say("turn.speed", { speed: statistics.tokensPerSecond.toFixed(1) }));
  if (statistics.visionCached) facts.push(say("turn.visionCached"));
  return facts;
}

/**
 * @param {Answer} answer
 * @returns {string[]} sentences
 */
export function noticesOf({ truncatedQuestion, droppedTurns, stopReason }) {
  const notices = [];
  if (truncatedQuestion) notices.push(say("turn.truncated"));
  if (droppedTurns > 0) notices.push(say("turn.dropped", { count: droppedTurns }));
  if (stopReason === "asked") notices.push(say("turn.stopped"));
  if (stopReason === "length") notices.push(say("turn.length"));
  return notices;
}

/**
 * Small copies of pictures, which lead back to them.
 *
 * @param {string[]} addresses
 * @param {() => void} onClick
 */
export function thumbnails(addresses, onClick) {
  const button = action("", onClick);
  button.className = "plain bring";
  button.title = say("turn.bring");
  button.setAttribute("aria-label", say("turn.bring"));
  for (const address of addresses.slice(0, THUMBNAILS)) {
    const image = make("img", "thumbnail");
    image.src = address;
    image.alt = "";
    button.append(image);
  }
  return button;
}
