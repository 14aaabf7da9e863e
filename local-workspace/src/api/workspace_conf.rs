//! `/api/2.0/workspace-conf`: the settings of the workspace that concern tokens.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::{Payload, ok};
use crate::error::ApiError;
use crate::server::App;
use crate::state::{Caller, Settings};

const MAX_LIFETIME: &str = "maxTokenLifetimeDays";
const TOKENS_ENABLED: &str = "enableTokensConfig";

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/api/2.0/workspace-conf", get(read).patch(change))
}

/// The longest limit that is documented.
const MAX_DAYS: u32 = 730;

fn check_admin(caller: &Caller) -> Result<(), ApiError> {
    if caller.principal.admin {
        return Ok(());
    }
    Err(ApiError::permission_denied(
        "Only workspace admins can read and change the workspace's configuration.",
    ))
}

fn invalid_key(key: &str) -> ApiError {
    ApiError::invalid_parameter(format!(
        "Invalid key {key:?}: only {MAX_LIFETIME} and {TOKENS_ENABLED} are served here"
    ))
}

#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(default)]
    keys: String,
}

async fn read(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(asked): Query<Keys>,
) -> Result<Response, ApiError> {
    check_admin(&caller)?;
    let settings = &app.state().settings;
    let value = |key: &str| match key {
        // No limit is written as 0.
        MAX_LIFETIME => Ok(settings.max_token_lifetime_days.unwrap_or_default().to_string()),
        TOKENS_ENABLED => Ok(settings.tokens_enabled.to_string()),
        other => Err(invalid_key(other)),
    };
    let keys = asked.keys.split(',').map(str::trim).filter(|key| !key.is_empty());
    let values: BTreeMap<&str, String> =
        keys.map(|key| value(key).map(|value| (key, value))).collect::<Result<_, _>>()?;
    Ok(ok(&values))
}

/// Makes the whole change, or none of it.
async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Payload(values): Payload<BTreeMap<String, String>>,
) -> Result<Response, ApiError> {
    check_admin(&caller)?;
    let mut state = app.state();
    let mut settings: Settings = state.settings.clone();
    for (key, value) in &values {
        let wrong = || ApiError::invalid_parameter(format!("Invalid value {value:?} for {key}"));
        match key.as_str() {
            MAX_LIFETIME => {
                let days: u32 = value.parse().map_err(|_| wrong())?;
                if days > MAX_DAYS {
                    return Err(wrong());
                }
                settings.max_token_lifetime_days = Some(days).filter(|days| *days > 0);
            }
            TOKENS_ENABLED => settings.tokens_enabled = value.parse().map_err(|_| wrong())?,
            other => return Err(invalid_key(other)),
        }
    }
    state.settings = settings;
    Ok(StatusCode::NO_CONTENT.into_response())
}
