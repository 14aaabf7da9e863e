use std::fmt;

use crate::azure_environments::ENVIRONMENTS;

/// Where a workspace runs, which decides who vouches for its users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon Web Services; also every host whose name does not show its cloud.
    #[default]
    Aws,
    /// Microsoft Azure.
    Azure,
    /// Google Cloud.
    Gcp,
}

impl Cloud {
    /// The cloud of this name, in upper or lower case, as in `databricks:cloud` and in the descriptions of hosts.
    pub fn named(name: &str) -> Option<Cloud> {
        [("AWS", Cloud::Aws), ("Azure", Cloud::Azure), ("GCP", Cloud::Gcp)]
            .into_iter()
            .find_map(|(known, cloud)| known.eq_ignore_ascii_case(name).then_some(cloud))
    }
}

/// End of the host names of workspaces on Google Cloud.
const GOOGLE_HOSTS: &str = ".gcp.databricks.com";

/// The host in its normal form: scheme, name and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// `https://name[:port]`, without a trailing slash.
    pub url: String,
    /// Workspace named by the query of the URL as it was stated.
    pub workspace_id: Option<String>,
    /// Account named by the query.
    pub account_id: Option<String>,
}

/// The stated host is not a URL with a host name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no usable host configured: databricks:host is not the URL of a workspace, such as https://dbc-1234.cloud.databricks.com"
)]
pub struct HostError;

impl Host {
    /// Reads the host as a program, the environment or a profile states it. Path, query and user are dropped, since the
    /// URL is often copied from a browser; the ids that the query names are kept.
    pub fn parse(stated: &str) -> Result<Host, HostError> {
        let stated = stated.trim();
        let (scheme, rest) = match stated.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("https".to_owned(), stated),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let url = format!("{scheme}://{authority}");
        let parsed: http::Uri = url.parse().map_err(|_| HostError)?;
        if !matches!(scheme.as_str(), "http" | "https") || parsed.host().is_none_or(str::is_empty) {
            return Err(HostError);
        }
        let query = tail.split_once('?').map_or("", |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        let parameter = |name: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(key, value)| key == name && !value.is_empty())
                .map(|(_, value)| value.into_owned())
        };
        let number = |id: &String| id.parse::<i64>().is_ok();
        Ok(Host {
            url,
            workspace_id: parameter("w")
                .or_else(|| parameter("o").filter(number))
                .or_else(|| parameter("workspace_id").filter(number)),
            account_id: parameter("a").or_else(|| parameter("account_id")),
        })
    }

    /// Whether requests cross a network in the clear.
    pub fn is_exposed(&self) -> bool {
        self.url.starts_with("http://") && !self.is_loopback()
    }

    /// Whether the host is this machine, to which no proxy leads.
    pub fn is_loopback(&self) -> bool {
        let uri = self.url.parse::<http::Uri>().unwrap_or_default();
        let name = uri.host().unwrap_or_default().to_ascii_lowercase();
        match name.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    /// Whether the name of the host is that of an account console.
    pub fn is_account(&self) -> bool {
        self.url.starts_with("https://accounts.") || self.url.starts_with("https://accounts-dod.")
    }

    /// Whether the name ends with `suffix`, which is in lower case, whatever the name's case and port.
    pub fn name_ends_with(&self, suffix: &str) -> bool {
        let uri: Option<http::Uri> = self.url.parse().ok();
        uri.as_ref().and_then(http::Uri::host).is_some_and(|name| name.to_ascii_lowercase().ends_with(suffix))
    }

    /// The cloud, according to the name of the host.
    pub fn cloud(&self) -> Cloud {
        if ENVIRONMENTS.iter().any(|environment| self.name_ends_with(environment.hosts)) {
            Cloud::Azure
        } else if self.name_ends_with(GOOGLE_HOSTS) {
            Cloud::Gcp
        } else {
            Cloud::default()
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_in_every_form_that_people_paste() {
        for (stated, url) in [
            ("a.b", "https://a.b"),
            ("a:8080", "https://a:8080"),
            ("localhost:8080", "https://localhost:8080"),
            ("http://a:8080/path?x=1", "http://a:8080"),
            ("https://user:pw@a.b/x", "https://a.b"),
            ("HTTPS://A.B/", "https://A.B"),
            (" https://a.b/#x?y ", "https://a.b"),
            ("https://[::1]:80/", "https://[::1]:80"),
        ] {
            assert_eq!(Host::parse(stated).map(|host| host.url), Ok(url.to_owned()), "{stated}");
        }
        for stated in ["", "https://", "https://:80", "ftp://a", "https://a b", "://"] {
            assert_eq!(Host::parse(stated), Err(HostError), "{stated}");
        }
    }

    #[test]
    fn only_loopback_may_go_without_tls() {
        for (stated, exposed) in [
            ("https://a.b", false),
            ("http://localhost:80", false),
            ("http://127.0.0.2", false),
            ("http://[::1]:80", false),
            ("http://a.localhost", false),
            ("http://a.b", true),
            ("http://10.0.0.1", true),
            ("http://localhost.a.b", true),
        ] {
            assert_eq!(Host::parse(stated).unwrap().is_exposed(), exposed, "{stated}");
        }
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (stated, is_loopback) in [
            ("http://localhost:8080", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://127.0.0.1.example.com", false),
            ("https://localhost.example.com", false),
            ("https://10.0.0.1", false),
        ] {
            assert_eq!(Host::parse(stated).unwrap().is_loopback(), is_loopback, "{stated}");
        }
    }

    #[test]
    fn the_name_tells_the_cloud() {
        for (stated, cloud) in [
            ("https://dbc-1.cloud.databricks.com", Cloud::Aws),
            ("https://dbc-1.cloud.databricks.us", Cloud::Aws),
            ("https://databricks.example.com", Cloud::Aws),
            ("https://adb-1.2.azuredatabricks.net", Cloud::Azure),
            ("https://ADB-1.2.AzureDatabricks.net:443/?o=1", Cloud::Azure),
            ("https://adb-1.2.dev.azuredatabricks.net", Cloud::Azure),
            ("https://adb-1.2.staging.azuredatabricks.net", Cloud::Azure),
            ("https://adb-1.2.databricks.azure.us", Cloud::Azure),
            ("https://adb-1.2.databricks.azure.cn", Cloud::Azure),
            ("https://azuredatabricks.net.example.com", Cloud::Aws),
            ("https://evilazuredatabricks.net", Cloud::Aws),
            ("https://1.2.gcp.databricks.com", Cloud::Gcp),
            ("https://1.2.dev.gcp.databricks.com", Cloud::Gcp),
        ] {
            assert_eq!(Host::parse(stated).unwrap().cloud(), cloud, "{stated}");
        }
    }

    #[test]
    fn ids_in_the_query_are_kept() {
        let host = Host::parse("https://a/?o=12&a=acc").unwrap();
        assert_eq!((host.workspace_id.as_deref(), host.account_id.as_deref()), (Some("12"), Some("acc")));
        for (stated, id) in [
            ("https://a/?o=x", None),
            ("https://a/?o=x&workspace_id=12", Some("12")),
            ("https://a?w=x", Some("x")),
            ("https://a?o=12&w=a%2Db", Some("a-b")),
            ("https://a?w=&o=12", Some("12")),
        ] {
            assert_eq!(Host::parse(stated).unwrap().workspace_id.as_deref(), id, "{stated}");
        }
    }
}
