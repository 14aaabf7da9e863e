//! The values that somebody has kept: lines of an id, a blank and a value. No error quotes one.

use std::collections::BTreeMap;

use secrecy::SecretString;

/// Values by their ids, with the number of the line.
pub(super) struct Values(BTreeMap<String, (usize, SecretString)>);

impl Values {
    /// Reads the lines. Empty ones, and those that begin with `#`, are skipped.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(id), Some(value), None) = (words.next(), words.next(), words.next()) else {
                return Err(format!("line {number} of the values: expected an id, a blank and the value"));
            };
            if values.insert(id.to_owned(), (number, SecretString::from(value))).is_some() {
                return Err(format!("line {number} of the values: its id is already on an earlier line"));
            }
        }
        Ok(Values(values))
    }

    /// The value of an id, and the number of its line.
    pub(super) fn take(&mut self, id: &str) -> Option<(usize, SecretString)> {
        self.0.remove(id)
    }

    /// The number of a line that nobody has asked for.
    pub(super) fn unused(&self) -> Option<usize> {
        self.0.values().map(|(number, _)| *number).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_cannot_be_used_are_not_quoted() {
        for (text, reason) in [
            ("hidden", "line 1 of the values: expected an id"),
            ("# of today\n\na hidden more", "line 3 of the values: expected an id"),
            ("a hidden\n a\thidden2\n", "line 2 of the values: its id is already"),
        ] {
            let error = Values::read(text).err().unwrap();
            assert!(error.starts_with(reason) && !error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn what_nobody_asks_for_is_told() {
        let mut values = Values::read("# one\na v\nb w\n").unwrap();
        assert_eq!(values.take("a").map(|(line, _)| line), Some(2));
        assert!(values.take("a").is_none());
        assert_eq!(values.unused(), Some(3));
    }
}
