//! Fuzz targets: what a workspace, or whatever answers in its place, can send. `docs/fuzzing.md` says how to run them.

use std::collections::HashMap;

use secrecy::SecretString;
use serde_json::Value as Json;

use super::ApiError;
use super::send::read_answer;

/// An answer in the form of those that hold a credential.
#[derive(serde::Deserialize)]
#[allow(dead_code)]
struct Secrets {
    token_value: SecretString,
    token_info: Option<Json>,
}

/// What only secret parts of an answer hold.
const HUSH: &str = "hush";

#[test]
fn error_body() {
    fuzz::target("error_body")
        .with_generator((bolero::produce::<u16>(), bolero::produce::<Vec<u8>>()))
        .for_each(|(status, body)| {
            let error = ApiError::parse("GET /x".into(), *status, "Reason", body, None);
            let text = error.to_string();
            assert!(text.contains(&status.to_string()) && text.contains("GET /x"), "{text}");
            // That a thing does not exist is no reason to ask for it again.
            assert!(
                !(error.is_not_found() && error.is_transient() && error.code == "RESOURCE_DOES_NOT_EXIST")
            );
            let _ = error.did_not_run();
        });
}

#[test]
fn answer_body() {
    fuzz::target("answer_body").for_each(|body: &[u8]| {
        let errors = [
            read_answer::<Json>(body).err(),
            read_answer::<Secrets>(body).err(),
            read_answer::<HashMap<String, Vec<Secrets>>>(body).err(),
        ];
        for error in errors.into_iter().flatten() {
            assert!(!error.contains(HUSH) && error.len() < 300, "the error quotes the answer: {error}");
        }
    });
}
