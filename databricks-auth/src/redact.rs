//! Hides credentials in texts from elsewhere: an error body may echo what was sent.

use secrecy::{ExposeSecret, SecretString};

use crate::config::Config;

/// What stands in place of a credential.
pub const HIDDEN: &str = "***";

/// Shorter credentials are not hidden: they are parts of ordinary words, and no real credential is that short.
const SHORTEST: usize = 4;

/// Shorter paths of secret URLs are not hidden where they stand alone: what makes such a URL secret is a long random part.
const SHORTEST_PATH: usize = 16;

/// How a personal access token and an OAuth secret of Databricks begin; 32 hexadecimal digits follow.
const PREFIXES: &[&str] = &["dapi", "dose", "dkea"];
const DIGITS: usize = 32;

/// The credentials that a client knows.
#[derive(Debug, Default)]
pub struct Redactor(Vec<SecretString>);

impl Redactor {
    /// Knows every credential of a configuration, without the white space around it, which is not always sent. Where
    /// the credential is a URL, its path is hidden too, since the path is what the server sees.
    pub fn of(config: &Config) -> Self {
        let credentials = config.attributes.credentials();
        Redactor(
            credentials
                .flat_map(|credential| [Some(credential.expose_secret().trim().into()), path(credential)])
                .flatten()
                .collect(),
        )
    }

    /// The text without these credentials, without `more` of them, and without anything that looks like one.
    pub fn hide(&self, text: &str, more: &[SecretString]) -> String {
        let mut known: Vec<&str> = self.0.iter().chain(more).map(ExposeSecret::expose_secret).collect();
        // A credential that is a part of another must not leave the rest of it standing.
        known.sort_by_key(|credential| std::cmp::Reverse(credential.len()));
        let mut text = text.to_owned();
        for credential in known.into_iter().filter(|credential| credential.len() >= SHORTEST) {
            text = text.replace(credential, HIDDEN);
            text = hide_where(&text, |text| encoded(text, credential));
        }
        // An answer may also quote a credential of somebody else.
        hide_where(&text, alike)
    }
}

/// Path and query of a credential that is a URL; `None` if they are too short to be hidden.
fn path(credential: &SecretString) -> Option<SecretString> {
    let (_, rest) = credential.expose_secret().split_once("://")?;
    let path = &rest[rest.find('/')?..];
    (path.len() >= SHORTEST_PATH).then(|| path.into())
}

/// Hides the credentials in a text. `length` returns how many bytes of credential its argument begins with, or 0.
fn hide_where(text: &str, length: impl Fn(&str) -> usize) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = length(rest);
        if length > 0 {
            shown.push_str(HIDDEN);
            rest = &rest[length..];
        } else {
            shown.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    shown
}

/// Length of a credential with which a text begins, with any of its characters encoded as in forms, URLs and JSON
/// strings; 0 if it does not begin with it.
fn encoded(text: &str, credential: &str) -> usize {
    let text = text.as_bytes();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut at = 0;
    for byte in credential.bytes() {
        at += match (text.get(at..).unwrap_or_default(), byte) {
            ([b'%', high, low, ..], _)
                if digit(*high)
                    .zip(digit(*low))
                    .is_some_and(|(high, low)| 16 * high + low == u32::from(byte)) =>
            {
                3
            }
            ([b'\\', b'n', ..], b'\n') | ([b'\\', b'r', ..], b'\r') | ([b'\\', b't', ..], b'\t') => 2,
            ([b'\\', next, ..], b'"' | b'\\' | b'/') if *next == byte => 2,
            ([b'+', ..], b' ') => 1,
            ([next, ..], _) if *next == byte => 1,
            _ => return 0,
        };
    }
    at
}

/// Length of what looks like a credential at the beginning of a text; 0 if nothing does.
fn alike(text: &str) -> usize {
    let hexadecimal = |text: &str| text.bytes().take_while(u8::is_ascii_hexdigit).count();
    for prefix in PREFIXES {
        if let Some(rest) = text.strip_prefix(prefix) {
            let digits = hexadecimal(rest);
            if digits >= DIGITS {
                // Some tokens end in the number of a region or a key.
                let tail = rest[digits..].strip_prefix('-').map_or(0, |tail| {
                    let length = tail.bytes().take_while(u8::is_ascii_digit).count();
                    if length > 0 { length + 1 } else { 0 }
                });
                return prefix.len() + digits + tail;
            }
        }
    }
    // A JWT: a JSON object, which begins like this in base64, and two more parts.
    if text.starts_with("eyJ") {
        let of_jwt = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let length = text.bytes().take_while(of_jwt).count();
        if text[..length].trim_end_matches('.').matches('.').count() >= 2 {
            return length;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;

    #[test]
    fn the_path_of_a_secret_url_is_hidden() {
        let url = "http://localhost:1/0123456789abcdef?x=1";
        let stated = [("metadataServiceUrl".to_owned(), url.into())].into();
        let redactor = Redactor::of(&Config::resolve(&stated, &Env::default()).unwrap());
        assert_eq!(
            redactor.hide(&format!("{url}: GET /0123456789abcdef?x=1 HTTP/1.1"), &[]),
            "***: GET *** HTTP/1.1"
        );
        assert!(path(&"http://localhost:1/token".into()).is_none(), "a word that stands in every log");
    }

    #[test]
    fn a_credential_is_hidden_in_every_encoding() {
        let redactor = Redactor(vec!["ü/+ \"\n%2F\\".into()]);
        for (text, expected) in [
            ("is ü/+ \"\n%2F\\.", "is ***."),
            ("is %C3%BC%2F%2B+%22%0A%252F%5C.", "is ***."),
            ("is %c3%bc%2f%2b%20%22%0a%252F%5c.", "is ***."),
            ("is ü\\/+ \\\"\\n%2F\\\\.", "is ***."),
            ("is ü/+ \"\n%2F", "is ü/+ \"\n%2F"),
        ] {
            assert_eq!(redactor.hide(text, &[]), expected, "{text}");
        }
    }

    #[test]
    fn known_credentials_and_their_like_are_hidden() {
        let redactor = Redactor(vec!["pass-word".into(), "pass-word-2".into(), "abc".into()]);
        let hex = "0123456789abcdef0123456789abcdef";
        for (text, expected) in [
            ("user pass-word, pass-word-2!", "user ***, ***!"),
            ("abc stays, it is too short", "abc stays, it is too short"),
            (&format!("token=dapi{hex}-2&x"), "token=***&x"),
            (&format!("xdose{hex}."), "x***."),
            ("dapi0123 is no token", "dapi0123 is no token"),
            ("Bearer eyJhbGciOi.eyJzdWIi.c2ln-_x expired", "Bearer *** expired"),
            ("eyJhbGciOi alone. Well.", "eyJhbGciOi alone. Well."),
            ("header 'Basic bW9yZQ=='", "header 'Basic ***'"),
            ("größer", "größer"),
        ] {
            assert_eq!(redactor.hide(text, &["bW9yZQ==".into()]), expected);
        }
    }
}
