/**
 * The messages between the page and its worker, and the values they carry.
 *
 * This file holds types only; `engine.js` (page side) and `worker.js` (worker side) import them.
 *
 * The values that Rust makes or takes: `types.d.ts` is written from its types, `knobs.d.ts` from
 * its table of knobs.
 * @typedef {import("./types.js").Progress} Progress
 * @typedef {import("./types.js").ModelInfo} ModelInfo
 * @typedef {import("./types.js").About} About
 * @typedef {import("./types.js").PictureInfo} PictureInfo
 * @typedef {import("./types.js").TokenEvent} TokenEvent
 * @typedef {import("./types.js").Statistics} Statistics
 * @typedef {import("./types.js").Candidate} Candidate
 * @typedef {import("./types.js").RankOptions} RankOptions
 * @typedef {import("./types.js").Ranked} Ranked
 * @typedef {import("./types.js").AttentionMap} AttentionMap
 * @typedef {import("./types.js").AttentionMaps} AttentionMaps
 * @typedef {import("./types.js").DialogueTurn} DialogueTurn
 * @typedef {import("./types.js").Prompt} Prompt
 * @typedef {import("./types.js").FilledPrompt} FilledPrompt
 * @typedef {Partial<import("./types.js").VerifyOptions>} VerifyOptions
 * @typedef {import("./types.js").VerifyReport} VerifyReport
 * @typedef {Partial<import("./types.js").BenchOptions>} BenchOptions
 * @typedef {import("./types.js").Machine} Machine
 * @typedef {import("./knobs.js").AskOptions} AskOptions
 * @typedef {import("./knobs.js").Knob} Knob
 * @typedef {import("./knobs.js").Controls} Controls
 *
 * An answer, with what the engine adds.
 * @typedef {object} Given
 * @property {string} prompt what the model was given
 * @property {number} droppedTurns of a dialogue that did not fit, the oldest
 * @typedef {import("./types.js").Answer & Given} Answer
 *
 * @typedef {object} StoredModel A model in the browser's storage.
 * @property {string} url the folder's address
 * @property {string} name
 * @property {string} format
 * @property {number} bytes of all its files
 * @property {number} storedBytes of those that are stored
 * @property {boolean} complete whether it can be loaded without the network
 * @property {string} sha256 of the list of its files and their hashes, as `sha256sum` prints it, sorted by name
 *
 * @typedef {object} LoadOptions
 * @property {(progress: Progress) => void} [onProgress]
 * @property {AbortSignal} [signal]
 * @property {boolean} [cache] whether to use the browser's storage; it is unless told otherwise
 * @property {number} [stallTimeout] milliseconds of silence after which a server is asked again;
 *   20,000 unless told otherwise
 *
 * @typedef {object} PlainError An error as it crosses between worker and page.
 * @property {import("./errors.js").ErrorCode} code
 * @property {string} message
 * @property {string | null} [option] that is invalid
 *
 * What the page asks of the worker. `id` names the request in everything that belongs to it;
 * `conversation` is 0 for the one that is there from the start.
 * @typedef {{ id: number, call: "load", url: string, cache: boolean, stallTimeout: number | undefined }} LoadCall
 * @typedef {{ id: number, call: "setPictures", conversation: number, files: Uint8Array[] }} SetPicturesCall
 * @typedef {{ id: number, call: "ask", conversation: number, question: string | Prompt, options: AskOptions }} AskCall
 * @typedef {{ id: number, call: "rank", conversation: number, question: string | Prompt, candidates: string[], options: RankOptions }} RankCall
 * @typedef {{ id: number, call: "attention", conversation: number, question: string | Prompt, against: string | Prompt | undefined, instructionAware: boolean | undefined }} AttentionCall
 * @typedef {{ id: number, call: "prompt", prompt: Prompt }} PromptCall
 * @typedef {{ id: number, call: "verify", golden: Uint8Array, name: string | undefined, options: VerifyOptions | undefined }} VerifyCall
 * @typedef {{ id: number, call: "bench", options: BenchOptions }} BenchCall
 * @typedef {LoadCall | SetPicturesCall | AskCall | RankCall | AttentionCall | PromptCall | VerifyCall | BenchCall} Call
 * @typedef {{ cancel: number }} Cancel
 * @typedef {{ endConversation: number }} EndConversation
 * @typedef {Call | Cancel | EndConversation} ToWorker
 *
 * What the worker tells the page. `lost` belongs to no request: the engine is gone.
 * @typedef {{ id: number, event: "result", value: any }} ResultEvent
 * @typedef {{ id: number, event: "error", error: PlainError }} ErrorEvent
 * @typedef {{ id: number, event: "progress", value: Progress }} ProgressEvent
 * @typedef {{ id: number, event: "token", value: TokenEvent }} TokenMessage
 * @typedef {{ id: number, event: "stage", value: string }} StageEvent
 * @typedef {{ id: number, event: "controls", value: Controls }} ControlsEvent the engine runs
 * @typedef {{ id: number, event: "about", value: About | null }} AboutEvent while loading, before any shard
 * @typedef {{ id: number, event: "vision" }} VisionEvent pictures can be looked at, while loading
 * @typedef {{ event: "lost", error: PlainError }} LostEvent
 * @typedef {ResultEvent | ErrorEvent | ProgressEvent | TokenMessage | StageEvent | ControlsEvent | AboutEvent | VisionEvent | LostEvent} FromWorker
 *
 * The classes that `wasm-bindgen` exports, as the worker sees them.
 * @typedef {object} WasmConversation
 * @property {(files: Uint8Array[], signal?: AbortSignal) => Promise<PictureInfo[]>} setPictures
 * @property {(question: string, options: AskOptions & { signal?: AbortSignal, onToken?: (token: TokenEvent) => void }) => Promise<import("./types.js").Answer>} ask
 * @property {(question: string, candidates: string[], options: RankOptions & { signal?: AbortSignal }) => Promise<Ranked[]>} rank
 * @property {(question: string, options: { against?: string, instructionAware?: boolean, signal?: AbortSignal }) => Promise<AttentionMaps>} attention
 * @property {() => void} free
 *
 * @typedef {object} WasmModel
 * @property {Promise<ModelInfo>} ready settles when all of it is there
 * @property {WasmConversation} main the conversation that is there from the start
 * @property {() => WasmConversation} conversation a new one
 * @property {(prompt: Prompt) => Promise<FilledPrompt>} prompt
 * @property {(golden: Uint8Array, name?: string, options?: VerifyOptions) => Promise<VerifyReport>} verify
 * @property {(name: string, options: BenchOptions, machine: Machine, onStage: (stage: string) => void) => Promise<any>} bench
 * @property {Promise<PlainError>} lost settles when the GPU device is lost
 * @property {() => void} free
 *
 * @typedef {object} WasmModule
 * @property {(options: { module_or_path: URL }) => Promise<unknown>} default
 * @property {() => Controls} controls
 * @property {{ load(url: string, options: { onProgress?: (progress: Progress) => void, onAbout?: (about: About | null) => void, onVision?: () => void, signal?: AbortSignal, store?: import("./store.js").Store, stallTimeout?: number }): WasmModel }} Model
 */

export {};
