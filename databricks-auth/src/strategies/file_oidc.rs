use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::workload_identity::{self, IdTokens};
use super::{Outcome, Strategy, missing};
use crate::error::AuthError;
use crate::settings::Settings;

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

    async fn sign_in(&self, settings: &Arc<Settings>) -> Result<Outcome, AuthError> {
        let Some(path) = &settings.config.attributes.databricks_id_token_filepath else {
            return Ok(missing(&[("databricks:databricksIdTokenFilepath", false)]));
        };
        let file = File(path.clone());
        // An unusable file is reported before anything is sent to the host.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::env::Env;
    use crate::strategies::testing::{Clock, settings, sign_in, workspace};

    #[tokio::test]
    async fn the_file_is_read_for_each_exchange() {
        let server = workspace().await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "jwt-1\n").unwrap();
        let clock = Clock::hasty();
        let stated = [("host", server.url.as_str()), ("databricksIdTokenFilepath", path.to_str().unwrap())];
        let settings = settings(&stated, Env::default(), clock.clone()).await;
        let credentials = sign_in(&settings, "file-oidc").await.unwrap();
        for token in ["jwt-1", "jwt-2"] {
            std::fs::write(&path, format!(" {token}\r\n")).unwrap();
            credentials.headers().await.unwrap();
            let body = server.seen().pop().unwrap().body;
            assert!(body.contains(&format!("subject_token={token}&")), "{body}");
            clock.advance(Duration::from_secs(3601));
        }
        std::fs::remove_file(&path).unwrap();
        let error = credentials.headers().await.unwrap_err().0;
        assert_eq!(error, format!("file {path:?} does not exist"));
    }

    #[tokio::test]
    async fn a_file_without_a_token_is_named_before_the_host_is_asked() {
        let server = workspace().await;
        let folder = tempfile::tempdir().unwrap();
        let (empty, absent) = (folder.path().join("empty"), folder.path().join("absent"));
        std::fs::write(&empty, "\n").unwrap();
        for (path, expected) in [
            (&empty, format!("file {empty:?} is empty")),
            (&absent, format!("file {absent:?} does not exist")),
        ] {
            let stated =
                [("host", server.url.as_str()), ("databricksIdTokenFilepath", path.to_str().unwrap())];
            let settings = settings(&stated, Env::default(), Clock::hasty()).await;
            assert_eq!(sign_in(&settings, "file-oidc").await.err().unwrap().0, expected);
        }
        assert_eq!(server.seen().len(), 0);
    }
}
