use crate::config::ConfigError;

/// Why there are no credentials. The text never holds one.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuthError(pub String);

impl From<ConfigError> for AuthError {
    fn from(error: ConfigError) -> Self {
        AuthError(error.to_string())
    }
}
