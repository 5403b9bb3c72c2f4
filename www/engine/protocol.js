/**
 * The messages between the page and its worker, and the values they carry.
 *
 * This file holds types only; `engine.js` (page side) and `worker.js` (worker side) import them.
 * The values have the same names in Rust (`src/session/`), options those of `transformers`.
 *
 * @typedef {object} Progress How far loading has come.
 * @property {"manifest" | "download" | "cache" | "upload" | "pipelines" | "ready"} phase `cache`
 *   while shards come out of the browser's storage and none is being fetched; `upload` while the
 *   last of them go to the GPU; `pipelines` while the model is put together
 * @property {number} loaded bytes of shards that have arrived, from the network or the cache
 * @property {number} uploaded bytes of shards that are on the GPU
 * @property {number} total bytes of all shards
 * @property {number} fromCache bytes of shards that came out of the browser's cache
 * @property {number} bytesPerSecond at which bytes arrive in this phase, over the last seconds
 * @property {number | null} secondsLeft null while it cannot be told
 * @property {string | null} warning something the visitor should know, such as a full disk
 *
 * @typedef {object} ModelInfo
 * @property {string} name
 * @property {string} format how the weights are packed, such as `q4`
 * @property {number} parameters
 * @property {number} bytes of all shards
 *
 * @typedef {object} StoredModel A model in the browser's storage.
 * @property {string} url the folder's address
 * @property {string} name
 * @property {string} format
 * @property {number} bytes of all its files
 * @property {number} storedBytes of those that are stored
 * @property {boolean} complete whether it can be loaded without the network
 *
 * @typedef {object} LoadOptions
 * @property {(progress: Progress) => void} [onProgress]
 * @property {AbortSignal} [signal]
 * @property {boolean} [cache] whether to use the browser's storage; it is unless told otherwise
 * @property {number} [stallTimeout] milliseconds of silence after which a server is asked again;
 *   20,000 unless told otherwise
 *
 * @typedef {object} PictureInfo
 * @property {number} width of the picture as a person sees it
 * @property {number} height
 * @property {number} preprocessMs spent on decoding and resizing it
 * @property {number} visionMs spent on its features
 *
 * @typedef {object} TokenEvent
 * @property {number} id
 * @property {string} text newly settled text, may be empty
 * @property {number} logProbability of the token, after penalties
 * @property {number} milliseconds since the question was asked
 *
 * @typedef {object} Statistics
 * @property {number} timeToFirstTokenMs
 * @property {number} tokensPerSecond
 * @property {number} tokens
 * @property {number} steps of the decoder; beam search may go on after the best answer ended
 * @property {number} visionMs
 * @property {number} visionDispatches kernels of the vision tower that ran for it; 0 when cached
 * @property {number} bridgeMs
 * @property {number} prefillMs
 * @property {number} decoderMs
 * @property {boolean} visionCached whether the picture's features were there already
 * @property {number} dispatchesPerToken kernels that a step of the decoder runs
 * @property {number} submitsPerToken times that a step hands work to the GPU
 * @property {number} readbackBytesPerToken bytes that a step reads from the GPU
 *
 * @typedef {object} Candidate
 * @property {string} text
 * @property {number[]} ids
 * @property {number | null} score of a beam: its log-probability over its penalised length
 * @property {number} logProbability sum over its tokens, among what they were chosen from
 * @property {"end" | "length" | "stop-string" | "asked"} stopReason
 *
 * @typedef {object} Answer
 * @property {string} text of the best candidate
 * @property {number[]} ids
 * @property {number | null} score
 * @property {Candidate[]} candidates `numReturnSequences` of them, best first
 * @property {boolean} truncatedQuestion whether the question's beginning was cut off
 * @property {boolean} stopped whether it was stopped, or reached its limit, before its end
 * @property {"end" | "length" | "stop-string" | "asked"} stopReason
 * @property {number | null} seed that was sampled with
 * @property {Statistics} statistics
 * @property {string} prompt what the model was given
 * @property {number} droppedTurns of a dialogue that did not fit, the oldest
 *
 * The knobs: `knobs.d.ts` is written from their table, `src/config/knobs.rs`.
 * @typedef {import("./knobs.js").AskOptions} AskOptions
 * @typedef {import("./knobs.js").Knob} Knob
 * @typedef {import("./knobs.js").Controls} Controls
 *
 * @typedef {object} Ranked
 * @property {number} index of the candidate as it was given
 * @property {string} text
 * @property {number} logLikelihood
 * @property {number} probability among the candidates
 *
 * The Q-Former's attention on one picture. A map has `side` rows of `side` patches, row by row.
 * @typedef {object} AttentionMap
 * @property {number[]} average over the queries, in the last layer that looks at the picture
 * @property {number[][]} queries in that layer
 * @property {number} classShare part of the attention that lies on no patch
 * @property {{ layer: number, average: number[], classShare: number }[]} layers
 *
 * @typedef {object} AttentionMaps
 * @property {number} side
 * @property {AttentionMap[]} pictures
 * @property {AttentionMap[] | null} difference to the question given as `against`
 *
 * A question with a template of the reference; `prompts.js` makes them.
 * @typedef {{ question: string, answer: string }} DialogueTurn
 * @typedef {{ kind: "caption" }
 *   | { kind: "description" }
 *   | { kind: "short-answer", question: string }
 *   | { kind: "long-answer", question: string }
 *   | { kind: "question", answer: string }
 *   | { kind: "multiple-choice", question: string, options: string[] }
 *   | { kind: "dialogue", turns: DialogueTurn[], question: string }
 *   | { kind: "context", context: string, question: string }} Prompt
 *
 * @typedef {object} FilledPrompt
 * @property {string} text
 * @property {number} droppedTurns
 *
 * @typedef {object} VerifyOptions
 * @property {number} [tolerance] largest relative error of a stage
 * @property {boolean} [fromVision] start from the golden's features of the picture
 * @property {boolean} [onlyVision] end after the vision tower
 *
 * What to measure; see `BenchOptions` in src/bench.
 * @typedef {object} BenchOptions
 * @property {number} [iterations] runs of every stage
 * @property {number} [tokens] of an answer
 * @property {string} [question]
 * @property {boolean} [vision] whether to run the vision tower
 * @property {boolean} [kernels] whether to measure the products alone
 *
 * @typedef {object} Machine Where it is measured.
 * @property {string} adapter
 * @property {string} driver
 * @property {string} host
 * @property {string} build
 *
 * @typedef {object} PlainError An error as it crosses between worker and page.
 * @property {import("./errors.js").ErrorCode} code
 * @property {string} message
 *
 * What the page asks of the worker. `id` names the request in everything that belongs to it;
 * `conversation` is 0 for the one that is there from the start.
 * @typedef {{ id: number, call: "load", url: string, cache: boolean, stallTimeout: number | undefined }} LoadCall
 * @typedef {{ id: number, call: "setPictures", conversation: number, files: Uint8Array[] }} SetPicturesCall
 * @typedef {{ id: number, call: "ask", conversation: number, question: string | Prompt, options: AskOptions }} AskCall
 * @typedef {{ id: number, call: "rank", conversation: number, question: string | Prompt, candidates: string[], prior: number[] | undefined }} RankCall
 * @typedef {{ id: number, call: "attention", conversation: number, question: string | Prompt, against: string | Prompt | undefined }} AttentionCall
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
 * @typedef {{ id: number, event: "vision" }} VisionEvent pictures can be looked at, while loading
 * @typedef {{ event: "lost", error: PlainError }} LostEvent
 * @typedef {ResultEvent | ErrorEvent | ProgressEvent | TokenMessage | StageEvent | ControlsEvent | VisionEvent | LostEvent} FromWorker
 *
 * The classes that `wasm-bindgen` exports, as the worker sees them.
 * @typedef {object} WasmConversation
 * @property {(files: Uint8Array[], signal?: AbortSignal) => Promise<PictureInfo[]>} setPictures
 * @property {(question: string, options: AskOptions & { signal?: AbortSignal, onToken?: (token: TokenEvent) => void }) => Promise<Omit<Answer, "prompt" | "droppedTurns">>} ask
 * @property {(question: string, candidates: string[], options: { prior?: number[], signal?: AbortSignal }) => Promise<Ranked[]>} rank
 * @property {(question: string, options: { against?: string, signal?: AbortSignal }) => Promise<AttentionMaps>} attention
 * @property {() => void} free
 *
 * @typedef {object} WasmModel
 * @property {Promise<ModelInfo>} ready settles when all of it is there
 * @property {WasmConversation} main the conversation that is there from the start
 * @property {() => WasmConversation} conversation a new one
 * @property {(prompt: Prompt) => Promise<FilledPrompt>} prompt
 * @property {(golden: Uint8Array, name?: string, options?: VerifyOptions) => Promise<any>} verify
 * @property {(name: string, options: BenchOptions, machine: Machine, onStage: (stage: string) => void) => Promise<any>} bench
 * @property {Promise<PlainError>} lost settles when the GPU device is lost
 * @property {() => void} free
 *
 * @typedef {object} WasmModule
 * @property {(options: { module_or_path: URL }) => Promise<unknown>} default
 * @property {() => Controls} controls
 * @property {{ load(url: string, options: { onProgress?: (progress: Progress) => void, onVision?: () => void, signal?: AbortSignal, store?: import("./store.js").Store, stallTimeout?: number }): WasmModel }} Model
 */

export {};
