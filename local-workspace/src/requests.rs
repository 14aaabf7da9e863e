//! The log of requests, without secrets.

use std::collections::{BTreeMap, VecDeque};

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Uri, Version};
use serde::Serialize;
use serde_json::{Value, json};

use crate::state::{Credential, credential, sha256_hex};

/// Requests kept; the oldest ones are dropped beyond that.
const CAPACITY: usize = 20_000;
/// What stands for a secret in the log.
const REDACTED: &str = "REDACTED";
/// JSON keys and form fields whose text is a secret.
const SECRET_FIELDS: [&str; 12] = [
    "access_token",
    "assertion",
    "client_assertion",
    "client_secret",
    "id_token",
    "password",
    "refresh_token",
    "secret",
    "subject_token",
    "token",
    "token_value",
    "value",
];
const SECRET_HEADERS: [&str; 5] = [
    "cookie",
    "proxy-authorization",
    "x-databricks-azure-sp-management-token",
    "x-databricks-gcp-sa-access-token",
    "x-databricks-azure-access-token",
];

/// One request and what became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    /// Counts from 1 and goes on after the log was emptied.
    pub(crate) seq: u64,
    /// The workspace's clock when the request had arrived in full.
    time_ms: i64,
    /// Requests with the same number came over the same connection.
    connection: u64,
    remote_port: u16,
    http_version: &'static str,
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    auth: Value,
    /// JSON or form fields with secrets replaced; absent if there is no body.
    #[serde(skip_serializing_if = "Value::is_null")]
    body: Value,
    /// Status of the answer; null while it is awaited, and if none was sent.
    status: Option<u16>,
    /// True if the API carried out the request, whatever the client was told.
    work_done: bool,
    /// Action of the scripted fault that hit this request.
    fault: Option<Value>,
}

#[derive(Debug, Default)]
pub(crate) struct RequestLog {
    entries: VecDeque<Entry>,
    next: u64,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) connection: u64,
    pub(crate) remote_port: u16,
}

impl RequestLog {
    /// Adds a request and returns its number.
    pub(crate) fn begin(
        &mut self,
        time_ms: i64,
        origin: Origin,
        head: (&Method, &Uri, Version, &HeaderMap),
        body: &[u8],
    ) -> u64 {
        let (method, uri, version, headers) = head;
        self.next += 1;
        if self.entries.len() >= CAPACITY {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            seq: self.next,
            time_ms,
            connection: origin.connection,
            remote_port: origin.remote_port,
            http_version: match version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            },
            method: method.to_string(),
            path: uri.path().to_owned(),
            query: uri.query().map(redact_form).unwrap_or_default(),
            headers: headers
                .iter()
                .map(|(name, value)| {
                    let secret = *name == AUTHORIZATION || SECRET_HEADERS.contains(&name.as_str());
                    let text =
                        if secret { REDACTED.into() } else { String::from_utf8_lossy(value.as_bytes()) };
                    (name.to_string(), text.into_owned())
                })
                .collect(),
            auth: auth(headers),
            body: redacted_body(headers, body),
            status: None,
            work_done: false,
            fault: None,
        });
        self.next
    }

    fn entry_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        let first = self.entries.front()?.seq;
        let at = usize::try_from(seq.checked_sub(first)?).ok()?;
        self.entries.get_mut(at)
    }

    pub(crate) fn set_fault(&mut self, seq: u64, fault: Value) {
        if let Some(entry) = self.entry_mut(seq) {
            entry.fault = Some(fault);
        }
    }

    pub(crate) fn set_work_done(&mut self, seq: u64) {
        if let Some(entry) = self.entry_mut(seq) {
            entry.work_done = true;
        }
    }

    pub(crate) fn set_status(&mut self, seq: u64, status: u16) {
        if let Some(entry) = self.entry_mut(seq) {
            entry.status = Some(status);
        }
    }

    /// The requests with higher numbers than `seq`, oldest first.
    pub(crate) fn entries_after(&self, seq: u64) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| entry.seq > seq).collect()
    }

    /// The lowest number in the log, or in an empty log the number of the next request: those with lower ones are gone.
    pub(crate) fn oldest(&self) -> u64 {
        self.entries.front().map_or(self.next + 1, |entry| entry.seq)
    }

    /// Empties the log. Numbers go on, so that a request still under way does not find the entry of another one.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

/// Kind of credential and a fingerprint, by which a test can tell credentials apart without seeing them.
fn auth(headers: &HeaderMap) -> Value {
    let (kind, secret) = match credential(headers) {
        Some(Credential::Bearer(value)) => ("bearer", value),
        Some(Credential::Basic { user, password }) => ("basic", format!("{user}:{password}")),
        None if headers.contains_key(AUTHORIZATION) => return json!({"kind": "other"}),
        None => return json!({"kind": "none"}),
    };
    let fingerprint: String = sha256_hex(&secret).chars().take(12).collect();
    json!({"kind": kind, "fingerprint": fingerprint})
}

fn redacted_body(headers: &HeaderMap, body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    if let Ok(mut value) = serde_json::from_slice(body) {
        redact_json(&mut value);
        return value;
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.starts_with("application/x-www-form-urlencoded") {
        let fields = form_urlencoded::parse(body).map(|(name, value)| {
            let secret = SECRET_FIELDS.contains(&&*name);
            let value = if secret { REDACTED.to_owned() } else { value.into_owned() };
            (name.into_owned(), Value::String(value))
        });
        return Value::Object(fields.collect());
    }
    // What can't be parsed can't be redacted.
    json!(format!("{} bytes", body.len()))
}

fn redact_json(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if field.is_string() && SECRET_FIELDS.contains(&name.as_str()) {
                    *field = Value::String(REDACTED.to_owned());
                } else {
                    redact_json(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_json),
        _ => {}
    }
}

/// The text of a query, with secret parameters replaced.
fn redact_form(query: &str) -> String {
    let redact_pair = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if SECRET_FIELDS.contains(&name) => format!("{name}={REDACTED}"),
        _ => pair.to_owned(),
    };
    query.split('&').map(redact_pair).collect::<Vec<_>>().join("&")
}
