use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::env::Env;
use crate::error::AuthError;
use crate::metadata::Metadata;
use crate::services::Services;
use crate::transport::HttpClient;

/// Everything that a strategy may look at. It lives as long as the credentials, which may have to be renewed.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) env: Env,
    pub(crate) metadata: Metadata,
    pub(crate) http: HttpClient,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) services: Services,
}

impl Settings {
    /// URL of the host, without a trailing slash.
    pub(crate) fn host(&self) -> Result<&str, AuthError> {
        let host =
            self.config.host.as_ref().ok_or_else(|| AuthError("databricks:host is not set".to_owned()))?;
        Ok(&host.url)
    }
}
