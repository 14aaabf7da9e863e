//! Fuzz targets: what token endpoints and command-line tools can answer. `docs/fuzzing.md` says more.

use std::panic::AssertUnwindSafe;
use std::time::SystemTime;

use jiff::tz::TimeZone;

use super::testing::{Clock, settings};
use super::{azure_cli, databricks_cli, google};
use crate::env::Env;
use crate::token_request;

/// A text that only secret parts of an answer hold.
const HUSH: &str = "hush";

#[test]
fn token_endpoint_error() {
    fuzz::target("token_endpoint_error").for_each(|body: &[u8]| {
        let text = token_request::describe(body);
        assert!(!text.is_empty());
        // A body that is no error of a known form may echo what was sent.
        let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let known = ["error", "error_code", "message"].iter().any(|name| json.get(name).is_some());
        assert!(known || text == "without an explanation", "{text}");
    });
}

#[test]
fn token_endpoint_answer() {
    fuzz::target("token_endpoint_answer").for_each(|body: &[u8]| {
        if let Ok(answer) = serde_json::from_slice::<token_request::TokenAnswer>(body) {
            let expires = SystemTime::now().checked_add(answer.expires_in.duration());
            assert!(expires.is_some(), "a token that lives beyond all time");
        }
    });
}

#[test]
fn databricks_cli_output() {
    fuzz::target("databricks_cli_output").for_each(|output: &[u8]| {
        let text = String::from_utf8_lossy(output);
        if let Some(version) = databricks_cli::Version::parse(&text) {
            let without_build = text.trim().split('+').next().unwrap();
            let release = without_build.split('-').next().unwrap();
            let before = databricks_cli::Version::parse(&format!("{release}-dev")).unwrap();
            assert_eq!(before < version, release == without_build, "only what precedes a release is older");
            assert!(before <= version);
        }
        let _ = databricks_cli::parse_expiry(&text);
        if let Err(error) = databricks_cli::read_answer(output) {
            assert!(!error.to_string().contains(HUSH), "the error quotes the answer: {error}");
        }
    });
}

#[test]
fn azure_cli_output() {
    fuzz::target("azure_cli_output").for_each(|output: &[u8]| {
        if let Err(error) = azure_cli::token(output, &TimeZone::UTC) {
            assert!(!error.to_string().contains(HUSH), "the error quotes the answer: {error}");
        }
    });
}

#[test]
fn google_key_and_id_token() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let settings = AssertUnwindSafe(runtime.block_on(settings(&[], Env::default(), Clock::still())));
    fuzz::target("google_key_and_id_token").for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let errors = [
            google::Key::parse(&settings, &text).err(),
            google::id_token("w", &settings, text.as_ref().into()).err(),
        ];
        for error in errors.into_iter().flatten() {
            assert!(!error.to_string().contains(HUSH), "the error quotes the answer: {error}");
        }
    });
}
