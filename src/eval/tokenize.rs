//! Words of a caption for CIDEr, after the Penn Treebank as `pycocoevalcap` splits them.
//!
//! The reference runs Stanford's `PTBTokenizer` (CoreNLP 3.4.1, lower case) and drops the marks
//! between words. This follows it for captions in English: clitics are split off ("is n't",
//! "cat 's"), hyphenated and slashed words stay whole, numbers keep their commas and points,
//! abbreviations their period. It does not know e-mail addresses with odd characters, markup,
//! fractions as one character, or abbreviations beyond `ABBREVIATIONS`.

/// Words that keep a period after them; single letters and "p.m." do by rule.
const ABBREVIATIONS: [&str; 22] = [
    "mr", "mrs", "ms", "dr", "jr", "sr", "st", "ave", "blvd", "rd", "vs", "etc", "inc", "co",
    "corp", "ltd", "gen", "sgt", "capt", "prof", "rev", "gov",
];
/// Endings that are words of their own.
const CLITICS: [&str; 7] = ["n't", "'s", "'re", "'ve", "'ll", "'d", "'m"];
/// Words that are two, and where the second begins.
const JOINED: [(&str, usize); 6] =
    [("cannot", 3), ("gonna", 3), ("gotta", 3), ("wanna", 3), ("lemme", 3), ("gimme", 3)];

/// The words of `text` in lower case, marks left out.
#[must_use]
pub fn tokenize(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().map(plain).collect();
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let rest = &chars[at..];
        let length = match c {
            _ if c.is_alphanumeric() => word_length(rest),
            '\'' => elision_length(rest),
            '!' | '?' => rest.iter().take_while(|&&c| matches!(c, '!' | '?')).count(),
            _ => 1,
        };
        let token: String = rest[..length].iter().collect();
        at += length;
        match token.as_str() {
            token if dropped(token) => {}
            token if c.is_alphanumeric() => split(token, &mut words),
            token => words.push(bracket(token).map_or_else(|| token.to_lowercase(), str::to_owned)),
        }
    }
    words
}

/// The reference writes typographic characters as their plain forms.
fn plain(c: char) -> char {
    match c {
        '‘' | '’' => '\'',
        '“' | '”' | '„' => '"',
        '–' | '—' => '-',
        '€' => '$',
        '£' => '#',
        c => c,
    }
}

/// The reference's list of marks to drop has the names of brackets in upper case, but the
/// tokens are in lower case, so they stay.
fn bracket(token: &str) -> Option<&'static str> {
    Some(match token {
        "(" => "-lrb-",
        ")" => "-rrb-",
        "[" => "-lsb-",
        "]" => "-rsb-",
        "{" => "-lcb-",
        "}" => "-rcb-",
        _ => return None,
    })
}

fn dropped(token: &str) -> bool {
    let mut chars = token.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => c.is_whitespace() || c.is_control() || "'\"`.?!,:-;…".contains(c),
        _ => false,
    }
}

/// Length of the word, number or abbreviation at the start of `chars`.
fn word_length(chars: &[char]) -> usize {
    let mut length = 1;
    while let Some(&c) = chars.get(length) {
        let before = chars[length - 1];
        let after = chars.get(length + 1).copied().unwrap_or(' ');
        let inside = match c {
            _ if c.is_alphanumeric() => true,
            '-' | '/' | '@' | '_' | '.' => before.is_alphanumeric() && after.is_alphanumeric(),
            '\'' => before.is_alphanumeric() && after.is_alphabetic(),
            ',' | ':' => before.is_ascii_digit() && after.is_ascii_digit(),
            _ => false,
        };
        if !inside {
            break;
        }
        length += 1;
    }
    length
        + usize::from(
            chars.get(length) == Some(&'.') && keeps_period(&chars[..length], &chars[length + 1..]),
        )
}

fn keeps_period(word: &[char], after: &[char]) -> bool {
    let text: String = word.iter().collect();
    let lower = text.to_lowercase();
    // Initials, and letters with a period after each: "p.m.".
    let initial = word.len() == 1 && word[0].is_uppercase();
    let letters = word.len() > 1
        && word
            .iter()
            .enumerate()
            .all(|(i, c)| if i % 2 == 0 { c.is_alphabetic() } else { *c == '.' });
    let number = lower == "no"
        && after.first() == Some(&' ')
        && after.get(1).is_some_and(char::is_ascii_digit);
    initial || letters || number || ABBREVIATIONS.contains(&lower.as_str())
}

/// Length of a word that begins with an apostrophe ("'90s", "'n'"), or 1 for a quotation mark.
fn elision_length(chars: &[char]) -> usize {
    let digits = chars[1..].iter().take_while(|c| c.is_ascii_digit()).count();
    match chars {
        ['\'', 'n' | 'N', '\'', ..] => 3,
        _ if digits == 2 && chars.get(3) == Some(&'s') => 4,
        _ => 1,
    }
}

/// Adds a word, its clitic split off.
fn split(word: &str, words: &mut Vec<String>) {
    let word = word.to_lowercase();
    let clitic =
        CLITICS.iter().find(|clitic| word.len() > clitic.len() && word.ends_with(**clitic));
    let joined = JOINED.iter().find(|(joined, _)| *joined == word).map(|&(_, at)| at);
    match clitic.map(|clitic| word.len() - clitic.len()).or(joined) {
        Some(at) => {
            let (first, second) = word.split_at(at);
            words.push(first.to_owned());
            words.push(second.to_owned());
        }
        None => words.push(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs of `pycocoevalcap` 1.2 with CoreNLP 3.4.1.
    const CASES: &[(&str, &str)] = &[
        ("A man riding a wave on top of a surfboard.", "a man riding a wave on top of a surfboard"),
        (
            "A black-and-white cat's tail is on the sofa's arm!",
            "a black-and-white cat 's tail is on the sofa 's arm",
        ),
        (
            "Two dogs' bowls; one is red, the other (smaller) is blue.",
            "two dogs bowls one is red the other -lrb- smaller -rrb- is blue",
        ),
        (
            "It's a sign that says \"STOP\" on the corner.",
            "it 's a sign that says stop on the corner",
        ),
        (
            "The woman isn't wearing a hat, but they're happy.",
            "the woman is n't wearing a hat but they 're happy",
        ),
        ("A $5.00 bill and 1,000 coins at 3:30 p.m.", "a $ 5.00 bill and 1,000 coins at 3:30 p.m."),
        (
            "Mr. Smith's dog can't swim... it won't try.",
            "mr. smith 's dog ca n't swim it wo n't try",
        ),
        (
            "I'd say we've seen what they'll do; I'm sure.",
            "i 'd say we 've seen what they 'll do i 'm sure",
        ),
        (
            "A street sign that reads Main St. in the U.S.",
            "a street sign that reads main st. in the u.s.",
        ),
        ("A t-shirt with #1 & 50% off.", "a t-shirt with # 1 & 50 % off"),
        ("A person cannot fly -- or can they?", "a person can not fly or can they"),
        ("A red and/or white bus at 12th Ave.", "a red and/or white bus at 12th ave."),
        ("children's toys on the 1990's rug", "children 's toys on the 1990 's rug"),
        ("The sign says 'no parking' here", "the sign says no parking here"),
        (
            "Half-eaten sandwich: ham, cheese & lettuce [on a plate]",
            "half-eaten sandwich ham cheese & lettuce -lsb- on a plate -rsb-",
        ),
        ("a man , a plan .", "a man a plan"),
        (
            "A \"hello\" and a ‘curly’ quote and “double curly” ones",
            "a hello and a curly quote and double curly ones",
        ),
        ("A 1/2 cup of flour.", "a 1/2 cup of flour"),
        ("Rock 'n' roll band at O'Hara's", "rock 'n' roll band at o'hara 's"),
        ("a cat/dog  picture   with  spaces", "a cat/dog picture with spaces"),
        ("He's gonna wanna gotta lemme gimme", "he 's gon na wan na got ta lem me gim me"),
        ("A clock reads 10 o'clock.", "a clock reads 10 o'clock"),
        ("email me@x.com or visit www.x.com", "email me@x.com or visit www.x.com"),
        ("No. 5 bus at 5th St. station", "no. 5 bus at 5th st. station"),
        ("an apple (red).", "an apple -lrb- red -rrb-"),
        ("A dog - a cat - a bird", "a dog a cat a bird"),
        ("a man with a cell phone – talking", "a man with a cell phone talking"),
        ("It costs 5€ or £3", "it costs 5 $ or # 3"),
        ("A blue,green and red kite", "a blue green and red kite"),
        ("The end.Another start", "the end.another start"),
        ("wow!! really?!", "wow !! really ?!"),
        ("a 3.5-inch disk, 6'2\" man", "a 3.5-inch disk 6 2 man"),
        ("Dr. Who vs. Mrs. Jones Jr.", "dr. who vs. mrs. jones jr."),
        ("A Boeing 747-400 at gate A.", "a boeing 747-400 at gate a."),
        ("A man's man’s hat isn’t", "a man 's man 's hat is n't"),
    ];

    #[test]
    fn splits_as_the_reference() {
        for (text, expected) in CASES {
            assert_eq!(tokenize(text).join(" "), *expected, "{text:?}");
        }
    }

    #[test]
    fn whatever_comes_ends() {
        assert!(tokenize("").is_empty());
        assert!(tokenize(" \n\u{0}'").is_empty());
        assert_eq!(tokenize("İ'm"), ["i\u{307}", "'m"]);
    }
}
