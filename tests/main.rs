//! Tests of the library against a local workspace in the same process, where the test controls the time and receives
//! what the user would see, and the rules about its source. `tests/python` tests what needs the plugin's own process
//! or a real engine.

// Helpers belong to tests, and may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod architecture;
mod reliability;
