//! The doctor: says what the provider would do with a configuration, and what is wrong with it. It changes nothing, and
//! prints nothing that is secret.

mod report;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use databricks_auth::config::without_password;
use databricks_auth::{Endpoint, UnifiedAuth};
use tokio_util::sync::CancellationToken;

use crate::api::tokens::TokenInfo;
use crate::api::{current_user, tokens};
use crate::client::{Client, Error, Level};
use crate::config::{self, ATTRIBUTES, Config, Source};
use crate::context::{Clock, Context, Silent};
use crate::env::Env;
use crate::property::Map;
use crate::{resource, stack};
use report::{Mark, Report};

/// What `doctor --help` prints.
pub const HELP: &str = "\
Looks at how the provider is configured and signs in, and says what is right and wrong.

Usage: pulumi-resource-databricks doctor [--stack]

It reads what the provider reads: environment variables such as DATABRICKS_HOST, and a profile of
~/.databrickscfg. With --stack it also reads the configuration of a stack, from standard input:

    pulumi config --json --show-secrets | pulumi-resource-databricks doctor --stack

`pulumi plugin run --kind resource databricks -- doctor` finds this program by itself, but passes
no standard input on. The arguments of a `databricks.Provider` in a program are not looked at; state
them as environment variables.

What it does, in this order:

  Configuration  each value, and whether it comes from the stack, the environment, a profile or the
                 query of the host's URL. Credentials are shown as ***
  Network        the proxy, the host, its certificate, and how far this machine's clock is off
  Signing in     the way that is used, and for each other way why it is not
  Workspace      who signs in; whether they may use tokens; how many they have; when the token that
                 the provider signs in with expires

It creates, changes and revokes nothing. What it prints holds no credential, but names of hosts and
users: read it through before you post it.

Options:
  --stack   read the configuration of a stack from standard input
  --help    print this text

Exit status: 0 if `pulumi up` can work, also with warnings; 1 if there is a problem; 2 if the
command line or standard input cannot be understood. Colours are used on terminals, unless NO_COLOR
is set.
";

/// How many live tokens a user may have, unless the workspace says otherwise.
const USUAL_QUOTA: usize = 600;
/// From this share of the quota on, there is a warning.
const NEARLY_FULL: f64 = 0.9;
/// If a token that the provider itself signs in with expires sooner, there is a warning.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// If the clock is off by more, there is a warning.
const TOLERATED_SKEW: Duration = Duration::from_secs(60);
/// How long the host may take to answer at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// For how many seconds a busy workspace is asked again.
const RETRY_SECONDS: i64 = 15;

/// The outcome, which the exit status reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `pulumi up` can work.
    Healthy,
    /// There is a problem.
    Broken,
    /// The configuration of the stack cannot be understood, for this reason.
    Misused(String),
}

/// Reads the configuration and prints what there is to say. `stack` is the configuration of a stack, as JSON.
pub async fn examine(
    stack: Option<&str>,
    env: Env,
    clock: Arc<dyn Clock>,
    out: &mut (dyn Write + Send),
    colours: bool,
) -> io::Result<Verdict> {
    let mut report = Report::new(out, colours);
    let mut stated = Map::new();
    if let Some(stack) = stack {
        match stack::read(stack) {
            Ok(read) => stated = read,
            Err(reason) => return Ok(Verdict::Misused(reason)),
        }
    }
    let now = jiff::Timestamp::try_from(clock.now()).unwrap_or_default();
    report.text(&format!(
        "pulumi-resource-databricks {} on {} {}, {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH,
        now.strftime("%Y-%m-%d %H:%M:%S UTC")
    ))?;
    Examination { env, clock, report: &mut report }.run(&stated).await?;
    let count = |number: usize, word: &str| match number {
        0 => format!("no {word}s"),
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    };
    report.heading(&format!(
        "{}, {}",
        count(report.problems, "problem"),
        count(report.warnings, "warning")
    ))?;
    if report.problems > 0 {
        report.text(
            "Solve the problems from the top to the bottom: one is often the cause of the next. The page on signing in \
             (docs/sign-in.md) has the lines to copy.",
        )?;
    }
    Ok(if report.problems == 0 { Verdict::Healthy } else { Verdict::Broken })
}

/// One run of the doctor. Each part ends it where the next would only repeat what is wrong.
struct Examination<'a, 'b> {
    env: Env,
    clock: Arc<dyn Clock>,
    report: &'a mut Report<'b>,
}

impl Examination<'_, '_> {
    async fn run(mut self, stated: &Map) -> io::Result<()> {
        let Some(mut config) = self.configuration(stated)? else { return Ok(()) };
        let attributes = &mut config.attributes;
        // A person waits for the answer.
        if attributes.http_timeout_seconds <= 0 {
            attributes.http_timeout_seconds = ANSWER_TIMEOUT.as_secs().cast_signed();
        }
        attributes.retry_timeout_seconds = RETRY_SECONDS;
        let auth = UnifiedAuth::new(config.clone(), self.env.clone(), Arc::clone(&self.clock));
        let Some(endpoint) = self.network(&config, &auth).await? else { return Ok(()) };
        if !self.signing_in(&auth, &endpoint).await? {
            return Ok(());
        }
        self.workspace(Client::new(config, self.env.clone(), Arc::clone(&self.clock))).await
    }

    fn configuration(&mut self, stated: &Map) -> io::Result<Option<Config>> {
        self.report.heading("Configuration")?;
        let failures = config::check(stated, &self.env);
        for failure in &failures {
            self.report.line(Mark::Problem, &failure.reason)?;
        }
        if !failures.is_empty() {
            return Ok(None);
        }
        let config = match config::resolve(stated, &self.env) {
            Ok(config) => config,
            Err(error) => {
                self.report.line(Mark::Problem, &error.to_string())?;
                return Ok(None);
            }
        };
        for attribute in ATTRIBUTES.iter().filter(|attribute| (attribute.is_set)(&config.attributes)) {
            let name = attribute.name;
            let variable = attribute.env.unwrap_or_default();
            let origin = match config.sources.get(name) {
                Some(Source::Program) => format!("from the stack's configuration, databricks:{name}"),
                Some(Source::Environment) => format!("from the environment variable {variable}"),
                Some(Source::Profile) => format!("from the profile {}", self.profile(&config)),
                Some(Source::Host) => "from the query of the host's URL".to_owned(),
                // The default profile.
                None => "since no other profile is named".to_owned(),
            };
            let is_hidden =
                config.sources.get(name) == Some(&Source::Program) && self.env.var(variable).is_some();
            let hidden =
                if is_hidden { format!("; {variable} is also set, but is not used") } else { String::new() };
            let line = format!("{name} = {}, {origin}{hidden}", config.show(attribute));
            self.report.line(Mark::Note, &line)?;
        }
        if config.attributes.profile.is_none() && config.file(&self.env).is_some_and(|path| path.is_file()) {
            let path = config.file(&self.env).unwrap_or_default();
            let text = format!(
                "{} exists but is not read: host or credentials are set, and databricks:profile is not",
                path.display()
            );
            self.report.line(Mark::Note, &text)?;
        }
        if let Some(warning) = config.warning() {
            self.report.line(Mark::Warning, &warning)?;
        }
        if config.attributes.skip_verify {
            let text = "databricks:skipVerify accepts any certificate: anyone on the network path can read \
                        credentials. Name a file with the authority's certificate in SSL_CERT_FILE instead";
            self.report.line(Mark::Warning, text)?;
        }
        if let Err(error) = config.check_host() {
            self.report.line(Mark::Problem, &error.to_string())?;
            return Ok(None);
        }
        Ok(Some(config))
    }

    fn profile(&self, config: &Config) -> String {
        let name = config.attributes.profile.as_deref().unwrap_or_default();
        let path = config.file(&self.env).unwrap_or_default();
        format!("{name} of {}", path.display())
    }

    /// Whether the host answers, and what time it is there.
    async fn network(&mut self, config: &Config, auth: &UnifiedAuth) -> io::Result<Option<Endpoint>> {
        self.report.heading("Network")?;
        let is_local = config.host.as_ref().is_some_and(config::Host::is_loopback);
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
            for name in [name.to_owned(), name.to_ascii_lowercase()] {
                let Some(proxy) = self.env.var(&name) else { continue };
                let is_proxy = !name.eq_ignore_ascii_case("NO_PROXY");
                let unused =
                    if is_local && is_proxy { ", which is not used for this machine itself" } else { "" };
                let line = format!("proxy settings: {name}={}{unused}", without_password(proxy.to_owned()));
                self.report.line(Mark::Note, &line)?;
            }
        }
        if let Some(file) = self.env.var("SSL_CERT_FILE") {
            let is_there = std::path::Path::new(file).is_file();
            let mark = if is_there { Mark::Note } else { Mark::Warning };
            let missing = if is_there { "" } else { ", which is not there" };
            self.report.line(mark, &format!("trusted certificates: SSL_CERT_FILE={file}{missing}"))?;
        }
        let endpoint = match auth.endpoint().await {
            Ok(endpoint) => endpoint,
            Err(error) => {
                self.report.line(Mark::Problem, &error.to_string())?;
                return Ok(None);
            }
        };
        let host = &endpoint.host;
        let request = endpoint.http.get(&format!("{host}/.well-known/databricks-config"));
        let asked = self.clock.now();
        let response = match request.timeout(ANSWER_TIMEOUT).send().await {
            Ok(response) => response,
            Err(failure) => {
                let error = Error::of_connection(host, "GET /.well-known/databricks-config", failure);
                self.report.line(Mark::Problem, &error.to_string())?;
                return Ok(None);
            }
        };
        let secured = match host.url.starts_with("https://") {
            true if config.attributes.skip_verify => ", over TLS with a certificate that was not checked",
            true => ", over TLS with a certificate that this machine trusts",
            false => ", without TLS",
        };
        self.report.line(Mark::Ok, &format!("{host} answers{secured}"))?;
        let date = databricks_auth::backoff::date(response.headers());
        self.clock_skew(asked, date)?;
        Ok(Some(endpoint))
    }

    fn clock_skew(&mut self, asked: SystemTime, date: Option<SystemTime>) -> io::Result<()> {
        let Some(date) = date else {
            return self.report.line(Mark::Note, "the host does not say what time it has");
        };
        // The answer was dated some time between the two, to the second.
        let answered = self.clock.now();
        let early = asked.duration_since(date).unwrap_or_default();
        let late = date.duration_since(answered).unwrap_or_default();
        let off = early.max(late);
        if off <= TOLERATED_SKEW {
            return self.report.line(Mark::Ok, "the clock of this machine agrees with that of the host");
        }
        let direction = if early > late { "ahead of" } else { "behind" };
        let text = format!(
            "the clock of this machine is {} {direction} that of the host: credentials are rotated too early or too \
             late, and signing in with signed assertions may be refused. Set the clock",
            in_words(off)
        );
        self.report.line(Mark::Warning, &text)
    }

    /// Whether somebody is signed in.
    async fn signing_in(&mut self, auth: &UnifiedAuth, endpoint: &Endpoint) -> io::Result<bool> {
        self.report.heading("Signing in")?;
        let chosen = match auth.sign_in(endpoint).await {
            Ok(sign_in) => {
                self.report.line(Mark::Ok, &format!("{}: this way is used", sign_in.auth_type()))?;
                Some(sign_in.auth_type())
            }
            Err(error) => {
                // The lines after the first summarise what is said below.
                let error = error.to_string();
                self.report.line(Mark::Problem, error.lines().next().unwrap_or_default())?;
                None
            }
        };
        for (name, reason) in auth.others(endpoint, chosen).await {
            self.report.line(Mark::Note, &format!("{name}: {reason}"))?;
        }
        Ok(chosen.is_some())
    }

    async fn workspace(&mut self, client: Client) -> io::Result<()> {
        self.report.heading("Workspace")?;
        let ctx = Context {
            urn: String::new(),
            resource: "doctor",
            clock: Arc::clone(&self.clock),
            reporter: Arc::new(Silent),
            cancel: CancellationToken::new(),
            deadline: None,
        };
        let client = match client.for_workspace(&ctx, None).await {
            Ok(client) => client,
            Err(error) if client.level(&ctx).await.is_ok_and(|level| level != Level::Workspace) => {
                let text = format!(
                    "{error}. Without one, only a ServicePrincipalSecret can be managed, by the account's API"
                );
                return self.report.line(Mark::Warning, &text);
            }
            Err(error) => return self.report.line(Mark::Problem, &error.to_string()),
        };
        match current_user::get(&client, &ctx).await {
            Ok(user) => {
                let workspace = match &user.workspace_id {
                    Some(id) => format!("workspace {id}"),
                    None => "a workspace whose id is not known".to_owned(),
                };
                let line = format!("signed in as {} (id {}) at {workspace}", user.user_name, user.id);
                self.report.line(Mark::Ok, &line)?;
            }
            Err(error) => {
                self.report.line(Mark::Problem, &error.to_string())?;
                // A token that is refused here is refused everywhere.
                if matches!(&error, Error::Api(error) if error.status == 401 || error.status == 403) {
                    return Ok(());
                }
            }
        }
        match tokens::list(&client, &ctx).await {
            Ok(tokens) => {
                self.report
                    .line(Mark::Ok, "personal access tokens are enabled, and this user may use them")?;
                self.quota(tokens.len())?;
                self.own_token(&client, &tokens)
            }
            Err(error) => self.report.line(Mark::Problem, &format!("tokens cannot be managed: {error}")),
        }
    }

    fn quota(&mut self, used: usize) -> io::Result<()> {
        let text = format!(
            "live tokens of this user: {used}; a workspace allows {USUAL_QUOTA} unless it says otherwise"
        );
        #[allow(clippy::cast_precision_loss)]
        if used as f64 >= USUAL_QUOTA as f64 * NEARLY_FULL {
            return self.report.line(
                Mark::Warning,
                &format!("{text}. A rotation needs room for one more: revoke some under Settings > Developer > Access tokens"),
            );
        }
        self.report.line(Mark::Ok, &text)
    }

    /// When the token that the provider itself signs in with expires.
    fn own_token(&mut self, client: &Client, tokens: &[TokenInfo]) -> io::Result<()> {
        let Some(id) = client.own_token_id() else { return Ok(()) };
        let Some(own) = tokens.iter().find(|token| token.token_id == id) else {
            return self.report.line(
                Mark::Note,
                "the token that the provider signs in with is not listed, so its expiry is not known",
            );
        };
        let expiry = own.expiry_time.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
        let Some(expiry) = expiry else {
            return self.report.line(Mark::Note, "the token that the provider signs in with never expires");
        };
        let expiry = SystemTime::UNIX_EPOCH + Duration::from_millis(expiry);
        let left = expiry.duration_since(self.clock.now()).unwrap_or_default();
        let text = format!("the token that the provider signs in with expires in {}", in_words(left));
        if left < SOON {
            let advice = "make a new one, and set it with `pulumi config set --secret databricks:token`";
            return self.report.line(Mark::Warning, &format!("{text}: {advice}"));
        }
        self.report.line(Mark::Ok, &text)
    }
}

/// A duration as people say it.
fn in_words(duration: Duration) -> String {
    resource::duration(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}
