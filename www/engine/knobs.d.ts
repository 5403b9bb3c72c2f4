// Written by `cargo xtask types` from the table in src/config/knobs.rs.

/** How to answer. What is left out is the checkpoint's own setting, then that of `transformers`. */
export interface AskOptions {
  /** At most this many tokens, 1 to 1024 [default: 256]. */
  maxNewTokens?: number;
  /** No end before this many tokens, the start token counted [default: 0]. */
  minLength?: number;
  /** Beam search with this many beams, 1 to 10 [default: 1]. */
  numBeams?: number;
  /** Draw tokens in place of taking the most likely. */
  doSample?: boolean;
  /** Divides the logits of a draw [default: 1]. */
  temperature?: number;
  /** Draw among this many of the most likely tokens, 0 for all [default: 50]. */
  topK?: number;
  /** Draw among the most likely tokens whose probabilities reach this sum, 0 to 1 [default: 1]. */
  topP?: number;
  /** The same seed draws the same tokens [default: a new one]. */
  seed?: number;
  /** Of beams: above 0 favours long answers, below 0 short ones, -10 to 10 [default: 1]. */
  lengthPenalty?: number;
  /** Above 1 discourages what was said [default: 1]. */
  repetitionPenalty?: number;
  /** No run of this many tokens comes twice; 0 for no such rule [default: 0]. */
  noRepeatNgramSize?: number;
  /** Return this many answers: at most as many as beams, or drawn, 1 to 10 [default: 1]. */
  numReturnSequences?: number;
  /** End the answer with the token that completes one of these. */
  stopStrings?: string[];
  /** Whether the Q-Former reads the question, if it can [default: true]. */
  instructionAware?: boolean;
}

/** A knob of `AskOptions` as a page shows it. */
export interface Knob {
  /** As in `transformers`: the option in snake case. */
  name: string;
  kind: "count" | "number" | "flag" | "seed" | "texts";
  /** What holds unless told otherwise, of a count, a number or a flag. */
  default?: number | boolean;
  group: string;
  hint: string;
  /** Of a count, a number or a seed. */
  slider: [min: number, max: number, step: number] | null;
  /** It does nothing without sampling, with it, or without several beams. */
  needs: "sampling" | "search" | "beams" | null;
}

/** What a page offers for a question. */
export interface Controls {
  /** Group by group. */
  knobs: Knob[];
  limits: {
    /** Pictures of a question. */
    pictures: number;
  };
}
