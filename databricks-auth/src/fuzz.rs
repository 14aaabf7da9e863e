//! Fuzz targets: texts that may quote a credential, and waits that a server asks for. `docs/fuzzing.md` says more.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};
use secrecy::SecretString;

use crate::backoff;
use crate::config::Config;
use crate::redact::Redactor;

/// Whatever a text quotes, no known credential and nothing that looks like one is shown.
#[test]
fn mask() {
    const HEX: &str = "0123456789abcdef0123456789abcdef";
    let known = [SecretString::from("hush-hush")];
    let redactor = Redactor::of(&Config::default());
    fuzz::target("mask").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let hidden = redactor.hide(&text, &known);
        assert!(!hidden.contains("hush-hush"), "{hidden}");
        assert_eq!(redactor.hide(&hidden, &known), hidden);
        let around = redactor.hide(&format!("{text}dapi{HEX}{text}"), &known);
        assert!(!around.contains(&format!("dapi{HEX}")), "{around}");
    });
}

#[test]
fn retry_after() {
    fuzz::target("retry_after").for_each(|bytes: &[u8]| {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
        let headers = HeaderMap::from_iter([(http::header::RETRY_AFTER, value)]);
        if let Some(wait) = backoff::retry_after(&headers, now) {
            assert!(now.checked_add(wait).is_some(), "waiting {wait:?} ends after all time");
        }
    });
}
