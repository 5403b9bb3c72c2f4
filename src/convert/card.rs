//! The card of a converted model: a `README.md` that says what the folder is and how to load it.
//!
//! In: the source's configuration and what the conversion counted. Out: Markdown, the same for
//! the same weights and recipe. A source with a card of its own keeps that: none is written then.
//! Of what comes from outside only the name of the source is shown, and only where it has the
//! form of a repository's, whose characters mean nothing to YAML or Markdown in quotes.

use super::Summary;
use crate::checkpoint::folder::read_small;
use crate::checkpoint::repository::is_repository;
use crate::quant::Format;
use serde::Deserialize;
use std::fs;
use std::path::Path;

/// The card's file.
pub const FILE: &str = "README.md";

/// By which a card of ours is known.
const MARK: &str = "<!-- Written by instructblip convert, which replaces it. -->";

/// Longest name of a source that is shown, the hub's own limit.
const MAX_NAME: usize = 96;

/// Whether a card was written here, and not by a person.
pub fn is_ours(card: &[u8]) -> bool {
    std::str::from_utf8(card).is_ok_and(|text| text.contains(MARK))
}

/// Whether a folder has a card that is not ours, which stays.
pub fn is_kept(folder: &Path) -> bool {
    let path = folder.join(FILE);
    let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    is_file && !read_small(&path).is_ok_and(|card| is_ours(&card))
}

/// The name of the repository that the configuration says the model is from.
fn source(config: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "_name_or_path")]
        name: String,
    }
    let Named { name } = serde_json::from_slice(config).ok()?;
    (name.len() <= MAX_NAME && is_repository(&name)).then_some(name)
}

/// The card's text. `formats` is how many matrices are in each format, the recipe's own first.
pub fn text(
    config: &[u8],
    model_type: &str,
    formats: &[(Format, usize)],
    summary: &Summary,
) -> String {
    let source = source(config);
    let base = source.as_ref().map(|name| format!("base_model: \"{name}\"\n"));
    let from = source.map(|name| format!("| converted from | `{name}` |\n"));
    let formats: Vec<String> =
        formats.iter().map(|(format, count)| format!("{count} in {format}")).collect();
    format!(
        "---
library_name: instructblip-web
{base}---

{MARK}

# {family}, as a shard set

A folder that instructblip-web loads in a browser tab or on the command line: the weights in
safetensors files named by their hash, an index with the length and SHA-256 of each, the
configuration and the tokenizers.

| | |
|---|---|
{from}| matrices | {formats}; all other tensors in f32 |
| tensors | {tensors} |
| weights | {bytes} bytes |
| their files | {files} |
| converted by | `instructblip convert`, version {version} |

The format is named in `config.json` under `quantization_config`, with the matrices that have
another one.

## How to load it

In a page, with `instructblip.js` and the folders `engine` and `dist` beside it, from any host that
allows cross-origin reads:

```js
import {{ Model }} from \"./instructblip.js\";

const model = await Model.load(\"./FOLDER/\");
await model.setPicture(new Uint8Array(await file.arrayBuffer()));
const answer = await model.ask(\"What is in the picture?\");
```

On the command line, and back to a plain checkpoint for transformers:

```sh
instructblip ask --model FOLDER --image PICTURE \"What is in the picture?\"
instructblip export FOLDER PLAIN
```

## Terms

Those of the model that it was converted from; where that had files of terms, they lie beside this.
",
        base = base.unwrap_or_default(),
        family = if model_type == "blip-2" { "BLIP-2" } else { "InstructBLIP" },
        from = from.unwrap_or_default(),
        formats = formats.join(", "),
        tensors = summary.tensors,
        bytes = summary.bytes,
        files = summary.files,
        version = env!("CARGO_PKG_VERSION"),
    )
}
