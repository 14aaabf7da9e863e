//! What the process was started with. It is read once and passed in, so that tests need no process of their own.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

/// Environment variables and the home directory.
#[derive(Clone, Default)]
pub struct Env {
    /// Variables by name. They hold credentials, so they are never printed.
    pub vars: HashMap<String, String>,
    /// The user's home directory, where `~/.databrickscfg` is.
    pub home: Option<PathBuf>,
}

impl Env {
    /// The environment of this process; variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        let vars = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Env { vars, home: std::env::home_dir() }
    }

    /// The value of a variable, if it is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("vars", &self.vars.len()).field("home", &self.home).finish()
    }
}
