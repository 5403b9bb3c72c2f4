/**
 * The page: joins the model's panel, the picture's panel and the chat to the engine.
 *
 * The engine lives in a worker (`engine/`); here is only what a visitor sees and does.
 */
import { asked, choose } from "./page/policy.js"; // first: what comes after it can reach no other host
import { Model } from "./engine/engine.js";
import { plainError } from "./engine/errors.js";
import { prompts } from "./engine/prompts.js";
import { serviceWorkerAddress } from "./engine/script_urls.js";
import { cachedModels } from "./engine/store.js";
import { Chat } from "./page/chat.js";
import { Composer } from "./page/composer.js";
import { byId, drawer } from "./page/dom.js";
import { Looked } from "./page/looked.js";
import { ModelPanel } from "./page/model_panel.js";
import { PicturePanel } from "./page/picture_panel.js";
import { Settings } from "./page/settings.js";
import { advice } from "./page/webgpu.js";
import { LANGUAGES, language, say, speak } from "./page/words.js";

/** A lost engine is rebuilt by itself, but not over and over. */
const REBUILD_PAUSE_MS = 60_000;

/** The model, from when it begins to load. @type {Model | null} */
let model = null;
let modelUrl = asked.url;
/** @type {AbortController | null} */
let loading = null;
/** The pictures that questions are about. @type {import("./page/selection.js").Selection | null} */
let selection = null;
/**
 * The model's work on the current pictures: null once their features are there, else why not.
 *
 * @type {Promise<import("./engine/protocol.js").PlainError | null>}
 */
let looking = Promise.resolve(null);
/** @type {AbortController | null} */
let lookingControl = null;
/** @type {AbortController | null} */
let answering = null;
let rebuiltAt = -Infinity;
/** @type {string[]} */
let generalQuestions = [];

const modelPanel = new ModelPanel({
  onLoad: pick,
  onCancel: () => loading?.abort(),
  onAgain: () => void load(modelUrl),
});
const picturePanel = new PicturePanel({
  onSelection: (chosen) => {
    selection = chosen;
    chat.changePicture();
    looked.clear();
    composer.suggest(chosen && !chosen.own ? chosen.questions : generalQuestions);
    look();
  },
  onShow: (index, aspect) => looked.turnTo(index, aspect),
});
const settings = new Settings();
const chat = new Chat();
const looked = new Looked(() => model);
const composer = new Composer({ onAsk: (request) => void ask(request), onStop: () => answering?.abort() });

/** @param {string} text the address that the visitor chose */
function pick(text) {
  try {
    const url = choose(text);
    if (url !== null) void load(url);
  } catch (error) {
    modelPanel.propose(text, error instanceof Error ? error.message : String(error));
  }
}

/** @param {string} url */
async function load(url) {
  loading?.abort();
  model?.free();
  modelUrl = url;
  const control = (loading = new AbortController());
  const opened = (model = Model.open(url, {
    signal: control.signal,
    onProgress: (progress) => loading === control && modelPanel.progress(progress),
  }));
  void opened.controls.then(({ knobs, limits }) => {
    if (model !== opened) return;
    settings.offer(knobs);
    picturePanel.limit(limits.pictures);
  });
  looked.hide();
  modelPanel.startLoading(url);
  if (!answering) composer.allow("ready"); // a question waits for the model by itself
  look();
  try {
    const info = await opened.ready;
    if (loading !== control) return; // another model was chosen meanwhile
    void opened.lost.then((error) => model === opened && rebuild(error));
    modelPanel.ready(info);
    void noteOffline(url);
  } catch (error) {
    if (loading === control) loadFailed(plainError(error));
  } finally {
    if (loading === control) loading = null;
  }
}

/** @param {import("./engine/protocol.js").PlainError} error */
function loadFailed(error) {
  loading = null;
  model = null;
  if (!answering) composer.allow("waiting");
  if (selection) picturePanel.note(say("picture.noModel"));
  if (error.code === "webgpu-missing" || error.code === "adapter-missing") {
    error = { code: error.code, message: say(advice(navigator.userAgent, isSecureContext)) };
  }
  // Also after a lost GPU: it may have been this model that was too much for it.
  modelPanel.failed(error, true);
}

/**
 * After the GPU was lost under a model that was ready: the same model again, from the browser's
 * cache. The chat stays.
 *
 * @param {import("./engine/protocol.js").PlainError} error
 */
function rebuild(error) {
  model = null;
  if (!answering) composer.allow("waiting");
  const soon = performance.now() - rebuiltAt < REBUILD_PAUSE_MS;
  if (soon || error.code !== "device-lost") return modelPanel.failed(error, true);
  rebuiltAt = performance.now();
  void load(modelUrl);
  modelPanel.lost(error);
}

/** Gives the pictures to the model, which looks at them as soon as it can. */
function look() {
  lookingControl?.abort();
  looking = Promise.resolve(null);
  if (!selection) return;
  picturePanel.note(say(model ? "picture.waits" : "picture.noModel"));
  if (!model) return;
  const control = (lookingControl = new AbortController());
  const { bytes } = selection;
  void model.vision.then(() => {
    if (lookingControl === control) picturePanel.note(say("picture.looking", { count: bytes.length }));
  });
  const work = model.setPicture(bytes, control.signal);
  looking = work.then(
    (info) => {
      if (lookingControl === control) picturePanel.looked(info);
      return null;
    },
    (thrown) => {
      const error = plainError(thrown);
      if (lookingControl === control) void picturePanel.failed(error);
      return error;
    },
  );
}

/** @param {import("./page/composer.js").Request} request */
async function ask(request) {
  const asked = model;
  if (!asked || answering) return;
  if (!selection) return composer.refuse(request, { code: "picture-missing", message: say("ask.noPicture") });
  const control = (answering = new AbortController());
  const { signal } = control;
  const turn = chat.turn(request, selection?.addresses ?? []);
  const conversation = composer.remembers && request.talks ? chat.conversation : [];
  const prompt = conversation.length ? prompts.dialogue(conversation, request.shown) : request.prompt;
  const about = selection;
  composer.clear();
  composer.allow("answering");
  if (loading) turn.waitFor(asked.ready);
  try {
    const unseen = await Promise.race([looking, stopped(signal)]);
    if (unseen) return turn.fail(unseen);
    if (request.candidates) {
      const start = performance.now();
      turn.ranked(await asked.rank(prompt, request.candidates, { signal }), performance.now() - start);
    } else {
      const answer = await asked.ask(prompt, { ...settings.options(), signal, onToken: (token) => turn.add(token.text) });
      turn.finish(answer);
      if (about === selection && request.talks) chat.remember(request.shown, answer.text);
    }
    if (about === selection) looked.offer(turn, prompt, request.shown);
  } catch (thrown) {
    const error = plainError(thrown);
    if (error.code !== "question-empty" && error.code !== "option-invalid") return turn.fail(error);
    chat.withdraw(turn);
    composer.refuse(request, error);
  } finally {
    answering = null;
    composer.allow(model ? "ready" : "waiting");
  }
}

/**
 * Says that the next visit needs no network, once both the page and the model are kept.
 *
 * @param {string} url of the model
 */
async function noteOffline(url) {
  await navigator.serviceWorker?.ready;
  const kept = (await cachedModels()).some((model) => model.url === url && model.complete);
  byId("offline-note", HTMLElement).textContent = kept && navigator.serviceWorker ? say("page.offline") : "";
}

/**
 * @param {AbortSignal} signal
 * @returns {Promise<null>} settles when the signal aborts
 */
function stopped(signal) {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(null)));
}

/** The example pictures and their questions. */
async function showExamples() {
  const response = await fetch(new URL("./examples/examples.json", import.meta.url));
  if (!response.ok) return;
  const { examples, questions } = await response.json();
  picturePanel.offerExamples(examples);
  generalQuestions = questions;
  // A visit begins with something to ask about, unless there is a model to agree to first.
  if (asked.agreed && !selection && examples.length) await picturePanel.takeExample(examples[0]);
}

const languages = byId("language", HTMLSelectElement);
for (const [code, name] of Object.entries(LANGUAGES)) languages.add(new Option(name, code, false, code === language));
languages.addEventListener("change", () => speak(languages.value));

drawer(byId("about", HTMLDialogElement), byId("about-open", HTMLButtonElement), byId("about-close", HTMLButtonElement));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (!looked.close() && !modelPanel.closePicker()) answering?.abort();
});

void showExamples().catch(() => {}); // without a network, and not kept yet: there are none
composer.allow("waiting");
if (asked.agreed) void load(asked.url);
else modelPanel.propose(asked.url, asked.problem);
// Keeps the page's own files for visits without a network. The list of them is asked for past the
// browser's cache, as `sw.js` itself is, so that an update is noticed.
void navigator.serviceWorker?.register(serviceWorkerAddress(), { updateViaCache: "none" }).catch(() => {});
