//! A Pulumi native resource provider for Databricks credentials.
//!
//! Every call goes the same way: an rpc of the engine arrives at [`server`], which turns the wire's structs into
//! [`property`] values and calls a [`resource`]; the resource reads its typed inputs and makes the calls of an [`api`],
//! which the [`client`] sends; typed outputs go back the same way. [`config`] says where the workspace is and how to
//! sign in; the crate [`databricks_auth`] signs in.
//!
//! Protobuf types live only in `server`, and the HTTP library only in `databricks_auth`.

pub mod adopt;
pub mod api;
pub mod client;
pub mod config;
pub mod context;
pub mod doctor;
pub mod function;
pub mod property;
pub mod resource;
pub mod schema;
pub mod server;
pub mod stack;

pub use databricks_auth::env;
