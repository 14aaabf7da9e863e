//! A Pulumi native resource provider for Databricks credentials.
//!
//! One direction through the program: an rpc of the engine arrives at [`server`], which turns the wire's structs into
//! [`property`] values and calls a [`resource`]; the resource reads its typed inputs and calls the [`databricks`]
//! client; typed outputs go back the same way. [`config`] says where the workspace is and how to sign in.
//!
//! Protobuf types live only in `server`, HTTP types only in `databricks`.

pub mod api;
pub mod client;
pub mod config;
pub mod context;
pub mod env;
pub mod property;
pub mod resource;
pub mod schema;
pub mod server;
