/**
 * The page: joins the model's panel, the picture's panel and the chat to the engine.
 *
 * The engine lives in a worker (`engine/`); here is only what a visitor sees and does.
 */
import { Model } from "./engine/engine.js";
import { plainError } from "./engine/errors.js";
import { Chat } from "./page/chat.js";
import { ModelPanel } from "./page/model_panel.js";
import { PicturePanel } from "./page/picture_panel.js";

const POCKET = "./pocket/";
/** A lost engine is rebuilt by itself, but not over and over. */
const REBUILD_PAUSE_MS = 60_000;

/** @type {Model | null} */
let model = null;
let modelUrl = POCKET;
/** @type {AbortController | null} */
let loading = null;
/** @type {{ bytes: Uint8Array } | null} */
let picture = null;
/**
 * The model's work on the current picture: null once its features are there, else why not.
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
  onLoad: (url) => void load(url),
  onCancel: () => loading?.abort(),
  onAgain: () => void load(modelUrl),
});
const picturePanel = new PicturePanel((bytes, example) => {
  picture = { bytes };
  chat.suggest(example?.questions ?? generalQuestions);
  look();
});
const chat = new Chat({ onAsk: (question) => void ask(question), onStop: () => answering?.abort() });

/** @param {string} url */
async function load(url) {
  loading?.abort();
  model?.free();
  model = null;
  modelUrl = url;
  const control = (loading = new AbortController());
  chat.allow("waiting");
  modelPanel.startLoading(url);
  look(); // says that it waits
  try {
    const loaded = await Model.load(url, {
      signal: control.signal,
      onProgress: (progress) => loading === control && modelPanel.progress(progress),
    });
    if (loading !== control) return loaded.free(); // another model was chosen meanwhile
    model = loaded;
    void loaded.lost.then((error) => model === loaded && rebuild(error));
    modelPanel.ready(loaded.info);
    chat.allow("ready");
    look();
  } catch (error) {
    if (loading === control) loadFailed(plainError(error));
  } finally {
    if (loading === control) loading = null;
  }
}

/** @param {import("./engine/protocol.js").PlainError} error */
function loadFailed(error) {
  loading = null;
  if (error.code === "device-lost") rebuild(error);
  else modelPanel.failed(error, true);
}

/**
 * After a lost GPU: the same model again, from the browser's cache. The chat stays.
 *
 * @param {import("./engine/protocol.js").PlainError} error
 */
function rebuild(error) {
  model = null;
  chat.allow("waiting");
  const soon = performance.now() - rebuiltAt < REBUILD_PAUSE_MS;
  if (soon || error.code !== "device-lost") return modelPanel.failed(error, true);
  rebuiltAt = performance.now();
  void load(modelUrl);
  modelPanel.lost(error);
}

/** Gives the picture to the model, if both are there. */
function look() {
  lookingControl?.abort();
  looking = Promise.resolve(null);
  if (!picture) return;
  if (!model) return picturePanel.note("The model will look at it as soon as it is loaded.");
  const control = (lookingControl = new AbortController());
  const work = model.setPicture(picture.bytes, control.signal);
  picturePanel.note("Looking at the picture …");
  looking = work.then(
    (info) => {
      if (lookingControl === control) picturePanel.looked(info);
      return null;
    },
    (thrown) => {
      const error = plainError(thrown);
      if (lookingControl === control) picturePanel.failed(error);
      return error;
    },
  );
}

/** @param {string} question */
async function ask(question) {
  if (!model || answering) return;
  const control = (answering = new AbortController());
  const turn = chat.turn(question, picturePanel.address);
  chat.allow("answering");
  try {
    const unseen = await Promise.race([looking, stopped(control.signal)]);
    if (unseen) return turn.fail(unseen);
    const answer = await model.ask(question, {
      signal: control.signal,
      onToken: (token) => turn.add(token.text),
    });
    turn.finish(answer, control.signal.aborted);
  } catch (thrown) {
    const error = plainError(thrown);
    if (error.code === "question-empty") chat.refuse(turn, error);
    else turn.fail(error);
  } finally {
    answering = null;
    chat.allow(model ? "ready" : "waiting");
  }
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
  picturePanel.showExamples(examples);
  generalQuestions = questions;
}

void showExamples();
chat.allow("waiting");
const wanted = new URL(new URLSearchParams(location.search).get("model") ?? POCKET, document.baseURI);
if (wanted.origin === location.origin) void load(wanted.href);
else modelPanel.propose(wanted.href);
// Keeps the page's own files for visits without a network.
void navigator.serviceWorker?.register("sw.js").catch(() => {});
