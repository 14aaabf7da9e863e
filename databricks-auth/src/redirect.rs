//! Redirects whose target shows why a request was turned away.

use crate::config::Cloud;
use crate::transport::path_of;

/// What private connectivity is called in a cloud, what leads to it, and where it is described.
fn private_link(cloud: Cloud) -> (&'static str, &'static str, &'static str) {
    match cloud {
        Cloud::Aws => (
            "AWS PrivateLink",
            "AWS VPC endpoint",
            "https://docs.databricks.com/en/security/network/classic/privatelink.html",
        ),
        Cloud::Azure => (
            "Azure Private Link",
            "Azure Private Link endpoint",
            "https://learn.microsoft.com/en-us/azure/databricks/security/network/classic/private-link-standard#authentication-troubleshooting",
        ),
        Cloud::Gcp => (
            "Private Service Connect",
            "GCP VPC endpoint",
            "https://docs.gcp.databricks.com/en/security/network/classic/private-service-connect.html",
        ),
    }
}

/// Why a host of a cloud answers with a redirect to `location`, and what to do about it. `None` where the location
/// does not show why.
pub fn known_redirect(cloud: Cloud, location: &str) -> Option<String> {
    let path = path_of(location);
    if path.starts_with("/login.html") && path.contains("error=private-link-validation-error") {
        let (service, way, page) = private_link(cloud);
        Some(format!(
            "the requested workspace has {service} enabled and is not accessible from the current network. Check that \
             {service} is properly configured and that this machine has access to the {way}. See {page}"
        ))
    } else if path.starts_with("/login") {
        Some(
            "redirected to a login page: this looks like an account console, or a workspace that does not know these \
             credentials. If so, set databricks:host to the workspace's own URL"
                .to_owned(),
        )
    } else {
        None
    }
}
