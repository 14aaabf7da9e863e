//! The calls of Databricks' REST API, one module for each service.

pub mod tokens;
