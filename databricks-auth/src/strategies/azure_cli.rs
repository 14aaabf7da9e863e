use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Outcome;
use super::azure::{Identity, Login, is_plain};
use super::command::{self, Failure};
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::Token;
use crate::token_request::Seconds;
use crate::transport::path_of;

/// Whoever is logged in with the Azure CLI.
pub(super) struct AzureCli;

const PROGRAM: &str = if cfg!(windows) { "az.cmd" } else { "az" };
const LOGGED_OUT: &str = "the Azure CLI is not logged in: run `az login`";

#[async_trait]
impl Login for AzureCli {
    fn name(&self) -> &'static str {
        "azure-cli"
    }

    /// The login is that of whoever uses this machine.
    fn is_ambient(&self) -> bool {
        true
    }

    /// Not everybody who may use a workspace may manage Azure.
    fn management_is_optional(&self) -> bool {
        true
    }

    async fn identity(&self, settings: &Arc<Settings>) -> Result<Outcome<Arc<dyn Identity>>, AuthError> {
        let Some(program) = command::on_path(&settings.env, PROGRAM).into_iter().next() else {
            return Ok(Outcome::NotConfigured("the Azure CLI (`az`) is not on the PATH".to_owned()));
        };
        // How to request a token depends on who is logged in. Where the CLI does not say, it is taken for a person.
        let user = match command::run(settings, &program, &["account", "show", "--output", "json"]).await {
            Ok(output) => serde_json::from_slice::<Account>(&output).unwrap_or_default().user,
            Err(failure) if is_logged_out(&failure) => {
                return Ok(Outcome::DoesNotApply(LOGGED_OUT.to_owned()));
            }
            Err(_) => User::default(),
        };
        let tenant = if user.is_managed() { None } else { tenant(settings).await? };
        let resource = settings.config.attributes.azure_workspace_resource_id.as_deref();
        let subscription = resource.and_then(|id| id.split('/').nth(2)).filter(|id| is_plain(id));
        Ok(Outcome::Ready(Arc::new(Cli {
            settings: Arc::clone(settings),
            program,
            may_have_no_tenant: user.kind == SERVICE_PRINCIPAL,
            tenant,
            subscription: subscription.map(str::to_owned),
        })))
    }
}

const SERVICE_PRINCIPAL: &str = "servicePrincipal";

/// What `az account show` says.
#[derive(Deserialize, Default)]
struct Account {
    #[serde(default)]
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

impl User {
    /// Whether this is the identity of a machine, for which no tenant can be named.
    fn is_managed(&self) -> bool {
        self.kind == SERVICE_PRINCIPAL
            && ["systemAssignedIdentity", "userAssignedIdentity"].contains(&self.name.as_str())
    }
}

fn is_logged_out(failure: &Failure) -> bool {
    ["No subscription found", "az login"].iter().any(|words| failure.stderr.contains(words))
}

/// The tenant: the configured one, or the one to which the workspace sends whoever wants to log in.
async fn tenant(settings: &Settings) -> Result<Option<String>, AuthError> {
    if let Some(tenant) = &settings.config.attributes.azure_tenant_id {
        return match is_plain(tenant) {
            true => Ok(Some(tenant.clone())),
            false => {
                Err(AuthError("databricks:azureTenantId is not the id or the domain of a tenant".to_owned()))
            }
        };
    }
    let Some(host) = &settings.config.host else { return Ok(None) };
    let url = format!("{host}/aad/auth");
    let failed = |reason: &str| {
        AuthError(format!(
            "load tenant id: GET {url}: {reason}. Set databricks:azureTenantId to the workspace's tenant"
        ))
    };
    let response = settings.http.get(&url).send().await.map_err(|failure| failed(&failure.reason))?;
    let location = response.header("location").ok_or_else(|| failed("the answer redirects nowhere"))?;
    // https://login.microsoftonline.com/<tenant>/oauth2/authorize?…
    let tenant =
        path_of(location).split(['?', '#']).next().unwrap_or_default().split('/').nth(1).unwrap_or_default();
    if is_plain(tenant) { Ok(Some(tenant.to_owned())) } else { Err(failed("the answer names no tenant")) }
}

struct Cli {
    settings: Arc<Settings>,
    program: PathBuf,
    /// `None` for managed identities, and where neither the configuration nor a host names a tenant.
    tenant: Option<String>,
    /// Whether the login may be valid for another tenant than that of the workspace.
    may_have_no_tenant: bool,
    /// Subscription of the workspace.
    subscription: Option<String>,
}

impl Cli {
    async fn ask(&self, resource: &str, narrowed: &[&str]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let arguments = ["account", "get-access-token", "--resource", resource, "--output", "json"];
        command::run(&self.settings, &self.program, &[&arguments, narrowed].concat()).await
    }
}

#[async_trait]
impl Identity for Cli {
    async fn token(&self, resource: &str) -> Result<Token, AuthError> {
        let output = match (&self.tenant, &self.subscription) {
            (Some(tenant), _) => match self.ask(resource, &["--tenant", tenant]).await {
                Err(_) if self.may_have_no_tenant => self.ask(resource, &[]).await,
                output => output,
            },
            (None, Some(subscription)) => match self.ask(resource, &["--subscription", subscription]).await {
                Err(_) => self.ask(resource, &[]).await,
                output => output,
            },
            (None, None) => self.ask(resource, &[]).await,
        };
        let output = output.map_err(|failure| match is_logged_out(&failure) {
            true => AuthError(LOGGED_OUT.to_owned()),
            false => AuthError(format!("cannot get access token: {failure}")),
        })?;
        token(&output, &TimeZone::system())
    }
}

/// What `az account get-access-token` says.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "accessToken")]
    access_token: SecretString,
    #[serde(rename = "tokenType", default)]
    token_type: String,
    /// Since version 2.54.
    #[serde(default)]
    expires_on: Seconds,
    /// In local time, without a zone.
    #[serde(rename = "expiresOn", default)]
    local_expiry: String,
}

/// Reads what the tool wrote to stdout.
pub(super) fn token(output: &[u8], zone: &TimeZone) -> Result<Token, AuthError> {
    const WHAT: &str = "az account get-access-token";
    let answer: Answer = serde_json::from_slice(output).map_err(|error| {
        AuthError(format!(
            "{WHAT}: the answer has an unexpected form (line {}, column {})",
            error.line(),
            error.column()
        ))
    })?;
    let expires = if answer.expires_on == Seconds(0) {
        let local: Option<DateTime> = answer.local_expiry.parse().ok();
        let expiry = local.and_then(|local| zone.to_timestamp(local).ok());
        expiry
            .and_then(|expiry| SystemTime::try_from(expiry).ok())
            .ok_or_else(|| AuthError(format!("{WHAT}: the answer has no expiry")))?
    } else {
        SystemTime::UNIX_EPOCH + answer.expires_on.duration()
    };
    Token::new(WHAT, answer.access_token, &answer.token_type, Some(expires))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::strategies::choose;
    use crate::strategies::testing::{self, Answer, Clock, Server, Tools};

    /// A stand-in that logs its arguments beside itself. `WHO` is what `az account show` answers; a word of `REFUSE`
    /// that is among the arguments makes the command fail, with `COMPLAINT`.
    const AZ: &str = r#"
echo "$*" >> "$(dirname "$0")/log"
for word in $REFUSE; do
  case " $* " in *" $word "*) echo "$COMPLAINT" >&2; exit 1 ;; esac
done
case "$2" in
  show) echo "$WHO" ;;
  *) echo "${TOKEN:-{\"accessToken\":\"for $4\",\"tokenType\":\"Bearer\",\"expires_on\":1800003600\}}" ;;
esac"#;

    const PERSON: &str = r#"{"user":{"name":"me@example.com","type":"user"}}"#;
    const MACHINE: &str = r#"{"user":{"name":"systemAssignedIdentity","type":"servicePrincipal"}}"#;
    const PRINCIPAL: &str = r#"{"user":{"name":"0-1-2","type":"servicePrincipal"}}"#;
    const APPLICATION: &str = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d";
    const MANAGEMENT: &str = "https://management.core.windows.net/";

    struct Outcome {
        /// Names of the headers, or the error.
        result: Result<Vec<String>, String>,
        /// Arguments of `az`.
        ran: Vec<String>,
        /// Paths of requests.
        asked: Vec<String>,
    }

    async fn outcome(stated: &[(&str, &str)], vars: &[(&str, &str)]) -> Outcome {
        let server = Server::start(|seen, _| match seen.path.as_str() {
            "/aad/auth" => Answer::status(302).with_header(
                "location",
                "https://login.microsoftonline.com/the-tenant/oauth2/authorize?x=/y/",
            ),
            _ => Answer::status(404),
        })
        .await;
        let tools = Tools::new();
        tools.add("az", AZ, 0);
        let mut env = tools.env();
        env.vars.extend(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let stated =
            [stated, &[("host", &server.url), ("cloud", "Azure"), ("authType", "azure-cli")]].concat();
        let settings = testing::settings(&stated, env, Clock::still()).await;
        let result = match choose(&settings).await {
            Ok(chosen) => {
                let headers = chosen.credentials.headers().await.unwrap();
                assert_eq!(headers["authorization"], format!("Bearer for {APPLICATION}"));
                let mut names: Vec<_> = headers.keys().map(ToString::to_string).collect();
                names.sort();
                Ok(names)
            }
            Err(error) => Err(error.to_string()),
        };
        let log = std::fs::read_to_string(tools.path().join("log")).unwrap_or_default();
        Outcome {
            result,
            ran: log.lines().map(str::to_owned).collect(),
            asked: server.seen().into_iter().map(|seen| seen.path).collect(),
        }
    }

    fn get(resource: &str, more: &str) -> String {
        format!("account get-access-token --resource {resource} --output json{more}")
    }

    #[tokio::test]
    async fn a_person_is_asked_for_in_the_tenant_of_the_workspace() {
        let it = outcome(&[], &[("WHO", PERSON)]).await;
        assert_eq!(it.result.unwrap(), ["authorization", "x-databricks-azure-sp-management-token"]);
        let tenant = " --tenant the-tenant";
        assert_eq!(
            it.ran,
            ["account show --output json".to_owned(), get(APPLICATION, tenant), get(MANAGEMENT, tenant)]
        );
        assert_eq!(it.asked, ["/aad/auth"]);

        let it = outcome(&[("azureTenantId", "stated")], &[("WHO", PERSON)]).await;
        assert_eq!(it.ran[1], get(APPLICATION, " --tenant stated"));
        assert!(it.asked.is_empty());
    }

    #[tokio::test]
    async fn who_may_not_manage_azure_signs_in_all_the_same() {
        let vars = [("WHO", PERSON), ("REFUSE", MANAGEMENT), ("COMPLAINT", "no")];
        let it = outcome(&[("azureWorkspaceResourceId", "/subscriptions/s/x")], &vars).await;
        assert_eq!(it.result.unwrap(), ["authorization", "x-databricks-azure-workspace-resource-id"]);
    }

    #[tokio::test]
    async fn a_managed_identity_has_no_tenant() {
        let resource = ("azureWorkspaceResourceId", "/subscriptions/sub-1/resourceGroups/g");
        let it = outcome(&[resource, ("azureTenantId", "stated")], &[("WHO", MACHINE)]).await;
        assert!(it.result.is_ok());
        assert_eq!(it.ran[1], get(APPLICATION, " --subscription sub-1"));
        assert!(it.asked.is_empty());

        let vars = [("WHO", MACHINE), ("REFUSE", "--subscription"), ("COMPLAINT", "unknown")];
        let it = outcome(&[resource], &vars).await;
        assert!(it.result.is_ok());
        assert_eq!(it.ran[2], get(APPLICATION, ""));
    }

    #[tokio::test]
    async fn a_service_principal_may_be_of_another_tenant() {
        let refuse = [("REFUSE", "--tenant"), ("COMPLAINT", "AADSTS50020: other tenant")];
        let it = outcome(&[], &[&refuse[..], &[("WHO", PRINCIPAL)]].concat()).await;
        assert!(it.result.is_ok());
        assert_eq!(it.ran[1..3], [get(APPLICATION, " --tenant the-tenant"), get(APPLICATION, "")]);

        let it = outcome(&[], &[&refuse[..], &[("WHO", PERSON)]].concat()).await;
        let error = it.result.unwrap_err();
        assert!(
            error.contains(
                "azure-cli auth: cannot get access token: AADSTS50020: other tenant: exit status 1"
            ),
            "{error}"
        );
    }

    #[tokio::test]
    async fn failures_say_what_to_do() {
        for (vars, reason) in [
            (
                vec![("REFUSE", "account"), ("COMPLAINT", "No subscription found. Run 'az account set'")],
                "azure-cli auth: not configured: the Azure CLI is not logged in: run `az login`",
            ),
            (
                vec![("REFUSE", "show"), ("COMPLAINT", "Please run 'az login' to setup account.")],
                "azure-cli auth: not configured: the Azure CLI is not logged in: run `az login`",
            ),
            (
                vec![("REFUSE", "get-access-token"), ("COMPLAINT", "No subscription found")],
                "azure-cli auth: the Azure CLI is not logged in: run `az login`",
            ),
            (
                vec![("REFUSE", "account"), ("COMPLAINT", "This is just a failing script.")],
                "azure-cli auth: cannot get access token: This is just a failing script.: exit status 1",
            ),
            (
                vec![("WHO", "{corrupt"), ("TOKEN", "{accessToken: ..corrupt")],
                "az account get-access-token: the answer has an unexpected form (line 1, column 2)",
            ),
            (
                vec![("TOKEN", r#"{"accessToken":"t","expiresOn":"soon"}"#)],
                "az account get-access-token: the answer has no expiry",
            ),
            (vec![("PATH", "/nowhere")], "not configured: the Azure CLI (`az`) is not on the PATH"),
        ] {
            let error = outcome(&[], &vars).await.result.unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[tokio::test]
    async fn a_workspace_that_names_no_tenant_is_an_error() {
        for location in
            ["", "/login", "https://login.microsoftonline.com/", "https://login.microsoftonline.com/-x/y"]
        {
            let server =
                Server::start(move |_, _| Answer::status(302).with_header("location", location)).await;
            let stated = [("host", server.url.as_str()), ("cloud", "Azure")];
            let settings = testing::settings(&stated, crate::env::Env::default(), Clock::still()).await;
            let found = tenant(&settings).await;
            if location == "/login" {
                assert_eq!(found.unwrap().as_deref(), Some("login"));
                continue;
            }
            let error = found.unwrap_err().to_string();
            assert!(error.starts_with("load tenant id: GET http://127.0.0.1"), "{error}");
            assert!(error.ends_with("Set databricks:azureTenantId to the workspace's tenant"), "{error}");
        }
    }

    #[test]
    fn the_expiry_is_in_local_time_unless_it_is_said_exactly() {
        let zone = TimeZone::fixed(jiff::tz::Offset::constant(2));
        let expiry = |json: &str| {
            let token = token(json.as_bytes(), &zone).unwrap();
            assert_eq!(token.value.expose_secret(), "t");
            token.expires.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap()
        };
        let local = r#"{"accessToken":"t","expiresOn":"2023-11-15 00:13:20.250000"}"#;
        assert_eq!(expiry(local), Duration::from_millis(1_700_000_000_250));
        let both = r#"{"accessToken":"t","expiresOn":"2023-11-15 00:13:20","expires_on":1700000001}"#;
        assert_eq!(expiry(both), Duration::from_secs(1_700_000_001));
    }
}
