/**
 * The page: joins the model's panel, the picture's panel and the chat to the engine.
 *
 * The engine lives in a worker (`engine/`); here is only what a visitor sees and does.
 */
import { asked, choose, linkTo } from "./page/policy.js"; // first: what comes after it can reach no other host
import { Model } from "./engine/engine.js";
import { plainError } from "./engine/errors.js";
import { prompts } from "./engine/prompts.js";
import { serviceWorkerAddress } from "./engine/script_urls.js";
import { offerAblation } from "./page/ablation.js";
import { Chat } from "./page/chat.js";
import { ChatMenu } from "./page/chat_menu.js";
import { Composer } from "./page/composer.js";
import { byId, showError } from "./page/dom.js";
import { edit, keepDraft, restoreDraft } from "./page/draft.js";
import { noteOffline, offerFoot } from "./page/foot.js";
import { comment, knowledge } from "./page/knowledge.js";
import { Looked } from "./page/looked.js";
import { Looking } from "./page/looking.js";
import { Memory } from "./page/memory.js";
import { ModelPanel } from "./page/model_panel.js";
import { Past, answererOf } from "./page/past.js";
import { PicturePanel } from "./page/picture_panel.js";
import { Settings } from "./page/settings.js";
import { advice } from "./page/webgpu.js";
import { say } from "./page/words.js";

/** A lost engine is rebuilt by itself, but not over and over. */
const REBUILD_PAUSE_MS = 60_000;

/** The model, from when it begins to load. @type {Model | null} */
let model = null;
let modelUrl = asked.url;
/** @type {AbortController | null} */
let loading = null;
/** Who answers, for the records. @type {import("./page/told.js").AskedModel | null} */
let answerer = null;
/** The pictures that questions are about. @type {import("./page/selection.js").Selection | null} */
let selection = null;
/** @type {AbortController | null} */
let answering = null;
let rebuiltAt = -Infinity;
/** @type {string[]} */
let generalQuestions = [];

const modelPanel = new ModelPanel({
  link: () => linkTo(modelUrl, ""),
  onLoad: pick,
  onCancel: () => loading?.abort(),
  onAgain: () => void load(modelUrl),
});
const picturePanel = new PicturePanel({
  onSelection: (chosen) => {
    selection = chosen;
    past.keepSelection(chosen);
    memory.forget();
    looked.clear();
    for (const turn of chat.changePictures(chosen?.key ?? "")) offer(turn);
    composer.suggest(chosen && !chosen.own ? chosen.questions : generalQuestions);
    looking.start(model, selection);
  },
  onShow: (index, aspect) => looked.turnTo(index, aspect),
});
const looking = new Looking(picturePanel);
const settings = new Settings();
const past = await Past.open();
const memory = new Memory();
const chat = new Chat({
  onChange: (turn) => past.keepTurn(turn.told),
  onDrop: (number) => past.dropTurn(number),
  onBring: (turn) => void bring(turn),
  onAgain: async (turn) => (await bring(turn)) && ask(turn.told.request),
  onEdit: async (turn) => (await bring(turn)) && edit(turn.told.request),
});
const chatMenu = new ChatMenu({
  told: () => chat.told,
  link: () => linkTo(modelUrl, chat.told.at(-1)?.request.shown ?? ""),
  onNew: () => forget("this"),
  onDeleteAll: () => forget("all"),
});
const looked = new Looked(() => model);
const composer = new Composer({ onAsk: (request) => void ask(request), onStop: () => answering?.abort() });

/** @param {string} text the address that the visitor chose */
function pick(text) {
  try {
    const url = choose(text);
    if (url !== null) void load(url);
  } catch (error) {
    modelPanel.propose(text, error);
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
    onProgress: (progress) => {
      if (loading !== control) return;
      modelPanel.describe(knowledge(opened.about));
      modelPanel.progress(progress);
    },
  }));
  void opened.controls.then(({ knobs, limits }) => {
    if (model !== opened) return;
    settings.offer(knobs);
    picturePanel.limit(limits.pictures);
  });
  looked.hide();
  modelPanel.startLoading(url);
  if (!answering) composer.allow("ready"); // a question waits for the model by itself
  looking.start(model, selection);
  try {
    const info = await opened.ready;
    if (loading !== control) return; // another model was chosen meanwhile
    void opened.lost.then((error) => model === opened && rebuild(error));
    modelPanel.ready(info);
    modelPanel.describe(knowledge(opened.about));
    memory.offer(opened.about?.dialogues !== false);
    void noteOffline(url);
    answerer = null;
    void answererOf(url, info).then((known) => model === opened && (answerer = known), () => {});
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
  looking.end();
  showError(byId("picture-error", HTMLElement), null);
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

/** @param {import("./page/composer.js").Request} request */
async function ask(request) {
  const asked = model;
  if (!asked || answering) return;
  if (!selection) return composer.refuse(request, { code: "picture-missing", message: say("ask.noPicture") });
  const control = (answering = new AbortController());
  const { signal } = control;
  const about = selection;
  const said = request.talks ? memory.turns : [];
  const prompt = said.length ? prompts.dialogue(said, request.shown) : request.prompt;
  const options = request.candidates ? {} : settings.options();
  const { hashes: pictures, own, addresses } = about;
  const turn = chat.turn({ request, prompt, options, pictures, names: about.pictures.map(({ name }) => name), own, model: answerer }, addresses);
  composer.clear();
  keepDraft();
  composer.allow("answering");
  if (loading) turn.waitFor(asked.ready);
  try {
    const unseen = await Promise.race([looking.done, stopped(signal)]);
    if (unseen) return turn.fail(unseen);
    if (request.candidates) {
      const start = performance.now();
      const ranked = await asked.rank(prompt, request.candidates, { signal });
      turn.told.model = answerer;
      turn.ranked(ranked, performance.now() - start);
    } else {
      const answer = await asked.ask(prompt, { ...options, signal, onToken: (token) => turn.add(token.text) });
      turn.told.model = answerer;
      turn.finish(answer);
      comment(turn, asked.about, () => modelPanel.openPicker());
      if (about === selection && request.talks) memory.add(request.shown, answer.text);
    }
    if (about === selection) offer(turn);
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
 * @param {AbortSignal} signal
 * @returns {Promise<null>} settles when the signal aborts
 */
function stopped(signal) {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(null)));
}

/**
 * What can be done with an answer while its pictures are the model's.
 *
 * @param {import("./page/turn.js").Turn} turn
 */
function offer(turn) {
  const { prompt, request, answer } = turn.told;
  looked.offer(turn, prompt, request.shown);
  const [address] = selection?.addresses ?? [];
  if (answer && address) offerAblation(turn, () => model, address);
}

/**
 * Goes back to the pictures of a turn.
 *
 * @param {import("./page/turn.js").Turn} turn
 * @returns {Promise<boolean>} whether they are there
 */
async function bring({ told }) {
  if (told.pictures.join() === selection?.key) return true;
  const found = await past.picturesOf(told);
  if (found) picturePanel.bring(found);
  else picturePanel.complain("picture-missing", say("picture.gone"));
  return found !== null;
}

/** @param {"this" | "all"} which chats */
async function forget(which) {
  answering?.abort();
  chat.clear();
  picturePanel.bring(null);
  composer.clear();
  keepDraft();
  await past.forget(which);
}

/** What this tab had before it was loaded anew. */
async function restore() {
  restoreDraft(asked.question);
  chatMenu.tell(past.keeps);
  const found = await past.restore(chat);
  if (found) picturePanel.bring(found);
  else if (found === null) picturePanel.complain("picture-missing", say("picture.gone"));
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

offerFoot();
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (!looked.close() && !modelPanel.closePicker()) answering?.abort();
});

composer.allow("waiting");
await restore();
void showExamples()
  .catch(() => {}) // without a network, and not kept yet: there are none
  .then(() => picturePanel.clear());
if (asked.agreed) void load(asked.url);
else modelPanel.propose(asked.url, asked.problem);
// Keeps the page's own files for visits without a network. The list of them is asked for past the
// browser's cache, as `sw.js` itself is, so that an update is noticed.
void navigator.serviceWorker?.register(serviceWorkerAddress(), { updateViaCache: "none" }).catch(() => {});
