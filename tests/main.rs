//! The library against a local workspace in the same process, where time and the way to the user are in the test's
//! hands, and the rules of its source. What needs the process or a real engine is tested by `tests/python`.

// Helpers are tests too.
#![allow(clippy::unwrap_used)]

mod architecture;
mod reliability;
