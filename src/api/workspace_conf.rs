//! Settings of a workspace: the calls of `/api/2.0/workspace-conf`, for its administrators.

use std::collections::HashMap;

use http::Method;

use crate::client::{Client, Error, Repeat, Request};
use crate::context::Context;

/// How long new tokens may live at most, in days; `None` where the workspace sets no limit of its own.
pub async fn max_token_lifetime_days(client: &Client, ctx: &Context) -> Result<Option<i64>, Error> {
    const NAME: &str = "maxTokenLifetimeDays";
    let request =
        Request::new(Method::GET, "/api/2.0/workspace-conf", None, Repeat::Always).query("keys", NAME);
    let settings = client.send::<HashMap<String, Option<String>>>(ctx, &request).await?.body;
    let days = settings.get(NAME).and_then(|days| days.as_deref()?.parse().ok());
    Ok(days.filter(|days| *days > 0))
}
