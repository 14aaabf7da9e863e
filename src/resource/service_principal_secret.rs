//! `databricks:index/servicePrincipalSecret:ServicePrincipalSecret`, an OAuth secret of a service principal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::Value as Json;

use super::credential::{Credential, Home, New, Terms};
use super::filter::{self, Moment};
use super::findings::Findings;
use super::lost::{Candidate, Trace};
use super::placement::{self, HasProviderConfig, ProviderConfig};
use super::presence::{Gone, Presence, may_lag};
use super::rotation::{Life, milliseconds};
use super::{Diff, Error, ObjectType};
use crate::api::says_gone;
use crate::api::service_principal_secrets::{self as api, MOST_SECRETS, NewSecret, SecretInfo};
use crate::api::service_principals;
use crate::client::{self, Client, Level};
use crate::context::{Context, Severity};
use crate::property::{
    Changes, Failure, Input, Kind, Map, Mismatch, Needed, Property, Record, Row, Scopes, Value, same,
};
use crate::record;

/// The resource.
#[derive(Clone)]
pub(super) struct ServicePrincipalSecret;

record! {
    /// What a program states of an OAuth secret.
    pub(super) struct SecretInputs {
        /// Numeric id of the service principal, not its application id. A change replaces the secret.
        service_principal_id: Needed<String> = "servicePrincipalId", Replace;
        /// Lifetime of the secret in seconds, followed by an `s`: `3600s` is an hour. If it is left out, Databricks
        /// decides: two years. A changed lifetime replaces the secret; removing it from the program does not.
        lifetime: Input<Lifetime> = "lifetime", Replace;
        /// OAuth scopes that access tokens obtained with this secret are limited to. If left out, there is no limit. A
        /// change replaces the secret.
        scopes: Input<Scopes> = "scopes", Replace;
        /// Any text, such as the date of a resource that rotates. The secret is replaced when it is changed, added or
        /// removed. `rotateBeforeSeconds` and `rotateWhenChanged` rotate a secret without such a resource.
        time_rotating: Input<String> = "timeRotating", Replace;
        /// How many seconds before its expiry the secret is due: from then on, an ordinary `pulumi up` replaces it.
        /// Must be less than `lifetime`. A change of this setting alone replaces the secret only if that makes it due.
        rotate_before_seconds: Input<i64> = "rotateBeforeSeconds";
        /// Any values, such as a date. A change to them replaces the secret; adding the map, or removing all of it,
        /// does not.
        rotate_when_changed: Input<BTreeMap<String, String>> = "rotateWhenChanged";
        /// How many seconds a secret lives on after it was replaced by a rotation, so that whoever holds its value has
        /// time to get the new one. The resource is then updated rather than replaced, and the first `pulumi up` after
        /// that time revokes the old secret.
        overlap_seconds: Input<i64> = "overlapSeconds";
        /// Whose API manages the secret: that of the `account` or that of the `workspace`. If it is left out, the
        /// provider's host decides. A change from one API to the other replaces the secret.
        api: Input<String> = "api", Replace;
        /// The workspace whose API manages the secret, if the provider's host serves several.
        provider_config: Input<ProviderConfig<ServicePrincipalSecret>> = "providerConfig";
        /// Accepted for compatibility but never sent: Databricks sets it.
        secret: Input<SecretString> = "secret";
        /// Accepted for compatibility but never sent: Databricks sets it.
        secret_hash: Input<String> = "secretHash";
        /// Accepted for compatibility but never sent: Databricks sets it.
        status: Input<String> = "status";
        /// Accepted for compatibility but never sent: Databricks sets it.
        create_time: Input<String> = "createTime";
        /// Accepted for compatibility but never sent: Databricks sets it.
        update_time: Input<String> = "updateTime";
        /// Accepted for compatibility but never sent: Databricks sets it.
        expire_time: Input<String> = "expireTime";
        /// Accepted for compatibility but never sent: Databricks sets it.
        service_principal_secret_id: Input<String> = "servicePrincipalSecretId";
    }
}

record! {
    /// What Databricks says of a secret. Everything else among the outputs is as the program states it.
    struct SecretOutputs {
        /// When the secret was created, as an RFC 3339 timestamp.
        create_time: String = "createTime";
        /// When the secret expires, as an RFC 3339 timestamp; empty means never.
        expire_time: String = "expireTime";
        /// Lifetime as the program states it; empty if it states none.
        lifetime: String = "lifetime";
        /// The workspace whose API manages the secret; absent if the account's API does.
        provider_config: ProviderConfig<ServicePrincipalSecret> = "providerConfig";
        /// The secret itself. Databricks gives it only once, so it is empty after an import.
        secret: SecretString = "secret";
        /// Hash of the secret, as Databricks computes it.
        secret_hash: String = "secretHash";
        /// Id of the secret.
        service_principal_secret_id: String = "servicePrincipalSecretId";
        /// Status of the secret, such as `ACTIVE`.
        status: String = "status";
        /// When the secret was last changed, as an RFC 3339 timestamp.
        update_time: String = "updateTime";
        /// Id of the previous secret, while it still works.
        previous_secret_id: Option<String> = "previousSecretId";
        /// The previous secret, while it still works.
        previous_secret: Option<SecretString> = "previousSecret";
        /// When the previous secret is due to be revoked, as an RFC 3339 timestamp: by the first `pulumi up` from
        /// then on.
        previous_revoke_time: Option<String> = "previousRevokeTime";
        /// When the secret expires, as an RFC 3339 timestamp; absent means never.
        expires_at: Option<String> = "expiresAt";
        /// The time from which `pulumi up` rotates the secret, as an RFC 3339 timestamp, if `rotateBeforeSeconds` is set.
        rotates_at: Option<String> = "rotatesAt";
    }
}

record! {
    /// What a list of secrets takes.
    pub(super) struct SecretQuery {
        /// Numeric id of the service principal whose secrets are listed.
        service_principal_id: Needed<String> = "servicePrincipalId";
        /// Whose API lists the secrets: that of the `account` or that of the `workspace`. If it is left out, the
        /// provider's host decides.
        api: Input<String> = "api";
        /// Id of the workspace whose API lists the secrets, if the provider's host serves several.
        workspace_id: Input<String> = "workspaceId";
        /// Only secrets that expire before this time: an RFC 3339 timestamp, or a date, whose beginning in UTC counts.
        expires_before: Input<Moment> = "expiresBefore";
    }
}

/// A lifetime as protobuf writes durations in JSON: `3600s`. The same number of seconds is the same lifetime.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lifetime(String);

impl Lifetime {
    /// Whole seconds; `None` if the text is no duration.
    fn seconds(&self) -> Option<i64> {
        let number = self.0.trim().trim_end_matches('s');
        let number = number.strip_suffix(".0").unwrap_or(number);
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten()
    }
}

impl Property for Lifetime {
    fn schema() -> Json {
        String::schema()
    }

    fn decode(value: &Value) -> Result<Self, Mismatch> {
        <String as Property>::decode(value).map(Lifetime)
    }

    fn encode(&self) -> Value {
        self.0.encode()
    }

    fn same(old: &Value, new: &Value) -> bool {
        let seconds = |value| Lifetime::decode(value).ok().and_then(|lifetime| lifetime.seconds());
        same(old, new) || seconds(old).is_some_and(|old| seconds(new) == Some(old))
    }
}

impl HasProviderConfig for ServicePrincipalSecret {
    const PROVIDER_CONFIG_TYPE: &'static str =
        "databricks:index/ServicePrincipalSecretProviderConfig:ServicePrincipalSecretProviderConfig";
}

/// The service principal of a secret, the API that the program asks for, the account, and when the secret was created.
pub(super) struct Owner {
    service_principal_id: String,
    api: Option<String>,
    account_id: Option<String>,
    created: Option<i64>,
}

/// Where the state keeps the account of a secret. Names of this form are bookkeeping, which no plugin compares and the engine
/// shows to nobody.
const ACCOUNT_ID: &str = "__accountId";

const SERVICE_PRINCIPAL: &str = "servicePrincipalId";

#[async_trait]
impl Credential for ServicePrincipalSecret {
    type Inputs = SecretInputs;
    type Live = SecretInfo;
    type Owner = Owner;
    type Before = BTreeSet<String>;
    type Query = SecretQuery;

    const TYPE_TOKEN: &'static str = "databricks:index/servicePrincipalSecret:ServicePrincipalSecret";
    const NOUN: &'static str = "service principal secret";
    const TITLE: &'static str = "a databricks ServicePrincipalSecret";
    const DOC: &'static str = include_str!("service_principal_secret.md");
    const COMPUTED: &'static [Row] = SecretOutputs::ROWS;
    const TYPES: &'static [ObjectType] = &[(
        ServicePrincipalSecret::PROVIDER_CONFIG_TYPE,
        "The workspace whose API manages an OAuth secret.",
        placement::ROWS,
    )];
    const VALUE: &'static str = "secret";
    const CURRENT: &'static str = "servicePrincipalSecretId";
    const PREVIOUS: (&'static str, &'static str) = ("previousSecretId", "previousSecret");
    const OF_PREVIOUS: &'static [&'static str] =
        &["createTime", "expireTime", SERVICE_PRINCIPAL, "api", ACCOUNT_ID];
    const OWNER: &'static [&'static str] = &[SERVICE_PRINCIPAL, "api"];
    const NEVER_SENT: &'static [&'static str] = &[
        "secret",
        "secretHash",
        "status",
        "createTime",
        "updateTime",
        "expireTime",
        "servicePrincipalSecretId",
    ];
    const LIMITED: bool = true;
    const ID_IS_OUTPUT: bool = false;

    fn terms(inputs: &SecretInputs) -> Terms<'_> {
        Terms {
            workspace: placement::stated(&inputs.provider_config),
            rotate_before: &inputs.rotate_before_seconds,
            rotate_when_changed: &inputs.rotate_when_changed,
            overlap: &inputs.overlap_seconds,
        }
    }

    fn validate(inputs: &SecretInputs, findings: &mut Findings) {
        if let Some(id) = inputs.service_principal_id.known()
            && let Err(reason) = numeric(id)
        {
            findings.refuse(SERVICE_PRINCIPAL, reason);
        }
        let lifetime = inputs.lifetime.known().filter(|lifetime| !lifetime.0.is_empty());
        match lifetime.map(Lifetime::seconds) {
            Some(None | Some(0)) => {
                findings
                    .refuse("lifetime", "must be a positive number of seconds followed by s, such as 3600s");
            }
            seconds => {
                let seconds = seconds.flatten().unwrap_or_default();
                findings.lifetime("lifetime", seconds, &inputs.rotate_before_seconds, "secret");
                findings.overlap("lifetime", seconds, &Self::terms(inputs), "secret");
            }
        }
        if let Some(api) = inputs.api.known()
            && !["account", "workspace"].contains(&api.as_str())
        {
            findings.refuse("api", "must be account or workspace");
        }
        findings.scopes(inputs.scopes.known().map(|scopes| scopes.0.as_slice()), "secret");
    }

    fn owner(state: &[&Map]) -> Result<Owner, Error> {
        let text = |name: &str| state.iter().find_map(|map| String::decode(map.get(name)?).ok());
        match text(SERVICE_PRINCIPAL) {
            Some(service_principal_id) => {
                let created = text("createTime").as_deref().and_then(milliseconds);
                Ok(Owner { service_principal_id, api: text("api"), account_id: text(ACCOUNT_ID), created })
            }
            None => Err(Error::Inputs(vec![Failure::new(SERVICE_PRINCIPAL, "is not known")])),
        }
    }

    async fn home(
        client: &Client,
        ctx: &Context,
        owner: &Owner,
        workspace: Option<&str>,
    ) -> Result<Home, Error> {
        Ok(match level(client, ctx, owner.api.as_deref()).await? {
            Level::Account => Home { client: client.clone(), in_workspace: false },
            _ => Home { client: client.for_workspace(ctx, workspace).await?, in_workspace: true },
        })
    }

    async fn prepare(home: &Home, ctx: &Context, owner: &Owner) -> Result<BTreeSet<String>, Error> {
        let listed = api::list(&home.client, ctx, &at(home, ctx, owner).await?).await?;
        name_strangers(home, ctx, owner, &listed).await;
        let before: BTreeSet<String> = listed.iter().map(|secret| secret.id.clone()).collect();
        // In a preview, what is deleted first is still there.
        let leaving = home.client.memory::<Places>().leaving(&ctx.urn);
        let staying = before.iter().filter(|id| leaving.as_ref() != Some(id)).count();
        if staying >= MOST_SECRETS { Err(full(home, owner, None)) } else { Ok(before) }
    }

    async fn create(
        home: &Home,
        ctx: &Context,
        owner: &Owner,
        inputs: &SecretInputs,
    ) -> Result<New<SecretInfo>, Error> {
        let new = NewSecret {
            lifetime: inputs
                .lifetime
                .known()
                .and_then(Lifetime::seconds)
                .map(|seconds| format!("{seconds}s")),
            scopes: inputs.scopes.known().map(|scopes| scopes.0.as_slice()),
        };
        let at = at(home, ctx, owner).await?;
        let mut retry = home.client.retry(ctx);
        loop {
            match api::create(&home.client, ctx, &at, &new).await {
                Ok(minted) => {
                    home.client.memory::<Places>().arrived(&owner.service_principal_id, &ctx.urn);
                    Self::note(&home.client, &minted.info.id);
                    return Ok(New { id: minted.info.id.clone(), minted, incomplete: Vec::new() });
                }
                // The code for the limit is not documented and may look like that for too many requests. Repeating the
                // request would then be in vain, so the list decides which it is.
                Err(error @ client::Error::Api(_)) if error.did_not_run() => {
                    let listed = api::list(&home.client, ctx, &at).await;
                    if listed.is_ok_and(|listed| listed.len() >= MOST_SECRETS) {
                        return Err(full(home, owner, Some(&error)));
                    }
                    retry.wait(ctx, client::Repeat::IfItDidNotRun, error).await?;
                }
                Err(error) => retry.wait(ctx, client::Repeat::IfItDidNotRun, error).await?,
            }
        }
    }

    async fn candidates(
        home: &Home,
        ctx: &Context,
        owner: &Owner,
        _: &SecretInputs,
        before: &BTreeSet<String>,
    ) -> Result<Vec<Candidate>, Error> {
        let listed = api::list(&home.client, ctx, &at(home, ctx, owner).await?).await?;
        Ok(listed
            .iter()
            .filter(|secret| !before.contains(&secret.id))
            .map(|secret| Candidate { id: secret.id.clone(), created: milliseconds(&secret.create_time) })
            .collect())
    }

    async fn prove(
        home: &Home,
        ctx: &Context,
        owner: &Owner,
        value: &SecretString,
    ) -> Result<(), client::Error> {
        let account_id = if home.in_workspace { None } else { home.client.account_id(ctx).await? };
        let principal = &owner.service_principal_id;
        match service_principals::application_id(&home.client, ctx, account_id.as_deref(), principal).await {
            Ok(application_id) => home.client.prove_client_secret(ctx, &application_id, value).await,
            // Nobody can sign in without the application id, and whoever may manage secrets may not be allowed to read
            // it.
            Err(error) => {
                tracing::debug!(%error, "the new secret could not be tried");
                Ok(())
            }
        }
    }

    fn trace(home: &Home, owner: &Owner, _: &SecretInputs) -> Trace {
        let principal = &owner.service_principal_id;
        Trace {
            with: format!("of service principal {principal}"),
            place: "on the page of the service principal, under Secrets".to_owned(),
            undo: "delete",
            command: delete_command(home, owner),
        }
    }

    async fn find(
        home: &Home,
        ctx: &Context,
        owner: &Owner,
        id: &str,
    ) -> Result<Presence<SecretInfo>, Error> {
        let principal = &owner.service_principal_id;
        let at = at(home, ctx, owner).await?;
        let found = loop {
            let found = match api::find(&home.client, ctx, &at, id).await {
                Err(error) if says_gone(&error, principal) => {
                    return Ok(Presence::Gone(match &at.account_id {
                        Some(account) if owner.account_id.is_none() => Gone::unproved(format!(
                            "account {account} has no service principal {principal}. The state does not say which \
                             account the secret belongs to: if that is another one, it may live on"
                        )),
                        _ => Gone::proved(format!(
                            "service principal {principal} does not exist, nor do its secrets"
                        )),
                    }));
                }
                found => found?,
            };
            if found.is_some() || !may_lag(&home.client, ctx, Self::NOUN, owner.created).await? {
                break found;
            }
        };
        let Some(secret) = found else {
            return Ok(Presence::Gone(Gone::proved(format!(
                "service principal {principal} has no such secret, so it was deleted"
            ))));
        };
        match secret.expire_time.as_deref().and_then(milliseconds) {
            Some(expires) if expires <= home.client.now_ms(ctx).await => {
                Ok(Presence::Gone(Gone::expired(expires)))
            }
            _ => Ok(Presence::Live(secret)),
        }
    }

    async fn update(
        _: &Home,
        _: &Context,
        _: &str,
        _: Option<&SecretInfo>,
        _: &Changes,
        _: &SecretInputs,
    ) -> Result<(), Error> {
        // Nothing about a secret can be changed in place.
        Ok(())
    }

    async fn revoke(
        home: &Home,
        ctx: &Context,
        owner: &Owner,
        id: &str,
        _: Option<&SecretInfo>,
    ) -> Result<(), Error> {
        Ok(api::delete(&home.client, ctx, &at(home, ctx, owner).await?, id).await?)
    }

    async fn list(
        client: &Client,
        ctx: &Context,
        query: &SecretQuery,
    ) -> Result<Vec<(String, String)>, Error> {
        let workspace = filter::name(&query.workspace_id, "workspaceId")?;
        let owner = Self::owner(&[&query.encode()])?;
        let home = Self::home(client, ctx, &owner, workspace).await?;
        let listed = api::list(&home.client, ctx, &at(&home, ctx, &owner).await?).await?;
        let fits = |secret: &&SecretInfo| {
            let expiry = || secret.expire_time.as_deref().and_then(milliseconds);
            query.expires_before.known().is_none_or(|time| time.is_after(expiry()))
        };
        // An import needs the service principal too.
        let principal = &owner.service_principal_id;
        let named = |secret: &SecretInfo| {
            (format!("{principal}|{}", secret.id), format!("created {}", secret.create_time))
        };
        Ok(listed.iter().filter(fits).map(named).collect())
    }

    fn computed(info: &SecretInfo, stated: &Map) -> Map {
        let lifetime = stated.get("lifetime").and_then(|lifetime| String::decode(lifetime).ok());
        let account = info.account_id.as_ref().map(|account| (ACCOUNT_ID, account));
        [
            ("createTime", &info.create_time),
            ("expireTime", info.expire_time.as_ref().unwrap_or(&String::new())),
            ("lifetime", &lifetime.unwrap_or_default()),
            ("secretHash", &info.secret_hash),
            ("servicePrincipalSecretId", &info.id),
            ("status", &info.status),
            ("updateTime", &info.update_time),
        ]
        .into_iter()
        .chain(account)
        .map(|(name, text)| (name.to_owned(), text.encode()))
        .collect()
    }

    fn observed(info: &SecretInfo) -> Map {
        let scopes = info.scopes.as_ref().filter(|scopes| !scopes.is_empty());
        scopes.map(|scopes| ("scopes".to_owned(), scopes.encode())).into_iter().collect()
    }

    fn import(id: &str) -> Result<(String, Map), Error> {
        let parts = id.split_once(['|', '/']).map(|(principal, secret)| (principal.trim(), secret.trim()));
        match parts {
            Some((principal, secret)) if numeric(principal).is_ok() && !secret.is_empty() => {
                Ok((secret.to_owned(), Map::from([(SERVICE_PRINCIPAL.to_owned(), principal.into())])))
            }
            _ => Err(Error::Other(
                "a service principal secret is imported by the numeric id of its service principal and its own id, \
                 joined by a bar: 1234567890|0123abcd…"
                    .to_owned(),
            )),
        }
    }

    fn life(outputs: &Map) -> Life {
        let time = |name: &str| milliseconds(&String::decode(outputs.get(name)?).ok()?);
        Life { created: time("createTime"), expires: time("expireTime") }
    }

    async fn settle(
        client: &Client,
        ctx: &Context,
        news: &SecretInputs,
        request: &Diff<'_>,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        let lifetime = &news.lifetime;
        let unset = !lifetime.is_stated() || lifetime.known().is_some_and(|lifetime| lifetime.0.is_empty());
        // The secret keeps the lifetime that it has.
        if unset && matches!(changes.get("lifetime"), Some((Kind::Removed | Kind::Changed, _))) {
            changes.remove("lifetime");
        }
        if changes.contains_key("api") && news.api != Input::Unknown {
            let before = request.old_inputs.get("api").and_then(|api| String::decode(api).ok());
            let (before, after) = (
                level(client, ctx, before.as_deref()).await?,
                level(client, ctx, news.api.known().map(String::as_str)).await?,
            );
            // To state what is the case anyway changes nothing.
            if before == after {
                changes.remove("api");
            }
        }
        Ok(())
    }

    fn note(client: &Client, id: &str) {
        client.memory::<Places>().promised().known.insert(id.to_owned());
    }

    async fn reserve(home: &Home, ctx: &Context, owner: &Owner, leaving: Option<&str>) -> Result<(), Error> {
        let listed = api::list(&home.client, ctx, &at(home, ctx, owner).await?).await?;
        let leaving = leaving.filter(|id| listed.iter().any(|secret| secret.id == *id));
        let places = home.client.memory::<Places>();
        let principal = &owner.service_principal_id;
        if places.reserve(principal, &ctx.urn, leaving, listed.len()) {
            return Ok(());
        }
        Err(Error::Other(format!(
            "service principal {principal} has {} secrets, and this run also creates successors of other secrets: \
             Databricks allows {MOST_SECRETS}. Delete one that nobody uses, with `{}`, or wait until an overlap has \
             ended",
            listed.len(),
            delete_command(home, owner)
        )))
    }

    async fn deletes_first(home: &Home, ctx: &Context, owner: &Owner, id: &str) -> Result<bool, Error> {
        let listed = api::list(&home.client, ctx, &at(home, ctx, owner).await?).await?;
        let places = home.client.memory::<Places>();
        // Deleting one that holds none of these places, such as a secret of another service principal, makes no room.
        let holds = listed.iter().any(|secret| secret.id == id);
        let first = places.is_full(&owner.service_principal_id, &ctx.urn, holds.then_some(id), listed.len());
        if first {
            let reason = format!(
                "service principal {} has no room for one more secret (Databricks allows {MOST_SECRETS}), so the old \
                 one is deleted before the new one is created: until then nobody can sign in with it",
                owner.service_principal_id
            );
            ctx.report(Severity::Warning, &reason).await;
        }
        Ok(first)
    }
}

/// Places of secrets that this process has promised: replacements of one run share what is free.
#[derive(Default)]
struct Places(Mutex<Promised>);

#[derive(Default)]
struct Promised {
    /// Replacements that are created before the old secret is deleted: URNs by service principal.
    arriving: HashMap<String, BTreeSet<String>>,
    /// Secrets that are deleted before they are replaced: ids by URN.
    leaving: HashMap<String, String>,
    /// Secrets that a state has, or that this process has created.
    known: BTreeSet<String>,
}

impl Places {
    fn promised(&self) -> MutexGuard<'_, Promised> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the old secret of this resource, if it holds a place, has to make room for the new one. If there is a
    /// free place, the new one reserves it.
    fn is_full(&self, principal: &str, urn: &str, old: Option<&str>, listed: usize) -> bool {
        let mut promised = self.promised();
        promised.leaving.remove(urn);
        let arriving = promised.arriving.entry(principal.to_owned()).or_default();
        arriving.remove(urn);
        match old.filter(|_| listed + arriving.len() >= MOST_SECRETS) {
            Some(old) => {
                promised.leaving.insert(urn.to_owned(), old.to_owned());
                true
            }
            None => {
                arriving.insert(urn.to_owned());
                false
            }
        }
    }

    /// Reserves a place, if there is one, for a secret that lives beside the old one. A secret that leaves makes room
    /// first.
    fn reserve(&self, principal: &str, urn: &str, leaving: Option<&str>, listed: usize) -> bool {
        let mut promised = self.promised();
        promised.leaving.remove(urn);
        if let Some(leaving) = leaving {
            promised.leaving.insert(urn.to_owned(), leaving.to_owned());
            return true;
        }
        let arriving = promised.arriving.entry(principal.to_owned()).or_default();
        arriving.remove(urn);
        listed + arriving.len() < MOST_SECRETS && arriving.insert(urn.to_owned())
    }

    /// Notes that the promised secret exists, so that lists count it.
    fn arrived(&self, principal: &str, urn: &str) {
        if let Some(arriving) = self.promised().arriving.get_mut(principal) {
            arriving.remove(urn);
        }
    }

    /// The secret of a resource that is deleted before it is replaced.
    fn leaving(&self, urn: &str) -> Option<String> {
        self.promised().leaving.get(urn).cloned()
    }
}

/// Names the secrets that are younger than the one that rotates, and in no state that this process has seen. Nothing
/// shows whether an interrupted rotation has left them, or somebody else uses them.
async fn name_strangers(home: &Home, ctx: &Context, owner: &Owner, listed: &[SecretInfo]) {
    let Some(created) = owner.created else { return };
    let known = home.client.memory::<Places>().promised().known.clone();
    let strangers: Vec<String> = listed
        .iter()
        .filter(|secret| milliseconds(&secret.create_time).is_some_and(|time| time > created))
        .filter(|secret| !known.contains(&secret.id))
        .map(|secret| format!("\n  secret id {}, created {}", secret.id, secret.create_time))
        .collect();
    if !strangers.is_empty() {
        let warning = format!(
            "service principal {} has secrets that are younger than the one that rotates. Unless another resource or somebody \
             else uses them, they may be what an interrupted rotation has left, whose value nobody has:{}\nDelete what \
             nobody uses with `{}`",
            owner.service_principal_id,
            strangers.concat(),
            delete_command(home, owner)
        );
        ctx.report(Severity::Warning, &warning).await;
    }
}

/// The error where a service principal already has all the secrets that it may have.
fn full(home: &Home, owner: &Owner, refusal: Option<&client::Error>) -> Error {
    let refusal = refusal.map(|error| format!("{error}. ")).unwrap_or_default();
    let principal = &owner.service_principal_id;
    let command = delete_command(home, owner);
    Error::Other(format!(
        "{refusal}service principal {principal} has {MOST_SECRETS} secrets already, the most that Databricks allows. \
         Delete one that nobody uses, with `{command}` \
         or on the page of the service principal, then run again"
    ))
}

/// The command that deletes a secret of this service principal.
fn delete_command(home: &Home, owner: &Owner) -> String {
    let group = if home.in_workspace {
        "service-principal-secrets-proxy"
    } else {
        "account service-principal-secrets"
    };
    format!("databricks {group} delete {} <secret id>", owner.service_principal_id)
}

/// Whether the API of the account or of a workspace manages a secret.
async fn level(client: &Client, ctx: &Context, api: Option<&str>) -> Result<Level, Error> {
    match (api, client.level(ctx).await?) {
        (Some("account"), _) | (None, Level::Account) => Ok(Level::Account),
        (Some(_), _) | (None, Level::Workspace) => Ok(Level::Workspace),
        (None, Level::Both) => Err(Error::Other(
            "the host serves an account and its workspaces: please set api to account or workspace"
                .to_owned(),
        )),
    }
}

/// Where the secrets of this owner are.
async fn at(home: &Home, ctx: &Context, owner: &Owner) -> Result<api::Owner, Error> {
    numeric(&owner.service_principal_id)
        .map_err(|reason| Error::Inputs(vec![Failure::new(SERVICE_PRINCIPAL, reason)]))?;
    if let Some(own) = &owner.account_id
        && let Some(here) = home.client.account_id(ctx).await?
        && *own != here
    {
        return Err(Error::Other(format!(
            "a secret of service principal {} belongs to account {own}, but the provider is configured for account \
             {here}, so it cannot tell whether the secret exists. Nothing was changed. Set databricks:accountId to \
             {own}, and sign in to that account",
            owner.service_principal_id
        )));
    }
    let account_id = if home.in_workspace {
        None
    } else {
        let account = home.client.account_id(ctx).await?;
        Some(account.ok_or_else(|| {
            Error::Other(
                "the account of the service principal is not known: run `pulumi config set databricks:accountId <id>`"
                    .to_owned(),
            )
        })?)
    };
    Ok(api::Owner { account_id, service_principal_id: owner.service_principal_id.clone() })
}

/// Refuses what is no numeric id. Service principals have two ids, and people take one for the other.
fn numeric(id: &str) -> Result<(), &'static str> {
    if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        Err("must be the numeric id of the service principal, not its application id, which is a UUID")
    }
}
