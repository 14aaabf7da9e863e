//! Scripted faults: which requests they hit, and what they do to them.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde_json::{Value, json};

/// A fault as the control API takes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    #[serde(default, rename = "match")]
    matches: Match,
    pub(crate) action: Action,
}

/// Which requests a fault hits. Without any field: the next one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Match {
    method: Option<String>,
    /// Part of the path.
    path: Option<String>,
    /// The first of the matching requests that is hit, counted from 1 since the fault was registered.
    nth: u64,
    /// How many requests are hit; 0 for no limit.
    times: u64,
    /// Chance that a request is hit, from 0 to 1.
    probability: Option<f64>,
    /// Seed of that chance: the same seed hits the same requests.
    seed: u64,
}

impl Default for Match {
    fn default() -> Self {
        Self { method: None, path: None, nth: 1, times: 1, probability: None, seed: 0 }
    }
}

/// What a fault does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Action {
    /// Wait before the work, or between work and answer if `work` is set.
    pub(crate) delay_ms: u64,
    /// Do the work also where the fault then answers otherwise, or not at all.
    pub(crate) work: bool,
    /// Do the work even if the client leaves before that.
    pub(crate) detached: bool,
    /// Reset the TCP connection before or after the work.
    pub(crate) drop: Option<Drop>,
    /// Never answer.
    pub(crate) hang: bool,
    /// Send only this many bytes of the body, then close the connection (with `hang`: then stay silent).
    pub(crate) truncate_after_bytes: Option<usize>,
    status: Option<u16>,
    error_code: Option<Value>,
    message: Option<String>,
    /// The Retry-After header, sent as it is.
    retry_after: Option<String>,
    headers: BTreeMap<String, String>,
    /// The body, as text or as JSON.
    body: Option<Value>,
    content_type: Option<String>,
    /// Answer with an HTML page.
    html: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Drop {
    Before,
    After,
}

impl Action {
    /// True if the fault answers in place of the API.
    pub(crate) fn answers(&self) -> bool {
        self.status.is_some() || self.html || self.body.is_some()
    }

    /// Refuses what could not be carried out later.
    fn check(&self) -> Result<(), String> {
        if !self.answers()
            && self.drop.is_none()
            && !self.hang
            && self.truncate_after_bytes.is_none()
            && self.delay_ms == 0
        {
            return Err(
                "a fault needs a status, html, body, delay_ms, drop, hang or truncate_after_bytes".into()
            );
        }
        self.response().map(drop)
    }

    /// The answer of a fault that answers in place of the API.
    pub(crate) fn response(&self) -> Result<Response<Body>, String> {
        let code = self.status.unwrap_or(200);
        let status =
            StatusCode::from_u16(code).map_err(|_| format!("status {code} is not an HTTP status"))?;
        let message = self.message.as_deref().unwrap_or("Scripted fault.");
        let (content_type, body) = match &self.body {
            Some(Value::String(text)) => ("text/plain", text.clone()),
            Some(value) => ("application/json", value.to_string()),
            None if self.html => {
                ("text/html; charset=utf-8", format!("<html><body><pre>    {message}</pre></body></html>\n"))
            }
            None => {
                let code = self.error_code.clone().unwrap_or_else(|| json!(default_code(status)));
                ("application/json", json!({"error_code": code, "message": message}).to_string())
            }
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let content_type = self.content_type.as_deref().unwrap_or(content_type);
        response.headers_mut().insert(CONTENT_TYPE, header_value(content_type)?);
        if let Some(retry_after) = &self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, header_value(retry_after)?);
        }
        for (name, value) in &self.headers {
            let header = HeaderName::try_from(name).map_err(|_| format!("{name:?} is not a header name"))?;
            response.headers_mut().insert(header, header_value(value)?);
        }
        Ok(response)
    }
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(text).map_err(|_| format!("{text:?} is not a header value"))
}

fn default_code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "INVALID_PARAMETER_VALUE",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "RESOURCE_DOES_NOT_EXIST",
        409 => "RESOURCE_CONFLICT",
        429 => "REQUEST_LIMIT_EXCEEDED",
        501 => "NOT_IMPLEMENTED",
        503 => "TEMPORARILY_UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL_ERROR",
    }
}

#[derive(Debug)]
struct Scripted {
    /// The fault as it was given, to show it again.
    script: Value,
    fault: Fault,
    matched: u64,
    hit: u64,
    chance: StdRng,
}

/// The script. Of the faults that are due for a request, the first is used.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    scripted: Vec<Scripted>,
}

impl Faults {
    /// Adds faults after those already there; all of them, or none if one can't be carried out.
    pub(crate) fn add(&mut self, scripts: Vec<Value>) -> Result<(), String> {
        let read = |script: Value| {
            let fault = Fault::deserialize(&script).map_err(|error| error.to_string())?;
            fault.action.check()?;
            if fault.matches.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) {
                return Err("probability must be between 0 and 1".to_owned());
            }
            let chance = StdRng::seed_from_u64(fault.matches.seed);
            Ok(Scripted { script, fault, matched: 0, hit: 0, chance })
        };
        let mut added = scripts.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        self.scripted.append(&mut added);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.scripted.clear();
    }

    /// The action that hits this request, if any does, and the same as it was given.
    pub(crate) fn take(&mut self, method: &Method, path: &str) -> Option<(Action, Value)> {
        let mut found = None;
        for scripted in &mut self.scripted {
            let matches = &scripted.fault.matches;
            let fits =
                matches.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method.as_str()))
                    && matches.path.as_deref().is_none_or(|part| path.contains(part));
            if !fits {
                continue;
            }
            // Every fault counts every request that fits, also one that an earlier fault hits.
            scripted.matched += 1;
            let due = scripted.matched >= matches.nth && (matches.times == 0 || scripted.hit < matches.times);
            if found.is_some() || !due {
                continue;
            }
            if matches.probability.is_none_or(|probability| scripted.chance.random_bool(probability)) {
                scripted.hit += 1;
                found = Some((scripted.fault.action.clone(), scripted.script["action"].clone()));
            }
        }
        found
    }

    /// Each fault with how often it matched and hit.
    pub(crate) fn describe(&self) -> Value {
        self.scripted
            .iter()
            .map(
                |scripted| json!({"fault": scripted.script, "matched": scripted.matched, "hit": scripted.hit}),
            )
            .collect()
    }
}
