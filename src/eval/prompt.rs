//! The prompt of an item: a preset, a template of the data file, or the task's default.

use super::line::Line;
use super::metric::Metric;
use crate::prompt::{Preset, Turn, dialogue, lettered, with_context};

/// The finished prompt, or what is wrong with the line.
pub fn build(line: &Line, metric: Metric) -> Result<String, String> {
    let question = line.question.as_deref().unwrap_or_default();
    let prompt = match &line.prompt {
        Some(template) if template.contains('{') => fill(template, line)?,
        Some(name) => {
            let preset: Preset = serde_json::from_value(serde_json::Value::String(name.clone()))
                .map_err(|_| {
                    format!(
                        "prompt \"{name}\" is neither a preset nor a template with {{question}}"
                    )
                })?;
            preset.prompt(question)
        }
        None if !line.history.is_empty() => dialogue(&turns(line), question),
        None => match &line.context {
            Some(context) => with_context(context, question),
            None if metric == Metric::Cider && question.is_empty() => {
                Preset::CaptionShort.prompt("")
            }
            None => Preset::ShortAnswer.prompt(question),
        },
    };
    if prompt.trim().is_empty() {
        return Err("the question is empty".into());
    }
    Ok(prompt)
}

fn turns(line: &Line) -> Vec<Turn> {
    let turn = |(question, answer): (String, String)| Turn { question, answer };
    line.history.iter().cloned().map(turn).collect()
}

/// Replaces `{question}`, `{context}`, `{options}` ("(a) red (b) blue") and `{history}`.
fn fill(template: &str, line: &Line) -> Result<String, String> {
    let mut prompt = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) =
            after.split_once('}').ok_or_else(|| format!("prompt \"{template}\" lacks a }}"))?;
        prompt.push_str(before);
        match name {
            "question" => prompt.push_str(line.question.as_deref().unwrap_or_default()),
            "context" => prompt.push_str(line.context.as_deref().unwrap_or_default()),
            "options" => prompt.push_str(&lettered(&line.candidates)),
            "history" => {
                let turns: Vec<_> = line.history.iter().map(|(q, a)| format!("{q} {a}")).collect();
                prompt.push_str(&turns.join(" "));
            }
            name => {
                return Err(format!(
                    "prompt has {{{name}}}; there are question, context, options and history"
                ));
            }
        }
        rest = after;
    }
    prompt.push_str(rest);
    Ok(prompt)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn prompt(line: &str, metric: Metric) -> Result<String, String> {
        build(&serde_json::from_str(line).unwrap(), metric)
    }

    #[test]
    fn defaults_follow_the_item() {
        let of = |line, metric| prompt(line, metric).unwrap();
        assert_eq!(of(r#"{"image":"a"}"#, Metric::Cider), "A short image description:");
        assert_eq!(
            of(r#"{"image":"a","question":"why?"}"#, Metric::Vqa),
            "Question: why? Short answer:"
        );
        assert!(of(r#"{"image":"a","question":"q","context":"c"}"#, Metric::Exact).contains("c"));
        assert!(
            of(r#"{"image":"a","question":"q","history":[["x?","y"]]}"#, Metric::Mrr)
                .contains("x? y")
        );
        assert_eq!(of(r#"{"image":"a","prompt":"free","question":" q"}"#, Metric::Vqa), " q");
    }

    #[test]
    fn templates_are_filled_once() {
        let line = r#"{"image":"a","question":"{context}?","candidates":["red","blue"],
            "prompt":"{question} Options: {options}. Answer:"}"#;
        assert_eq!(
            prompt(line, Metric::Exact).unwrap(),
            "{context}? Options: (a) red (b) blue. Answer:"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        let reason = |line| prompt(line, Metric::Exact).unwrap_err();
        assert!(reason(r#"{"image":"a"}"#).contains("empty"));
        assert!(reason(r#"{"image":"a","prompt":"{answer}"}"#).contains("{answer}"));
        assert!(reason(r#"{"image":"a","prompt":"{question"}"#).contains("lacks"));
        assert!(reason(r#"{"image":"a","prompt":"shout"}"#).contains("shout"));
    }
}
