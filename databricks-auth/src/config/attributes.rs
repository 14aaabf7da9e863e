//! The one table of provider configuration properties: Pulumi schema, environment, `.databrickscfg`, validation and error
//! texts all derive from its rows. Names and order are those of the Databricks SDKs.

use secrecy::SecretString;

/// Which credentials an attribute belongs to. Attributes of two methods at once are a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Belongs to no method.
    General,
    /// Tuning; left out of error texts.
    Internal,
    /// Belongs to the method of this name.
    Method(&'static str),
}

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A text that is never shown.
    Credential,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
    /// Texts; as one text, they are separated by commas.
    List,
}

/// A configuration property.
#[derive(Clone, Copy)]
pub struct Attribute {
    /// Name in Pulumi configuration: `databricks:<name>`.
    pub name: &'static str,
    /// Name in `.databrickscfg` and in error texts.
    pub ini: &'static str,
    /// Environment variable, if there is one.
    pub env: Option<&'static str>,
    /// Credentials that it belongs to.
    pub group: Group,
    /// Whether the value is a credential.
    pub secret: bool,
    /// Description in the schema.
    pub doc: &'static str,
    /// Type of the value.
    pub kind: Kind,
    /// Whether the attribute has a value other than its zero value.
    pub is_set: fn(&Attributes) -> bool,
    /// The value as error texts show it, `***` for a credential.
    pub show: fn(&Attributes) -> String,
    /// Sets the attribute from text, which is the form that programs, the environment and profiles have for it.
    pub set_text: fn(&mut Attributes, &str) -> Result<(), String>,
}

impl std::fmt::Debug for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A type of attribute: text, credential, flag, number or list. Its zero value means "not set".
pub(super) trait AttributeType: Sized + Default {
    const KIND: Kind;
    fn is_set(&self) -> bool;
    fn credential(&self) -> Option<&SecretString> {
        None
    }
    fn show(&self) -> String;
    fn parse(text: &str) -> Result<Self, String>;
}

impl AttributeType for Option<String> {
    const KIND: Kind = Kind::Text;
    fn is_set(&self) -> bool {
        self.is_some()
    }
    fn show(&self) -> String {
        self.clone().unwrap_or_default()
    }
    fn parse(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

impl AttributeType for Option<SecretString> {
    const KIND: Kind = Kind::Credential;
    fn is_set(&self) -> bool {
        self.is_some()
    }
    fn credential(&self) -> Option<&SecretString> {
        self.as_ref()
    }
    fn show(&self) -> String {
        "***".to_owned()
    }
    fn parse(text: &str) -> Result<Self, String> {
        Ok((!text.is_empty()).then(|| SecretString::from(text)))
    }
}

impl AttributeType for bool {
    const KIND: Kind = Kind::Flag;
    fn is_set(&self) -> bool {
        *self
    }
    fn show(&self) -> String {
        self.to_string()
    }
    /// Accepts the words of Go's `strconv.ParseBool`, as Databricks tools do for their environment variables.
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            _ => Err("expected true or false".to_owned()),
        }
    }
}

impl AttributeType for i64 {
    const KIND: Kind = Kind::Number;
    fn is_set(&self) -> bool {
        *self != 0
    }
    fn show(&self) -> String {
        self.to_string()
    }
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(0);
        }
        text.parse().map_err(|_| "expected a whole number".to_owned())
    }
}

impl AttributeType for Vec<String> {
    const KIND: Kind = Kind::List;
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
    fn show(&self) -> String {
        self.join(",")
    }
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
    }
}

macro_rules! attributes {
    ( $( $(#[doc = $doc:literal])* $field:ident: $Type:ty = $name:literal, $env:expr, $group:expr; )* ) => {
        /// Values of the configuration properties, from wherever each was set.
        #[derive(Clone, Debug, Default)]
        pub struct Attributes { $( $(#[doc = $doc])* pub $field: $Type, )* }

        impl Attributes {
            /// Every credential among the values.
            pub fn credentials(&self) -> impl Iterator<Item = &SecretString> {
                [ $( AttributeType::credential(&self.$field) ),* ].into_iter().flatten()
            }
        }

        /// Every configuration property.
        pub const ATTRIBUTES: &[Attribute] = &[ $( Attribute {
            name: $name,
            ini: stringify!($field),
            env: $env,
            group: $group,
            secret: matches!(<$Type as AttributeType>::KIND, Kind::Credential),
            doc: concat!($($doc, "\n"),*),
            kind: <$Type as AttributeType>::KIND,
            is_set: |attributes| AttributeType::is_set(&attributes.$field),
            show: |attributes| AttributeType::show(&attributes.$field),
            set_text: |attributes, text| {
                attributes.$field = AttributeType::parse(text)?;
                Ok(())
            },
        }, )* ];
    };
}

type Text = Option<String>;
type Credential = Option<SecretString>;

use Group::{General, Internal, Method};

attributes! {
    /// URL of the workspace, such as `https://dbc-1234.cloud.databricks.com`, or of the account console.
    host: Text = "host", Some("DATABRICKS_HOST"), General;
    /// Cluster for resources that need one. Not used by this provider.
    cluster_id: Text = "clusterId", Some("DATABRICKS_CLUSTER_ID"), General;
    /// SQL warehouse for resources that need one. Not used by this provider.
    warehouse_id: Text = "warehouseId", Some("DATABRICKS_WAREHOUSE_ID"), General;
    /// Serverless compute for resources that need it. Not used by this provider.
    serverless_compute_id: Text = "serverlessComputeId", Some("DATABRICKS_SERVERLESS_COMPUTE_ID"), General;
    /// URL of a local service that hands out tokens; `localhost` or `127.0.0.1` only.
    metadata_service_url: Credential = "metadataServiceUrl", Some("DATABRICKS_METADATA_SERVICE_URL"), Method("metadata-service");
    /// Account id, for account hosts and account-wide sign-in.
    account_id: Text = "accountId", Some("DATABRICKS_ACCOUNT_ID"), General;
    /// Workspace to act on where the host serves several; sent as the routing header.
    workspace_id: Text = "workspaceId", Some("DATABRICKS_WORKSPACE_ID"), General;
    /// Group to assume; only with OAuth sign-in of a service principal.
    group_id: Text = "groupId", Some("DATABRICKS_GROUP_ID"), General;
    /// Personal access token.
    token: Credential = "token", Some("DATABRICKS_TOKEN"), Method("pat");
    /// User name for basic sign-in.
    username: Text = "username", Some("DATABRICKS_USERNAME"), Method("basic");
    /// Password for basic sign-in.
    password: Credential = "password", Some("DATABRICKS_PASSWORD"), Method("basic");
    /// Section of the configuration file to use.
    profile: Text = "profile", Some("DATABRICKS_CONFIG_PROFILE"), General;
    /// Path of the configuration file. Default: `~/.databrickscfg`.
    config_file: Text = "configFile", Some("DATABRICKS_CONFIG_FILE"), General;
    /// Port for signing in with a browser, which a provider never does.
    oauth_callback_port: i64 = "oauthCallbackPort", Some("DATABRICKS_OAUTH_CALLBACK_PORT"), Internal;
    /// E-mail of the Google service account to impersonate.
    google_service_account: Text = "googleServiceAccount", Some("DATABRICKS_GOOGLE_SERVICE_ACCOUNT"), Method("google");
    /// Key of a Google service account, as JSON or as the path of a file.
    google_credentials: Credential = "googleCredentials", Some("GOOGLE_CREDENTIALS"), Method("google");
    /// Azure resource id of the workspace; may stand in for the host.
    azure_workspace_resource_id: Text = "azureWorkspaceResourceId", Some("DATABRICKS_AZURE_RESOURCE_ID"), Method("azure");
    /// Whether to sign in with the Azure managed identity of this machine.
    azure_use_msi: bool = "azureUseMsi", Some("ARM_USE_MSI"), Method("azure");
    /// Secret of an Azure service principal.
    azure_client_secret: Credential = "azureClientSecret", Some("ARM_CLIENT_SECRET"), Method("azure");
    /// Client id of an Azure service principal, or of a user-assigned managed identity.
    azure_client_id: Text = "azureClientId", Some("ARM_CLIENT_ID"), Method("azure");
    /// Azure tenant.
    azure_tenant_id: Text = "azureTenantId", Some("ARM_TENANT_ID"), Method("azure");
    /// URL at which a GitHub workflow requests its identity token.
    actions_id_token_request_url: Text = "actionsIdTokenRequestUrl", Some("ACTIONS_ID_TOKEN_REQUEST_URL"), General;
    /// Token with which a GitHub workflow requests its identity token.
    actions_id_token_request_token: Credential = "actionsIdTokenRequestToken", Some("ACTIONS_ID_TOKEN_REQUEST_TOKEN"), General;
    /// Azure cloud: `PUBLIC`, `USGOVERNMENT` or `CHINA`.
    azure_environment: Text = "azureEnvironment", Some("ARM_ENVIRONMENT"), General;
    /// Deprecated and without effect.
    azure_login_app_id: Text = "azureLoginAppId", Some("DATABRICKS_AZURE_LOGIN_APP_ID"), Method("azure");
    /// Client id of a Databricks service principal.
    client_id: Text = "clientId", Some("DATABRICKS_CLIENT_ID"), Method("oauth");
    /// OAuth secret of a Databricks service principal.
    client_secret: Credential = "clientSecret", Some("DATABRICKS_CLIENT_SECRET"), Method("oauth");
    /// OAuth scopes to request. Default: `all-apis`.
    scopes: Vec<String> = "scopes", None, Internal;
    /// Whether to request no refresh token when signing in with a browser, which a provider never does.
    disable_oauth_refresh_token: bool = "disableOauthRefreshToken", Some("DATABRICKS_DISABLE_OAUTH_REFRESH_TOKEN"), Internal;
    /// Path or name of the Databricks CLI. Default: `databricks` on the PATH.
    databricks_cli_path: Text = "databricksCliPath", Some("DATABRICKS_CLI_PATH"), General;
    /// The one way to sign in, such as `pat`, `oauth-m2m` or `azure-cli`, where the automatic choice is not wanted.
    auth_type: Text = "authType", Some("DATABRICKS_AUTH_TYPE"), Internal;
    /// Path of a file that holds an identity token.
    databricks_id_token_filepath: Text = "databricksIdTokenFilepath", Some("DATABRICKS_OIDC_TOKEN_FILEPATH"), Method("file-oidc");
    /// Name of the environment variable that holds an identity token. Default: `DATABRICKS_OIDC_TOKEN`.
    oidc_token_env: Text = "oidcTokenEnv", Some("DATABRICKS_OIDC_TOKEN_ENV"), Method("env-oidc");
    /// Whether to accept any TLS certificate. For tests only.
    skip_verify: bool = "skipVerify", None, Internal;
    /// Seconds without a byte after which a request is given up. Default: 65.
    http_timeout_seconds: i64 = "httpTimeoutSeconds", None, Internal;
    /// Bytes of a text that debug logs show. Default: 96.
    debug_truncate_bytes: i64 = "debugTruncateBytes", Some("DATABRICKS_DEBUG_TRUNCATE_BYTES"), Internal;
    /// Whether debug logs show headers. Credentials are never shown.
    debug_headers: bool = "debugHeaders", Some("DATABRICKS_DEBUG_HEADERS"), Internal;
    /// Requests per second to one workspace. Default: 15.
    rate_limit: i64 = "rateLimit", Some("DATABRICKS_RATE_LIMIT"), Internal;
    /// Seconds for which a request is repeated while the workspace is busy, if the timeout of the resource allows.
    /// Default: 1200.
    retry_timeout_seconds: i64 = "retryTimeoutSeconds", None, Internal;
    /// Cloud of the workspace (`AWS`, `Azure` or `GCP`) if the host does not say.
    cloud: Text = "cloud", Some("DATABRICKS_CLOUD"), Internal;
    /// Audience to request in an identity token.
    audience: Text = "audience", Some("DATABRICKS_TOKEN_AUDIENCE"), Internal;
    /// URL of the OIDC discovery document, where it is not on the host.
    discovery_url: Text = "discoveryUrl", Some("DATABRICKS_DISCOVERY_URL"), Internal;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_values_are_not_set() {
        for attribute in ATTRIBUTES {
            let mut attributes = Attributes::default();
            (attribute.set_text)(&mut attributes, "").unwrap();
            assert!(!(attribute.is_set)(&attributes), "{}", attribute.name);
        }
    }

    #[test]
    fn other_values_are_set_and_shown() {
        let mut attributes = Attributes::default();
        for attribute in ATTRIBUTES {
            let text = match attribute.kind {
                Kind::Flag => "true",
                Kind::Number => "7",
                Kind::Text | Kind::Credential | Kind::List => "x",
            };
            (attribute.set_text)(&mut attributes, text).unwrap();
            assert!((attribute.is_set)(&attributes), "{}", attribute.name);
            let shown = if attribute.secret { "***" } else { text };
            assert_eq!((attribute.show)(&attributes), shown, "{}", attribute.name);
        }
        attributes.scopes = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(AttributeType::show(&attributes.scopes), "a,b");
    }

    #[test]
    fn credentials_are_neither_printed_nor_shown() {
        let attributes = Attributes {
            token: Some("dapi-hidden".into()),
            password: Some("hidden".into()),
            ..Default::default()
        };
        assert!(!format!("{attributes:?}").contains("hidden"));
        for attribute in ATTRIBUTES.iter().filter(|attribute| attribute.secret) {
            assert_eq!((attribute.show)(&attributes), "***", "{}", attribute.name);
        }
    }
}
