//! What a list can be limited to: the inputs of `pulumi do … list`, which come as text.

use serde_json::Value as Json;

use super::{Error, token};
use crate::api::token_management;
use crate::api::tokens::{self, TokenInfo};
use crate::client::{self, Client};
use crate::context::Context;
use crate::property::{Failure, Input, Mismatch, Property, Value};
use crate::record;

record! {
    /// What a list of tokens takes.
    pub(super) struct TokenQuery {
        /// Only tokens whose comment begins with this.
        comment_prefix: Input<String> = "commentPrefix";
        /// Only tokens that expire before this time: an RFC 3339 timestamp, or a date, whose beginning in UTC counts.
        expires_before: Input<Moment> = "expiresBefore";
        /// Id of the workspace whose tokens are listed, if the provider's host serves several.
        workspace_id: Input<String> = "workspaceId";
        /// Only tokens that this user or service principal created. For administrators of the workspace.
        created_by_username: Input<String> = "createdByUsername";
        /// Only tokens, whoever owns them, that were certainly not used since this time: an RFC 3339 timestamp, or a
        /// date. Databricks records only the day of the last use. For administrators of the workspace.
        unused_since: Input<Moment> = "unusedSince";
    }
}

/// A day in milliseconds.
const DAY: i64 = 24 * 60 * 60 * 1000;

/// A point in time, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment(i64);

impl Moment {
    /// Whether something with this expiry, if it has one, ends before this time.
    pub(super) fn is_after(self, expiry: Option<i64>) -> bool {
        expiry.is_some_and(|expiry| expiry > 0 && expiry < self.0)
    }
}

impl Property for Moment {
    fn schema() -> Json {
        String::schema()
    }

    fn decode(value: &Value) -> Result<Self, Mismatch> {
        let text = <String as Property>::decode(value)?;
        let text = text.trim();
        // What is not a whole timestamp may be a date, which becomes one with a time added to it.
        let time = text.parse::<jiff::Timestamp>().or_else(|_| format!("{text}T00:00:00Z").parse());
        match time {
            Ok(time) => Ok(Moment(time.as_millisecond())),
            Err(_) => Err(Mismatch::Wrong(
                "expected a time as in RFC 3339, such as 2027-01-31T12:00:00Z, or a date, such as 2027-01-31"
                    .to_owned(),
            )),
        }
    }

    fn encode(&self) -> Value {
        let time = jiff::Timestamp::from_millisecond(self.0).unwrap_or_default();
        Value::String(time.to_string())
    }
}

/// The value of a filter that is a name. An empty one is refused: it may come from a shell variable that is not set.
pub(super) fn name<'a>(input: &'a Input<String>, property: &str) -> Result<Option<&'a str>, Error> {
    match input.known().map(String::as_str) {
        Some("") => {
            Err(Error::Inputs(vec![Failure::new(property, "must not be empty; leave it out instead")]))
        }
        name => Ok(name),
    }
}

/// Lists tokens as the query says: id and name of each. `on_behalf` chooses those that act as somebody other than their
/// creator.
pub(super) async fn list(
    client: &Client,
    ctx: &Context,
    query: &TokenQuery,
    on_behalf: bool,
) -> Result<Vec<(String, String)>, Error> {
    let client = client.for_workspace(ctx, name(&query.workspace_id, "workspaceId")?).await?;
    let creator = name(&query.created_by_username, "createdByUsername")?;
    let unused_since = query.unused_since.known().copied();
    let asks_admin = [("createdByUsername", creator.is_some()), ("unusedSince", unused_since.is_some())];
    let asks_admin = asks_admin.into_iter().find(|(_, is_asked)| *is_asked).map(|(property, _)| property);
    let mut all = if on_behalf || asks_admin.is_some() {
        let listed = token_management::list(&client, ctx, creator).await;
        // The list has everybody's tokens, and most of them are their owners' own.
        let mut all = listed.map_err(|error| explained(error, asks_admin))?;
        all.retain(|token| token.is_on_behalf() == on_behalf);
        all
    } else {
        tokens::list(&client, ctx).await?.to_vec()
    };
    if let Some(prefix) = query.comment_prefix.known() {
        all.retain(|token| token.comment.as_deref().unwrap_or_default().starts_with(prefix.as_str()));
    }
    if let Some(time) = query.expires_before.known() {
        all.retain(|token| time.is_after(token.expiry_time));
    }
    if let Some(time) = unused_since {
        all.retain(|token| is_unused(token, time));
    }
    Ok(all.iter().map(token::named).collect())
}

/// Whether a token was certainly not used since a time: the day of its last use was over by then, or it was never used
/// and is older than that.
fn is_unused(token: &TokenInfo, since: Moment) -> bool {
    match token.last_used_day.filter(|day| *day > 0) {
        Some(day) => day.saturating_add(DAY) <= since.0,
        None => token.creation_time.is_some_and(|created| created < since.0),
    }
}

/// Where Databricks refused a list, names the filter that only an administrator may use.
fn explained(error: client::Error, property: Option<&str>) -> Error {
    match (&error, property) {
        (client::Error::Api(api), Some(property)) if api.status == 403 => Error::Other(format!(
            "{property}: only administrators of the workspace may list the tokens of others, and Databricks refused \
             it: {error}. Leave {property} out to list your own, or sign in as an administrator"
        )),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_timestamp_or_a_date() {
        let decode = |text: &str| Moment::decode(&text.into());
        assert_eq!(decode("1970-01-02"), Ok(Moment(DAY)));
        assert_eq!(decode("1970-01-02T01:00:00+01:00"), Ok(Moment(DAY)));
        for wrong in ["", "soon", "1970-13-01", "86400000"] {
            assert!(
                matches!(decode(wrong), Err(Mismatch::Wrong(reason)) if reason.contains("RFC 3339")),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_never_expires_does_not_expire_before_anything() {
        let time = Moment(10);
        assert!(time.is_after(Some(9)));
        for expiry in [None, Some(-1), Some(0), Some(10)] {
            assert!(!time.is_after(expiry), "{expiry:?}");
        }
    }

    #[test]
    fn a_day_of_use_counts_to_its_end() {
        let token =
            |last_used_day, creation_time| TokenInfo { last_used_day, creation_time, ..TokenInfo::default() };
        let since = Moment(10 * DAY);
        assert!(is_unused(&token(Some(9 * DAY), Some(0)), since));
        assert!(!is_unused(&token(Some(9 * DAY + 1), Some(0)), since));
        assert!(is_unused(&token(None, Some(9 * DAY)), since));
        assert!(!is_unused(&token(None, Some(10 * DAY)), since), "it is newer than that");
        assert!(!is_unused(&token(None, None), since));
    }
}
