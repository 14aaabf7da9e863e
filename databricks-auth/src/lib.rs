#![doc = include_str!("../README.md")]
//!
//! # Modules, from the bottom to the top
//!
//! A module uses only those before it: [`mod@env`] and [`clock`]; [`config`]; [`redact`]; [`transport`], [`backoff`] and
//! [`redirect`]; [`metadata`]; the token requests and the token cache; the strategies, one file each; and
//! [`UnifiedAuth`].

mod azure_environments;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod env;
mod error;
#[cfg(test)]
mod fuzz;
pub mod metadata;
pub mod redact;
pub mod redirect;
mod services;
mod settings;
pub mod single_flight;
mod strategies;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod token_cache;
mod token_request;
pub mod transport;
mod unified_auth;

pub use error::AuthError;
pub use strategies::{AccessToken, SignIn};
pub use unified_auth::{Endpoint, UnifiedAuth};
