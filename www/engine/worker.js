/**
 * The dedicated worker: owns the wasm module, the GPU device and the weights.
 *
 * In: the calls of `protocol.js`, answered one at a time in the order they came, each as soon as
 * the parts of the model that it needs are there. Out: results, errors, progress and tokens. A GPUDevice cannot be handed to another thread, so everything
 * that touches it lives here and the page never blocks.
 *
 * A wasm trap (a Rust panic) leaves the module in an unknown state and its promises pending for
 * ever; the trap surfaces as an uncaught error of the worker. It ends the engine: every open
 * request fails with `internal`, and the page starts a new worker.
 */
import { InstructBlipError, plainError } from "./errors.js";
import { Store, prune, whileLoading } from "./store.js";

// Under its own address a worker does not inherit the page's policy: then nothing is done here.
if (self.location.protocol !== "blob:") throw new Error("this worker is started by engine.js");

/** @typedef {import("./protocol.js").Call} Call */
/** @typedef {import("./protocol.js").PlainError} PlainError */
/** @typedef {import("./protocol.js").WasmModel} WasmModel */
/** @typedef {import("./protocol.js").WasmConversation} WasmConversation */

/** @type {Map<number, AbortController>} */
const open = new Map();
/** @type {(model: WasmModel) => void} */
let resolveVision = () => {};
/** Settles when pictures can be looked at. @type {Promise<WasmModel>} */
const vision = new Promise((resolve) => (resolveVision = resolve));
/** @type {(model: WasmModel) => void} */
let resolveWhole = () => {};
/** Settles when all of the model is there. @type {Promise<WasmModel>} */
const whole = new Promise((resolve) => (resolveWhole = resolve));
/** By their numbers. @type {Map<number, WasmConversation>} */
const conversations = new Map();
/** @type {PlainError | undefined} */
let dead;
/** @type {Promise<unknown>} */
let queue = Promise.resolve();

/** @param {import("./protocol.js").FromWorker} message */
function post(message) {
  self.postMessage(message);
}

/**
 * Ends the engine: fails what is open and says so.
 *
 * @param {PlainError} error
 */
function die(error) {
  if (dead) return;
  dead = error;
  for (const id of open.keys()) post({ id, event: "error", error });
  open.clear();
  post({ event: "lost", error });
}

/** @param {unknown} thrown */
function trapped(thrown) {
  // The panic hook in src/web/panic.rs leaves its message here before the trap.
  const panic = /** @type {{ instructBlipPanic?: string }} */ (/** @type {unknown} */ (globalThis)).instructBlipPanic;
  const error = plainError(new Error(panic ?? (thrown instanceof Error ? thrown.message : String(thrown))));
  // A lost device may make the code panic before the loss itself is reported: let that come first.
  setTimeout(() => die(error), 200);
}

/**
 * Rejects when the page's policy refuses a request. To the request itself that looks like a dead
 * network, and it would be tried again in vain.
 *
 * @type {Promise<never>}
 */
const refused = new Promise((_, reject) => {
  self.addEventListener("securitypolicyviolation", ({ blockedURI, effectiveDirective, disposition }) => {
    if (effectiveDirective !== "connect-src" || disposition !== "enforce") return;
    // Of a host that sends on the event tells the address that was asked for.
    const plain = blockedURI.startsWith("http:") && !blockedURI.startsWith(`${self.origin}/`);
    const advice = plain
      ? "It reads models over https, or from this machine."
      : "If that host sends on to another one, give the address where the files really are.";
    const sentence = `Could not fetch ${blockedURI}: this page’s Content-Security-Policy refused it. ${advice}`;
    reject(new InstructBlipError("network", sentence));
  });
});
refused.catch(() => {});

/** @returns {Promise<import("./protocol.js").WasmModule>} */
async function wasmModule() {
  /** @type {string} */
  const address = new URL("../dist/instructblip_web.js", import.meta.url).href;
  try {
    /** @type {import("./protocol.js").WasmModule} */
    const module = await import(/* @vite-ignore */ /* webpackIgnore: true */ address);
    await module.default({ module_or_path: new URL("../dist/instructblip_web_bg.wasm", import.meta.url) });
    return module;
  } catch (thrown) {
    if (thrown instanceof WebAssembly.RuntimeError) throw thrown; // it ran
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    const advice = "It belongs beside engine/; `cargo xtask build` makes www/dist/.";
    throw new InstructBlipError("module-missing", `The engine's module could not be loaded from ${address} (${reason}). ${advice}`);
  }
}

/**
 * @param {Call & { call: "load" }} call
 * @param {AbortSignal} signal
 */
async function load(call, signal) {
  const module = await wasmModule();
  post({ id: call.id, event: "controls", value: module.controls() });
  const store = call.cache ? await Store.open(call.url) : null;
  /** @param {import("./protocol.js").Progress} value */
  const onProgress = (value) => post({ id: call.id, event: "progress", value: { ...value, warning: value.warning ?? denied } });
  const denied =
    call.cache && !store
      ? "This browser does not let the page store files: the model is used, but will be downloaded again next time."
      : null;
  const { url, stallTimeout } = call;
  const { model, info } = await whileLoading(async () => {
    const onAbout = (/** @type {import("./protocol.js").About | null} */ value) => post({ id: call.id, event: "about", value });
    const onVision = () => {
      post({ id: call.id, event: "vision" });
      resolveVision(model);
    };
    const model = module.Model.load(url, { ...(store && { store }), ...(stallTimeout && { stallTimeout }), signal, onProgress, onAbout, onVision });
    return { model, info: await Promise.race([model.ready, refused]) };
  });
  prune().catch(() => {}); // what only an older revision needed; it is tried again after the next load
  model.lost.then(die);
  resolveWhole(model);
  return info;
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
function unlessAborted(promise, signal) {
  return Promise.race([promise, new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))]);
}

/**
 * @param {import("./protocol.js").WasmModel} model
 * @param {string | import("./protocol.js").Prompt} question
 * @returns {Promise<import("./protocol.js").FilledPrompt>}
 */
async function fill(model, question) {
  return typeof question === "string" ? { text: question, droppedTurns: 0 } : model.prompt(question);
}

/**
 * @param {WasmModel} model
 * @param {number} id
 * @returns {WasmConversation}
 */
function conversation(model, id) {
  const known = conversations.get(id) ?? (id === 0 ? model.main : model.conversation());
  conversations.set(id, known);
  return known;
}

/**
 * @param {Call} call
 * @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
async function perform(call, signal) {
  if (call.call === "load") return load(call, signal);
  const early = call.call === "setPictures" && call.conversation === 0;
  const model = await unlessAborted(early ? vision : whole, signal);
  switch (call.call) {
    case "setPictures":
      return conversation(model, call.conversation).setPictures(call.files, signal);
    case "ask": {
      const { text: prompt, droppedTurns } = await fill(model, call.question);
      const onToken = (/** @type {import("./protocol.js").TokenEvent} */ value) => post({ id: call.id, event: "token", value });
      const answer = await conversation(model, call.conversation).ask(prompt, { ...call.options, signal, onToken });
      return { ...answer, prompt, droppedTurns };
    }
    case "rank": {
      const { text } = await fill(model, call.question);
      return conversation(model, call.conversation).rank(text, call.candidates, { ...call.options, signal });
    }
    case "attention": {
      const against = call.against === undefined ? undefined : (await fill(model, call.against)).text;
      const { text } = await fill(model, call.question);
      return conversation(model, call.conversation).attention(text, { against, instructionAware: call.instructionAware, signal });
    }
    case "prompt":
      return model.prompt(call.prompt);
    case "verify":
      return model.verify(call.golden, call.name, call.options);
    case "bench": {
      const onStage = (/** @type {string} */ value) => post({ id: call.id, event: "stage", value });
      const { name } = await model.ready;
      return model.bench(name, call.options, await machine(), onStage);
    }
  }
}

/** @returns {Promise<import("./protocol.js").Machine>} */
async function machine() {
  const gpu = /** @type {any} */ (navigator).gpu;
  const { vendor, architecture, device, description } = (await gpu.requestAdapter())?.info ?? {};
  const threads = `${navigator.hardwareConcurrency} threads`;
  return {
    adapter: [vendor, architecture, device, description].filter(Boolean).join(" ") || "unnamed",
    driver: "WebGPU",
    host: `${navigator.userAgent.match(/(Edg|Firefox|Chrome|Version)\/[\d.]+/g)?.at(-1) ?? navigator.userAgent}, ${threads}`,
    build: "wasm",
  };
}

/** @param {Call} call */
async function answer(call) {
  const controller = open.get(call.id);
  if (!controller) return; // failed by `die` while it waited
  try {
    controller.signal.throwIfAborted();
    const value = await perform(call, controller.signal);
    if (open.delete(call.id)) post({ id: call.id, event: "result", value });
  } catch (thrown) {
    if (thrown instanceof WebAssembly.RuntimeError) trapped(thrown);
    else if (open.delete(call.id)) post({ id: call.id, event: "error", error: plainError(thrown) });
  }
}

self.addEventListener("message", (/** @type {MessageEvent<import("./protocol.js").ToWorker>} */ event) => {
  const message = event.data;
  if ("cancel" in message) {
    open.get(message.cancel)?.abort();
    return;
  }
  if ("endConversation" in message) {
    // After what it was still asked.
    queue = queue.then(() => {
      conversations.get(message.endConversation)?.free();
      conversations.delete(message.endConversation);
    });
    return;
  }
  if (dead) {
    post({ id: message.id, event: "error", error: dead });
    return;
  }
  open.set(message.id, new AbortController());
  if (message.call === "load") void answer(message);
  else queue = queue.then(() => answer(message));
});
self.addEventListener("error", (event) => {
  event.preventDefault();
  trapped(event.error ?? event.message);
});
self.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  trapped(event.reason);
});
