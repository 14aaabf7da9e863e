//! Functions: what a program can ask without a resource, and the answers. A new function is one new file and one line
//! in [`ALL`].

mod access_token;
mod current_user;

use async_trait::async_trait;

use crate::client::Client;
use crate::context::Context;
use crate::property::{Map, Row, check_keys};
use crate::resource::{Error, ObjectType};

/// Every function of the package.
pub const ALL: &[&dyn Function] = &[&access_token::GetAccessToken, &current_user::GetCurrentUser];

/// A function of the package.
#[async_trait]
pub trait Function: Sync {
    /// Token, as in `databricks:index/getCurrentUser:getCurrentUser`.
    fn token(&self) -> &'static str;

    /// What the schema says about it.
    fn definition(&self) -> Definition;

    /// Answers a call. A preview must not change anything, nor hand out anything new.
    async fn call(
        &self,
        client: &Client,
        ctx: &Context,
        arguments: &Map,
        preview: bool,
    ) -> Result<Map, Error>;
}

/// The schema of a function.
#[derive(Debug)]
pub struct Definition {
    /// Description; Markdown.
    pub doc: &'static str,
    /// Arguments.
    pub inputs: &'static [Row],
    /// The answer.
    pub outputs: &'static [Row],
    /// Object types.
    pub types: &'static [ObjectType],
}

/// The name of a function in programs.
pub fn name(token: &'static str) -> &'static str {
    token.rsplit(':').next().unwrap_or_default()
}

/// Refuses arguments that the function does not have.
fn check(function: &dyn Function, arguments: &Map) -> Result<(), Error> {
    let wrong = check_keys(arguments, function.definition().inputs, name(function.token()));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}
