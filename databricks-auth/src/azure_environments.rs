//! The clouds of Azure.

use std::borrow::Cow;

/// A cloud of Azure, with its services and the name under which Entra ID knows each.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// Name, as in `databricks:azureEnvironment`.
    pub(crate) name: &'static str,
    /// End of its workspaces' host names.
    pub(crate) hosts: &'static str,
    /// Entra ID, without a trailing slash.
    pub(crate) entra: Cow<'static, str>,
    /// Azure Resource Manager, which knows every resource of Azure; with a trailing slash.
    pub(crate) resource_manager: Cow<'static, str>,
    /// Azure Service Management; with a trailing slash.
    pub(crate) service_management: &'static str,
}

pub(crate) const PUBLIC: &str = "PUBLIC";

/// Every cloud of Azure.
pub(crate) const ENVIRONMENTS: &[Environment] = &[
    Environment {
        name: PUBLIC,
        hosts: ".azuredatabricks.net",
        entra: Cow::Borrowed("https://login.microsoftonline.com"),
        resource_manager: Cow::Borrowed("https://management.azure.com/"),
        service_management: "https://management.core.windows.net/",
    },
    Environment {
        name: "USGOVERNMENT",
        hosts: ".databricks.azure.us",
        entra: Cow::Borrowed("https://login.microsoftonline.us"),
        resource_manager: Cow::Borrowed("https://management.usgovcloudapi.net/"),
        service_management: "https://management.core.usgovcloudapi.net/",
    },
    Environment {
        name: "CHINA",
        hosts: ".databricks.azure.cn",
        entra: Cow::Borrowed("https://login.chinacloudapi.cn"),
        resource_manager: Cow::Borrowed("https://management.chinacloudapi.cn/"),
        service_management: "https://management.core.chinacloudapi.cn/",
    },
];
