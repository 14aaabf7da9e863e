//! The INI dialect of `.databrickscfg`, as the Databricks SDK for Go reads it. Other INI readers differ in quotes,
//! comments and continued lines, so with one of them the token could be another than the Databricks CLI uses.

use zeroize::Zeroizing;

/// The section of the keys that come before any header.
pub(super) const DEFAULT: &str = "DEFAULT";

/// A file that was read: sections with their keys, in the order of the file.
#[derive(Default)]
pub(super) struct File {
    entries: Vec<Entry>,
}

struct Entry {
    section: String,
    key: String,
    value: Zeroizing<String>,
}

impl File {
    /// Reads a file. The error names the line and quotes none of it, since it may hold a credential.
    pub(super) fn parse(text: &str) -> Result<File, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().enumerate();
        let mut file = File::default();
        let mut section = DEFAULT.to_owned();
        while let Some((at, line)) = lines.next() {
            let fail = |reason: &str| Err(format!("line {}: {reason}", at + 1));
            let line = line.trim_start();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(header) = line.strip_prefix('[') {
                match header.rfind(']') {
                    Some(0) => return fail("the name of the section is empty"),
                    Some(end) => section = header[..end].to_owned(),
                    None => return fail("the section header has no closing bracket"),
                }
                continue;
            }
            let Some((key, value)) = line.split_once(['=', ':']) else {
                return fail("key-value delimiter not found: expected `key = value`");
            };
            if key.is_empty() {
                return fail("the key before the delimiter is empty");
            }
            let Some(value) = read_value(value.trim_start(), &mut lines) else {
                return fail("the quote is not closed");
            };
            file.entries.push(Entry {
                section: section.clone(),
                key: key.trim_end().to_owned(),
                value: value.into(),
            });
        }
        Ok(file)
    }

    /// Whether a section has no keys; sections that are not there have none.
    pub(super) fn is_empty(&self, section: &str) -> bool {
        !self.entries.iter().any(|entry| entry.section == section)
    }

    /// The value of a key. Sections of one name are one, and the last of several keys counts.
    pub(super) fn get(&self, section: &str, key: &str) -> Option<&str> {
        let found = self.entries.iter().rfind(|entry| entry.section == section && entry.key == key)?;
        Some(&found.value)
    }
}

/// The value that begins with this text; it may go on in the next lines. `None` where a quote has no end.
fn read_value<'a>(text: &str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> Option<String> {
    // These quotes may span lines, and keep whatever is in them.
    for quote in ["\"\"\"", "`"] {
        if let Some(rest) = text.strip_prefix(quote) {
            if let Some(end) = rest.rfind(quote) {
                return Some(rest[..end].to_owned());
            }
            let mut value = rest.to_owned();
            loop {
                let (_, line) = lines.next()?;
                value.push('\n');
                match line.rfind(quote) {
                    Some(end) => return Some(value + &line[..end]),
                    None => value.push_str(line),
                }
            }
        }
    }
    let text = text.trim_end();
    if let Some(begun) = text.strip_suffix('\\') {
        let mut value = begun.to_owned();
        for (_, line) in lines {
            let line = line.trim();
            match line.strip_suffix('\\') {
                Some(line) => value.push_str(line),
                None => {
                    value.push_str(line);
                    break;
                }
            }
        }
        return Some(value);
    }
    // Tokens and passwords may hold these characters, so a comment needs a blank before it.
    let text = match text.find(" #").or_else(|| text.find(" ;")) {
        Some(comment) => text[..comment].trim_end(),
        None => text,
    };
    for quote in ['\'', '"'] {
        let inner = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
        if let Some(inner) = inner.filter(|inner| !inner.contains(quote)) {
            return Some(inner.to_owned());
        }
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> String {
        File::parse(&format!("[p]\nkey = {line}")).unwrap().get("p", "key").unwrap().to_owned()
    }

    #[test]
    fn values_are_read_as_the_databricks_cli_reads_them() {
        for (line, expected) in [
            ("a", "a"),
            ("", ""),
            ("a#1 # comment", "a#1"),
            ("a;b ; comment", "a;b"),
            ("a ; b # c", "a ; b"),
            ("\"a b\"", "a b"),
            ("'a'", "a"),
            ("`a # b` # comment", "a # b"),
            ("\"a", "\"a"),
            ("\"a\"b\"", "\"a\"b\""),
            ("'it''s'", "'it''s'"),
            ("\"a # b\"", "\"a"),
            ("\"\"\"a\nb\"\"\"", "a\nb"),
            ("`a\nb`", "a\nb"),
            ("a\\\n  b\\\nc\nother = x", "abc"),
            ("a\\\n\nother = x", "a"),
            ("a\\", "a"),
            ("DOMAIN\\user", "DOMAIN\\user"),
            ("%(host)s", "%(host)s"),
            ("a=b:c==", "a=b:c=="),
        ] {
            assert_eq!(value(line), expected, "{line}");
        }
    }

    #[test]
    fn sections_are_joined_and_the_last_key_counts() {
        let text = "\u{feff}a = 0\r\n[p] ; comment\r\n  # comment\r\n\ta: 1\r\n[q]\r\na=2\r\n[p]\r\na=3\r\n[empty]\r\n";
        let file = File::parse(text).unwrap();
        assert_eq!(file.get(DEFAULT, "a"), Some("0"));
        assert_eq!(file.get("p", "a"), Some("3"));
        assert_eq!(file.get("p", "A"), None);
        assert!(file.is_empty("empty") && file.is_empty("none") && !file.is_empty("q"));
    }

    #[test]
    fn errors_name_the_line_and_keep_its_text() {
        for (text, expected) in [
            ("[p]\ndapi-secret", "line 2: key-value delimiter not found: expected `key = value`"),
            ("\n[p", "line 2: the section header has no closing bracket"),
            ("[]", "line 1: the name of the section is empty"),
            ("= dapi-secret", "line 1: the key before the delimiter is empty"),
            ("a = `dapi\nsecret", "line 1: the quote is not closed"),
            ("\na = `", "line 2: the quote is not closed"),
        ] {
            assert_eq!(File::parse(text).err().as_deref(), Some(expected));
        }
    }
}
