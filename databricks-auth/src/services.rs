use crate::azure_environments::{ENVIRONMENTS, Environment};

/// Addresses of services outside Databricks. Only tests use others than the default.
#[derive(Clone, Debug)]
pub(crate) struct Services {
    /// The clouds of Azure.
    pub(crate) azure: Vec<Environment>,
    /// Metadata service of the machine, at the address that every cloud gives it.
    pub(crate) machine: String,
    /// Google's token endpoint, for credentials that name none.
    pub(crate) google_token: String,
    /// Google's service for the tokens of service accounts.
    pub(crate) google_credentials: String,
}

impl Default for Services {
    fn default() -> Self {
        Services {
            azure: ENVIRONMENTS.to_vec(),
            machine: "http://169.254.169.254".to_owned(),
            google_token: "https://oauth2.googleapis.com/token".to_owned(),
            google_credentials: "https://iamcredentials.googleapis.com".to_owned(),
        }
    }
}
