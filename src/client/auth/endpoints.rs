use super::azure::{ENVIRONMENTS, Environment};

/// Addresses of services outside Databricks. Only tests have others than the default.
#[derive(Clone)]
pub(crate) struct Endpoints {
    /// The clouds of Azure.
    pub(super) azure: Vec<Environment>,
    /// Metadata service of the machine, at the address that every cloud gives it.
    pub(super) machine: String,
    /// Google's token endpoint, for credentials that name none.
    pub(super) google_token: String,
    /// Google's service for the tokens of service accounts.
    pub(super) google_credentials: String,
}

impl Default for Endpoints {
    fn default() -> Self {
        Endpoints {
            azure: ENVIRONMENTS.to_vec(),
            machine: "http://169.254.169.254".to_owned(),
            google_token: "https://oauth2.googleapis.com/token".to_owned(),
            google_credentials: "https://iamcredentials.googleapis.com".to_owned(),
        }
    }
}
