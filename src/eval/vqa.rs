//! Accuracy of short answers, as the VQA challenge's `vqaEval.py` computes it.
//!
//! The oddities are the reference's, kept so that figures can be compared: whether a mark is
//! deleted or becomes a space depends on its neighbours, a comma between digits anywhere
//! deletes all marks, apostrophes are no marks, and the answers of people are freed of marks
//! but not of articles.

mod contractions;

use contractions::CONTRACTIONS;

const MARKS: [char; 21] = [
    ';', '/', '[', ']', '"', '{', '}', '(', ')', '=', '+', '\\', '_', '-', '>', '<', '@', '`', ',',
    '?', '!',
];
const NUMBERS: [(&str, &str); 12] = [
    ("none", "0"),
    ("zero", "0"),
    ("one", "1"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
];
/// The reference passes `re.UNICODE`, which is 32, where `re.sub` takes its limit.
const MOST_PERIODS: usize = 32;

/// The share of people a prediction agrees with: each person's answer is left out in turn, and
/// three of the others are full agreement. 0 to 1. With fewer than four answers 1 is out of
/// reach.
#[must_use]
pub fn accuracy(prediction: &str, people: &[String]) -> f64 {
    let prediction = normalize(prediction);
    let unanimous = people.windows(2).all(|pair| pair[0] == pair[1]);
    let agrees: Vec<bool> = people
        .iter()
        .map(
            |answer| {
                if unanimous { *answer == prediction } else { strip_marks(answer) == prediction }
            },
        )
        .collect();
    let all = agrees.iter().filter(|&&agrees| agrees).count();
    let sum: f64 = agrees.iter().map(|&own| ((all - usize::from(own)) as f64 / 3.0).min(1.0)).sum();
    if people.is_empty() { 0.0 } else { sum / people.len() as f64 }
}

/// Whether a prediction equals one of the answers, both normalised.
#[must_use]
pub fn exact(prediction: &str, answers: &[String]) -> bool {
    let prediction = normalize(prediction);
    answers.iter().any(|answer| normalize(answer) == prediction)
}

/// Lower case, without marks and articles, numbers up to ten as digits, contractions with
/// their apostrophe.
#[must_use]
pub fn normalize(text: &str) -> String {
    let text = strip_marks(text.replace(['\n', '\t'], " ").trim());
    let words: Vec<String> = text
        .to_lowercase()
        .split_whitespace()
        .map(|word| find(&NUMBERS, word).unwrap_or(word).to_owned())
        .filter(|word| !matches!(word.as_str(), "a" | "an" | "the"))
        .map(|word| find(&CONTRACTIONS, &word).map_or(word.clone(), str::to_owned))
        .collect();
    words.join(" ")
}

fn find(table: &[(&str, &'static str)], word: &str) -> Option<&'static str> {
    table.iter().find(|(from, _)| *from == word).map(|&(_, to)| to)
}

fn strip_marks(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let thousands = chars
        .windows(3)
        .any(|three| three[1] == ',' && three[0].is_ascii_digit() && three[2].is_ascii_digit());
    let beside_space =
        |mark| chars.windows(2).any(|pair| pair == [mark, ' '] || pair == [' ', mark]);
    let mut marked = Vec::with_capacity(chars.len());
    for &c in &chars {
        if !MARKS.contains(&c) {
            marked.push(c);
        } else if !thousands && !beside_space(c) {
            marked.push(' ');
        }
    }
    let mut periods = 0;
    let mut out = String::with_capacity(text.len());
    for (i, &c) in marked.iter().enumerate() {
        let before_digit = marked.get(i + 1).is_some_and(char::is_ascii_digit);
        if c == '.' && !before_digit && periods < MOST_PERIODS {
            periods += 1;
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases with the results of `vqaEval.py` (LAVIS 1.0.2, Python 3.11), among them each oddity.
    const NORMALIZED: &[(&str, &str)] = &[
        ("Yes.", "yes"),
        ("The dog", "dog"),
        ("a red, white and blue flag", "red white and blue flag"),
        ("red,white", "red white"),
        ("1,000 dogs", "1000 dogs"),
        ("$1,000!", "$1000"),
        ("two", "2"),
        ("none", "0"),
        ("3.5 inches", "3.5 inches"),
        ("5.", "5"),
        ("12:30 p.m.", "12:30 pm"),
        ("U.S.A.", "usa"),
        ("black-and-white", "black and white"),
        ("half - empty", "half empty"),
        ("it's", "it's"),
        ("dont", "don't"),
        ("Im", "im"),
        ("The man's hat isnt", "man's hat isn't"),
        ("on/off", "on off"),
        ("\tA \n tree? ", "tree"),
        ("coca-cola", "coca cola"),
        ("somebody'd", "somebodyd"),
        ("{ham}+eggs", "ham eggs"),
        ("........................................", "........"),
        ("An an the a", ""),
        ("Ten, nine", "10 9"),
        ("what?!", "what"),
        ("ÉTÉ", "été"),
        ("x.5 .7", "x.5 .7"),
        ("yall'd've", "y'all'd've"),
    ];

    #[test]
    fn normalizes_as_the_reference() {
        for (text, expected) in NORMALIZED {
            assert_eq!(normalize(text), *expected, "{text:?}");
        }
    }

    /// Prediction, answers of people, `evalQA / 100` of the reference.
    const SCORED: &[(&str, &str, f64)] = &[
        ("yes", "yes|yes|yes|yes|yes|yes|yes|yes|yes|no", 1.0),
        ("no", "yes|yes|yes|yes|yes|yes|yes|yes|yes|no", 0.3),
        ("no", "yes|yes|yes|yes|yes|yes|yes|no|no|no", 0.9),
        ("no", "yes|yes|yes|yes|yes|yes|yes|yes|no|no", 0.6),
        ("No", "yes|yes|yes|yes|yes|yes|no|no|no|no", 1.0),
        ("two", "2|2|two|two|2|3|3|3|3|4", 0.9),
        ("2", "2|2|2|2|2|2|2|2|2|2", 1.0),
        (
            "The cat",
            "the cat|the cat|the cat|the cat|the cat|the cat|the cat|the cat|the cat|the cat",
            0.0,
        ),
        ("the cat", "cat|cat|cat|a cat|dog|dog|dog|dog|dog|dog", 0.9),
        (
            "black and white",
            "black and white|black-and-white|black,white|black & white|black and white.|white|grey|zebra|black|b/w",
            0.9,
        ),
        ("blue", "blue|blue|green|red", 0.5),
        ("cat", "cat|dog", 0.16666666666667),
    ];

    #[test]
    fn scores_as_the_reference() {
        for (prediction, people, expected) in SCORED {
            let people: Vec<String> = people.split('|').map(str::to_owned).collect();
            let found = accuracy(prediction, &people);
            assert!((found - expected).abs() < 1e-9, "{prediction:?} {people:?}: {found}");
        }
    }

    #[test]
    fn exact_normalizes_both_sides() {
        assert!(exact("The  Two dogs.", &["2 dogs".into()]));
        assert!(exact("dont", &["cat".into(), "don't".into()]));
        assert!(!exact("3 dogs", &["2 dogs".into()]));
        assert!(!exact("cat", &[]));
    }
}
