//! The options of generation, under the reference's names.

use instructblip_web::session::AskOptions;

/// How to answer. What is not given comes from the checkpoint's generation_config.json, or has
/// the default of transformers: greedy decoding.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Generation")]
pub struct GenerationArgs {
    /// At most this many tokens [default: 256].
    #[arg(long, value_name = "TOKENS")]
    max_new_tokens: Option<usize>,
    /// No end before this many tokens, the start token counted [default: 0].
    #[arg(long, value_name = "TOKENS")]
    min_length: Option<usize>,
    /// Beam search with this many beams, 1 to 10 [default: 1].
    #[arg(long, value_name = "BEAMS")]
    num_beams: Option<usize>,
    /// Draw tokens in place of taking the most likely.
    #[arg(long)]
    do_sample: bool,
    /// Divides the logits of a draw [default: 1].
    #[arg(long)]
    temperature: Option<f32>,
    /// Draw among this many of the most likely tokens, 0 for all [default: 50].
    #[arg(long, value_name = "TOKENS")]
    top_k: Option<usize>,
    /// Draw among the most likely tokens whose probabilities reach this sum [default: 1].
    #[arg(long, value_name = "SUM")]
    top_p: Option<f32>,
    /// The same seed draws the same tokens [default: a new one].
    #[arg(long)]
    seed: Option<u32>,
    /// Of beams: above 0 favours long answers, below 0 short ones [default: 1].
    #[arg(long, allow_negative_numbers = true, value_name = "EXPONENT")]
    length_penalty: Option<f32>,
    /// Above 1 discourages what was said [default: 1].
    #[arg(long, value_name = "FACTOR")]
    repetition_penalty: Option<f32>,
    /// No run of this many tokens comes twice; 0 for no such rule [default: 0].
    #[arg(long, value_name = "TOKENS")]
    no_repeat_ngram_size: Option<usize>,
    /// Print this many answers: at most as many as beams, or drawn [default: 1].
    #[arg(long, value_name = "ANSWERS")]
    num_return_sequences: Option<usize>,
    /// End the answer where it has said this; may be given several times.
    #[arg(long = "stop-string", value_name = "TEXT")]
    stop_strings: Vec<String>,
}

impl From<&GenerationArgs> for AskOptions {
    fn from(args: &GenerationArgs) -> Self {
        Self {
            max_new_tokens: args.max_new_tokens,
            min_length: args.min_length,
            num_beams: args.num_beams,
            do_sample: args.do_sample.then_some(true),
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            seed: args.seed,
            length_penalty: args.length_penalty,
            repetition_penalty: args.repetition_penalty,
            no_repeat_ngram_size: args.no_repeat_ngram_size,
            num_return_sequences: args.num_return_sequences,
            stop_strings: args.stop_strings.clone(),
        }
    }
}
