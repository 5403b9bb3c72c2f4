// Written by `cargo xtask types` from the types in src/.

/** What loading is at. */
export type Phase = "manifest" | "download" | "cache" | "upload" | "pipelines" | "ready";

/** How far loading has come. */
export type Progress = {
  /** What it is at. */
  phase: Phase,
  /** Bytes of shards that have arrived, from the network or the storage. */
  loaded: number,
  /** Bytes of shards that are on the GPU. */
  uploaded: number,
  /** Bytes of all shards. */
  total: number,
  /** Bytes of shards that came out of the browser's storage. */
  fromCache: number,
  /** At which bytes arrive in this phase, over the last seconds. */
  bytesPerSecond: number,
  /** Null while it cannot be told. */
  secondsLeft: number | null,
  /** Pipelines that the GPU has ready; it prepares them beside the download. */
  compiled: number,
  /** Pipelines in all; 0 until they are counted. */
  pipelines: number,
  /** Something the visitor should know, such as a full disk. */
  warning: string | null,
};

/** What a shard set says of itself; all of it may be absent. Whoever made the set wrote it: show it
 * as text only. */
export type About = {
  /** What the model was trained on, by language. */
  knows: { [key in string]: string },
  /** The language that it is asked in. */
  language?: string,
  /** Whether it was trained on dialogues. */
  dialogues?: boolean,
  /** Greedy answers of a lower probability are often wrong. */
  unsureBelow?: number,
};

/** What was loaded. */
export type ModelInfo = {
  /** The folder's name. */
  name: string,
  /** How the weights are packed, such as `q4`. */
  format: string,
  /** Weights, counted unpacked. */
  parameters: number,
  /** Bytes of all shards. */
  bytes: number,
};

/** What [`Session::set_pictures`] found of one picture. */
export type PictureInfo = {
  /** Width in pixels, as a person sees the picture (EXIF orientation applied). */
  width: number,
  /** Height in pixels. */
  height: number,
  /** Time for decoding and resizing. */
  preprocessMs: number,
  /** Time for the vision tower, until the GPU was done. Both times are 0 where the picture
   * was among the current ones already. */
  visionMs: number,
};

/** One decoded token of the first answer. With beams tokens come once every beam that may still
 * win shares them. */
export type TokenEvent = {
  /** The token's id. */
  id: number,
  /** Text that cannot change any more; may be empty. */
  text: string,
  /** Log-probability of the token among what it was chosen from, penalties included. */
  logProbability: number,
  /** Milliseconds since the question. */
  milliseconds: number,
};

/** Why a text ended. */
export type StopReason = "end" | "length" | "stop-string" | "asked";

/** One of several answers. */
export type Candidate = {
  /** Its text. */
  text: string,
  /** Its ids. */
  ids: Array<number>,
  /** Its score, of beams. */
  score: number | null,
  /** Sum of its tokens' log-probabilities among what they were chosen from. */
  logProbability: number,
  /** Geometric mean of its tokens' probabilities, the end token's included, from 0 to 1: how
   * sure the model was of a token on average. Each is the probability among what the token was
   * chosen from: the model's own in greedy decoding and in beams, unless penalties or bans
   * changed it; of drawn tokens that after `temperature`, `top_k` and `top_p`. */
  probability: number,
  /** Why it ended. */
  stopReason: StopReason,
};

/** Where the time of an answer went. */
export type Statistics = {
  /** From the question to its first settled token. */
  timeToFirstTokenMs: number,
  /** Decoder steps after the first, over their time; 0 for a single one. A step makes a token
   * of every beam or answer. */
  tokensPerSecond: number,
  /** Generated tokens, the end token included. */
  tokens: number,
  /** Decoder steps; more than tokens where beam search went on for a better answer. */
  steps: number,
  /** Time of the vision tower; 0 when it was cached. */
  visionMs: number,
  /** Kernels of the vision tower that ran for this answer; 0 when it was cached. */
  visionDispatches: number,
  /** Time of the bridge: the Q-Former and its projection. */
  bridgeMs: number,
  /** Time for reading the prompt: all that comes before the first step. */
  prefillMs: number,
  /** Time of all steps. */
  decoderMs: number,
  /** The picture's features were there from an earlier question. */
  visionCached: boolean,
  /** Kernels of a decoder step after the first. */
  dispatchesPerToken: number,
  /** Submits of such a step, by the rules of Burn's stream (`meter`). */
  submitsPerToken: number,
  /** Bytes read back in such a step. */
  readbackBytesPerToken: number,
};

/** A finished answer. */
export type Answer = {
  /** The answer's text, special tokens left out. */
  text: string,
  /** The generated ids, the end token included. */
  ids: Array<number>,
  /** Its score in beam search: log-probability over the penalised length. */
  score: number | null,
  /** See [`Candidate::probability`]. */
  probability: number,
  /** All answers asked for, this one first: beams by score, drawn ones as they were drawn. */
  candidates: Array<Candidate>,
  /** The question was longer than the model takes and lost its beginning. */
  truncatedQuestion: boolean,
  /** The caller stopped it, or the limit of tokens did: the answer may be unfinished. */
  stopped: boolean,
  /** Why it ended. */
  stopReason: StopReason,
  /** What the tokens were drawn with; repeats the answer on the same kind of device. */
  seed: number | null,
  /** Where the time went. */
  statistics: Statistics,
};

/** How to rank. */
export type RankOptions = {
  /** What is known beforehand: a weight above 0 for every candidate. All alike if absent. */
  prior?: Array<number>,
  /** See [`AskOptions::instruction_aware`](super::AskOptions::instruction_aware). */
  instructionAware?: boolean,
};

/** One candidate's place. */
export type Ranked = {
  /** Its place among the candidates as they were given. */
  index: number,
  /** Its text. */
  text: string,
  /** Natural logarithm of its probability as an answer, its end included. */
  logLikelihood: number,
  /** Among these candidates, the prior taken into account; all add up to 1. */
  probability: number,
};

/** Where the queries look in one layer. */
export type LayerMap = {
  /** The Q-Former's layer. */
  layer: number,
  /** Mean over queries. */
  average: Array<number>,
  /** As [`PictureMap::class_share`]. */
  classShare: number,
};

/** Where the queries look in one picture. All values are probabilities, or their differences. */
export type AttentionMap = {
  /** Mean over queries, in the last layer that looks at the picture. With `class_share` it sums
   * to 1. */
  average: Array<number>,
  /** The same layer for each query. */
  queries: Array<Array<number>>,
  /** The part of the attention that went to the class token, which has no place. */
  classShare: number,
  /** All layers that look at the picture, in order. */
  layers: Array<LayerMap>,
};

/** Maps over all current pictures. */
export type AttentionMaps = {
  /** Patches along a side; a map has `side * side` values, row by row from the top left. */
  side: number,
  /** One entry a picture. */
  pictures: Array<AttentionMap>,
  /** The same for this question less the same for the other, where there is one: above zero
   * where this question made the model look more. */
  difference: Array<AttentionMap> | null,
};

/** A question of a dialogue and its answer. */
export type DialogueTurn = {
  /** What was asked. */
  question: string,
  /** What was answered. */
  answer: string,
};

/** A request to the model, typed. In JSON its name is in `kind`. */
export type Prompt = { "kind": "caption" } | { "kind": "description" } | { "kind": "short-answer",
  /** The question. */
  question: string,
} | { "kind": "long-answer",
  /** The question. */
  question: string,
} | { "kind": "question",
  /** Its answer. */
  answer: string,
} | { "kind": "multiple-choice",
  /** The question. */
  question: string,
  /** The answers. */
  options: Array<string>,
} | { "kind": "dialogue",
  /** What was said, oldest first. */
  turns: Array<DialogueTurn>,
  /** The next question. */
  question: string,
} | { "kind": "context",
  /** The text. */
  context: string,
  /** The question. */
  question: string,
};

/** A prompt's text. */
export type FilledPrompt = {
  /** For both tokenizers. */
  text: string,
  /** Turns of a dialogue, the oldest, that were left out because the model takes no more. */
  droppedTurns: number,
};

/** What to compare, and how strictly. */
export type VerifyOptions = {
  /** Largest relative error of a stage. */
  tolerance: number,
  /** Leave the vision tower out: the stages after it start from the golden's own features. */
  fromVision: boolean,
  /** End after the vision tower. */
  onlyVision: boolean,
};

/** One compared tensor. */
export type StageReport = {
  /** The tensor's name in the golden. */
  name: string,
  /** max |a - b|. */
  maxAbsolute: number,
  /** ‖a - b‖ / ‖b‖ with b the golden. */
  relative: number,
  /** Time until the GPU had it, reading it back included. */
  milliseconds: number,
  /** Within the tolerance. */
  ok: boolean,
};

/** One compared list of token ids. */
export type IdsReport = {
  /** What was compared. */
  name: string,
  /** The golden's ids. */
  expected: Array<number>,
  /** Ours. */
  found: Array<number>,
  /** Time of the computation. */
  milliseconds: number,
  /** All equal. */
  ok: boolean,
};

/** The comparison with one golden. */
export type VerifyReport = {
  /** The golden's file name. */
  golden: string,
  /** Its prompt. */
  prompt: string,
  /** Stages, in order. */
  stages: Array<StageReport>,
  /** The language model's, the Q-Former's and generated ids. */
  ids: Array<IdsReport>,
  /** Everything within its tolerance. */
  ok: boolean,
};

/** What to measure. */
export type BenchOptions = {
  /** Runs of every stage that count; fewer where they take long. */
  iterations: number,
  /** Tokens of an answer. */
  tokens: number,
  /** What the Q-Former and the encoder read. */
  question: string,
  /** Run the vision tower, on which software GPUs spend minutes. */
  vision: boolean,
  /** Measure the products alone, too. */
  kernels: boolean,
};

/** Where it was measured. */
export type Machine = {
  /** The GPU, as its driver or the browser names it. */
  adapter: string,
  /** What it is driven by. */
  driver: string,
  /** System and processor, or the browser. */
  host: string,
  /** Of this program. */
  build: string,
};
