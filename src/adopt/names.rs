//! Names of resources, made from comments.

use std::collections::HashSet;

/// Longest name, in characters; a number may follow.
const LONGEST: usize = 60;
/// How many characters of an id are enough to tell it from others.
const PART_OF_ID: usize = 8;

/// The names so far, no two of which are the same.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// A new name: of the comment, or of the noun and the id where there is none.
    pub(super) fn of(&mut self, comment: Option<&str>, noun: &str, id: &str) -> String {
        let mut base = dashed(comment.unwrap_or_default());
        if base.is_empty() {
            let part: String = id.chars().take(PART_OF_ID).collect();
            base = dashed(&format!("{noun} {part}"));
        }
        // A variable of a program cannot begin with a digit.
        if base.starts_with(|c: char| c.is_ascii_digit()) {
            base = format!("{}-{base}", dashed(noun));
        }
        let mut name = base.clone();
        let mut number = 1;
        while !self.0.insert(name.clone()) {
            number += 1;
            name = format!("{base}-{number}");
        }
        name
    }
}

/// Letters and digits in lower case, with one dash in place of anything else between them.
fn dashed(text: &str) -> String {
    let words: Vec<_> =
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let name: String = words.join("-").to_ascii_lowercase().chars().take(LONGEST).collect();
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_comments_and_differ() {
        let mut names = Names::default();
        let mut of = |comment| names.of(comment, "obo token", "0123456789ab");
        assert_eq!(of(Some("CI: deploy (nightly)!")), "ci-deploy-nightly");
        assert_eq!(of(Some("ci deploy nightly")), "ci-deploy-nightly-2");
        assert_eq!(of(Some("ci deploy nightly 2")), "ci-deploy-nightly-2-2");
        assert_eq!(of(None), "obo-token-01234567");
        assert_eq!(of(Some("…")), "obo-token-01234567-2");
        assert_eq!(of(Some("2027")), "obo-token-2027");
        assert_eq!(of(Some(&"ab ".repeat(40))).len(), 59);
    }
}
