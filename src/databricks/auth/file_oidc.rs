use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::workload_identity::{self, IdTokens};
use super::{AuthError, Settings, SignIn, Strategy, missing};

/// An identity token in a file, such as one that Kubernetes mounts and keeps fresh.
pub(super) struct FileOidc;

#[async_trait]
impl Strategy for FileOidc {
    fn name(&self) -> &'static str {
        "file-oidc"
    }

    fn assumes_groups(&self) -> bool {
        true
    }

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<SignIn, AuthError> {
        let Some(path) = &settings.config.attributes.databricks_id_token_filepath else {
            return Ok(missing(&[("databricks:databricksIdTokenFilepath", false)]));
        };
        let file = File(path.clone());
        // Before the host is asked for anything.
        file.read().await?;
        Ok(workload_identity::sign_in(settings, file))
    }
}

struct File(String);

impl File {
    async fn read(&self) -> Result<SecretString, AuthError> {
        let path = &self.0;
        let text = tokio::fs::read_to_string(path).await.map(Zeroizing::new).map_err(|error| {
            AuthError(match error.kind() {
                io::ErrorKind::NotFound => format!("file {path:?} does not exist"),
                _ => format!("file {path:?} cannot be read: {error}"),
            })
        })?;
        // Editors and `echo` end a file with a line break, which is no part of the token.
        match text.trim() {
            "" => Err(AuthError(format!("file {path:?} is empty"))),
            token => Ok(token.into()),
        }
    }
}

#[async_trait]
impl IdTokens for File {
    async fn id_token(&self, _settings: &Settings, _audience: &str) -> Result<SecretString, AuthError> {
        self.read().await
    }
}
