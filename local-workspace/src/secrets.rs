//! OAuth secrets of service principals. Their values are never kept, only the SHA-256 of each.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::state::{DAY_MS, Principal, PrincipalKind, State, check_scope_names, random_hex, sha256_hex};

/// Lifetime of a secret that is created without one, and the longest that may be asked for.
const MAX_LIFETIME_MS: i64 = 730 * DAY_MS;

/// A secret made through the API, live or not.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Secret {
    pub(crate) id: String,
    /// SHA-256 of the value, in hexadecimal.
    hash: String,
    /// Numeric id of the service principal.
    pub(crate) principal: u64,
    /// Scopes that an access token can't exceed; empty for no limit.
    pub(crate) scopes: Vec<String>,
    pub(crate) create_ms: i64,
    pub(crate) expire_ms: i64,
    pub(crate) deleted: bool,
}

/// A secret as the API shows it. The value is there only in the answer to its creation.
#[derive(Serialize)]
pub(crate) struct SecretInfo<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
    secret_hash: &'a str,
    create_time: String,
    update_time: String,
    expire_time: String,
    status: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    scopes: &'a [String],
}

/// How many live secrets a service principal may have, and how one more is refused.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct SecretLimit {
    pub(crate) limit: usize,
    #[serde(with = "crate::state::status")]
    pub(crate) status: StatusCode,
    pub(crate) error_code: String,
}

impl Default for SecretLimit {
    /// Five is documented; status and code of the refusal aren't.
    fn default() -> Self {
        Self { limit: 5, status: StatusCode::BAD_REQUEST, error_code: "QUOTA_EXCEEDED".to_owned() }
    }
}

impl Secret {
    pub(crate) fn is_live(&self, now_ms: i64) -> bool {
        !self.deleted && now_ms < self.expire_ms
    }

    pub(crate) fn info(&self) -> SecretInfo<'_> {
        let create_time = rfc3339(self.create_ms);
        SecretInfo {
            id: &self.id,
            secret: None,
            secret_hash: &self.hash,
            update_time: create_time.clone(),
            create_time,
            expire_time: rfc3339(self.expire_ms),
            status: "ACTIVE",
            scopes: &self.scopes,
        }
    }
}

impl State {
    /// Makes a secret of a service principal and returns its value and a copy of it.
    pub(crate) fn create_secret(
        &mut self,
        principal: u64,
        lifetime: Option<&str>,
        scopes: Vec<String>,
    ) -> Result<(String, Secret), ApiError> {
        let lifetime_ms = lifetime.map_or(Ok(MAX_LIFETIME_MS), parse_lifetime)?;
        check_scope_names(&scopes)?;
        let now_ms = self.now_ms();
        let limit = &self.settings.secret_limit;
        let live = self.secrets.iter().filter(|known| known.principal == principal && known.is_live(now_ms));
        if live.count() >= limit.limit {
            return Err(ApiError::new(
                limit.status,
                &limit.error_code,
                format!("Service principal {principal} has reached the limit of {} secrets.", limit.limit),
            ));
        }
        let value = new_secret_value();
        let secret = Secret {
            id: random_hex(32),
            hash: sha256_hex(&value),
            principal,
            scopes,
            create_ms: now_ms,
            expire_ms: now_ms.saturating_add(lifetime_ms),
            deleted: false,
        };
        self.secrets.push(secret.clone());
        Ok((value, secret))
    }

    /// The service principal that client credentials belong to, and the scopes of that secret.
    pub(crate) fn client(&self, application_id: &str, value: &str) -> Option<(&Principal, &[String])> {
        let principal = self.service_principal_named(application_id)?;
        let hash = sha256_hex(value);
        if let PrincipalKind::ServicePrincipal { secret_hash } = &principal.kind
            && secret_hash.as_ref() == Some(&hash)
        {
            return Some((principal, &[]));
        }
        let now_ms = self.now_ms();
        self.secrets
            .iter()
            .find(|secret| secret.principal == principal.id && secret.hash == hash && secret.is_live(now_ms))
            .map(|secret| (principal, secret.scopes.as_slice()))
    }
}

/// A value in the form of real secrets.
pub(crate) fn new_secret_value() -> String {
    format!("dose{}", random_hex(16))
}

/// The milliseconds of a duration such as `3600s`. The unit may be missing, as it is in examples of the CLI.
fn parse_lifetime(text: &str) -> Result<i64, ApiError> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let millis = format!("{fraction:0<3}").get(..3).and_then(|millis| millis.parse::<i64>().ok());
    match (whole.parse::<i64>(), millis) {
        (Ok(seconds), Some(millis)) if digits(whole) && digits(fraction) => {
            let lifetime_ms = seconds.saturating_mul(1000).saturating_add(millis);
            match lifetime_ms {
                1..=MAX_LIFETIME_MS => Ok(lifetime_ms),
                0 => Err(ApiError::invalid_parameter("lifetime: must be longer than nothing")),
                _ => Err(ApiError::invalid_parameter(format!(
                    "lifetime: {text:?} is longer than the maximum of {}s",
                    MAX_LIFETIME_MS / 1000
                ))),
            }
        }
        _ => Err(ApiError::invalid_parameter(format!(
            "lifetime: {text:?} is not a duration such as \"3600s\""
        ))),
    }
}

/// Milliseconds since the epoch as a UTC time such as `2024-01-01T19:30:41.000Z`.
pub(crate) fn rfc3339(time_ms: i64) -> String {
    let of_day_ms = time_ms.rem_euclid(DAY_MS);
    // Years are counted from March 1st of the year 0, so that a leap day is the last one of its year.
    let days = time_ms.div_euclid(DAY_MS) + 719_468;
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + days.div_euclid(146_097) * 400 + i64::from(month <= 2);
    let (hour, minute) = (of_day_ms / 3_600_000, of_day_ms / 60_000 % 60);
    let (second, millis) = (of_day_ms / 1000 % 60, of_day_ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}
