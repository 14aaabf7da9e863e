//! `databricks:index/token:Token`, a personal access token of the user that the provider signs in as.

use std::collections::BTreeMap;

use async_trait::async_trait;
use secrecy::SecretString;

use super::credential::{Credential, Home, New, Terms, is_imported};
use super::filter::{self, TokenQuery};
use super::findings::Findings;
use super::lost::{Candidate, Trace};
use super::placement::{self, HasProviderConfig, ProviderConfig};
use super::presence::{Gone, Presence, expired, is_new, may_lag};
use super::rotation::Life;
use super::{Diff, Error, ObjectType, Undecided};
use crate::api::tokens::{self, NewToken, TokenChange, TokenInfo};
use crate::api::{Minted, leaves_open, token_management, workspace_conf};
use crate::client::{self, Client, User};
use crate::context::{Context, Severity};
use crate::property::{Changes, Input, Kind, Map, Property, Record, Row, Scopes, Text};
use crate::record;

/// The resource.
#[derive(Clone)]
pub(super) struct Token;

record! {
    /// What a program states of a token.
    pub(super) struct TokenInputs {
        /// Comment that is shown beside the token in the user's settings. A change replaces the token, unless
        /// `rotateBeforeSeconds` or `rotateWhenChanged` is set: these say when to rotate, so the comment is then
        /// updated in place.
        comment: Input<Text> = "comment", ReplaceUnlessRotated;
        /// Lifetime of the token in seconds. If it is left out, the workspace decides: two years, or the longest
        /// lifetime that it allows. A change replaces the token.
        lifetime_seconds: Input<i64> = "lifetimeSeconds", Replace;
        /// API scopes that the token is limited to, such as `sql`. A change is made in place.
        scopes: Input<Scopes> = "scopes", Update;
        /// Whether Databricks narrows the scopes of the token to those that it sees in use. A change replaces the
        /// token.
        autoscope_enabled: Input<bool> = "autoscopeEnabled", Replace;
        /// How many seconds before its expiry the token is due: from then on, an ordinary `pulumi up` replaces it. Must
        /// be less than `lifetimeSeconds`. A change of this setting alone replaces the token only if that makes it due.
        rotate_before_seconds: Input<i64> = "rotateBeforeSeconds";
        /// Any values, such as a date. A change to them replaces the token; adding the map, or removing all of it, does
        /// not.
        rotate_when_changed: Input<BTreeMap<String, String>> = "rotateWhenChanged";
        /// How many seconds a token lives on after it was replaced by a rotation, so that whoever holds its value has
        /// time to get the new one. The resource is then updated rather than replaced, and the first `pulumi up` after
        /// that time revokes the old token.
        overlap_seconds: Input<i64> = "overlapSeconds";
        /// Whether the token that a rotation creates starts with the scopes that Databricks has found in use
        /// (`inferredScopes` and `backfillScopes`), rather than with all of them again. Requires `autoscopeEnabled`
        /// and `overlapSeconds`.
        keep_inferred_scopes: Input<bool> = "keepInferredScopes";
        /// The workspace that the token belongs to, if the provider's host serves several.
        provider_config: Input<ProviderConfig<Token>> = "providerConfig";
        /// Accepted for compatibility but never sent: Databricks sets it.
        creation_time: Input<i64> = "creationTime";
        /// Accepted for compatibility but never sent: Databricks sets it.
        expiry_time: Input<i64> = "expiryTime";
        /// Accepted for compatibility but never sent: Databricks sets it.
        token_id: Input<String> = "tokenId";
    }
}

record! {
    /// What Databricks says of a token. Everything else among the outputs is as the program states it.
    pub(super) struct TokenOutputs {
        /// When the token was created, in milliseconds since 1970-01-01 UTC.
        creation_time: i64 = "creationTime";
        /// When the token expires, in milliseconds since 1970-01-01 UTC; -1 means never.
        expiry_time: i64 = "expiryTime";
        /// The workspace that the token belongs to.
        provider_config: ProviderConfig<Token> = "providerConfig";
        /// Id of the token.
        token_id: String = "tokenId";
        /// The token itself. Databricks gives it only once, so it is empty after an import.
        token_value: SecretString = "tokenValue";
        /// How far Databricks has come in narrowing the scopes, such as `AUTOSCOPE_STATE_RUNNING`.
        autoscope_state: Option<String> = "autoscopeState";
        /// Scopes that Databricks has seen in use.
        inferred_scopes: Option<Vec<String>> = "inferredScopes";
        /// Scopes that Databricks has added for uses before it began to narrow them.
        backfill_scopes: Option<Vec<String>> = "backfillScopes";
        /// Id of the previous token, while it still works.
        previous_token_id: Option<String> = "previousTokenId";
        /// The previous token, while it still works.
        previous_token_value: Option<SecretString> = "previousTokenValue";
        /// When the previous token is due to be revoked, as an RFC 3339 timestamp: by the first `pulumi up` from
        /// then on.
        previous_revoke_time: Option<String> = "previousRevokeTime";
        /// When the token expires, as an RFC 3339 timestamp; absent means never.
        expires_at: Option<String> = "expiresAt";
        /// The time from which `pulumi up` rotates the token, as an RFC 3339 timestamp, if `rotateBeforeSeconds` is set.
        rotates_at: Option<String> = "rotatesAt";
    }
}

impl HasProviderConfig for Token {
    const PROVIDER_CONFIG_TYPE: &'static str = "databricks:index/TokenProviderConfig:TokenProviderConfig";
}

/// Where the state keeps who created the token. Names of this form are bookkeeping, which no plugin compares and the
/// engine shows to nobody.
const CREATED_BY_ID: &str = "__createdById";
const CREATED_BY_USERNAME: &str = "__createdByUsername";

/// What a state says about a token: whose it is, whether its workspace is known, and when it lives.
pub(super) struct Origin {
    created_by: Option<User>,
    pub(super) has_workspace: bool,
    pub(super) life: Life,
}

/// A live token.
pub(super) struct LiveToken {
    info: TokenInfo,
    /// Whose it is, where that is known.
    created_by: Option<User>,
    /// Whether whoever signs in sees it only as an administrator.
    is_anothers: bool,
}

#[async_trait]
impl Credential for Token {
    type Inputs = TokenInputs;
    type Live = LiveToken;
    type Owner = Origin;
    type Before = ();
    type Query = TokenQuery;

    const TYPE_TOKEN: &'static str = "databricks:index/token:Token";
    const NOUN: &'static str = "token";
    const TITLE: &'static str = "a databricks Token";
    const DOC: &'static str = include_str!("token.md");
    const COMPUTED: &'static [Row] = TokenOutputs::ROWS;
    const TYPES: &'static [ObjectType] =
        &[(Token::PROVIDER_CONFIG_TYPE, "The workspace of a token.", placement::ROWS)];
    const VALUE: &'static str = "tokenValue";
    const CURRENT: &'static str = "tokenId";
    const PREVIOUS: (&'static str, &'static str) = ("previousTokenId", "previousTokenValue");
    const OF_PREVIOUS: &'static [&'static str] =
        &["creationTime", "expiryTime", CREATED_BY_ID, CREATED_BY_USERNAME];
    const NEVER_SENT: &'static [&'static str] = &["creationTime", "expiryTime", "tokenId"];

    fn terms(inputs: &TokenInputs) -> Terms<'_> {
        Terms {
            workspace: placement::stated(&inputs.provider_config),
            rotate_before: &inputs.rotate_before_seconds,
            rotate_when_changed: &inputs.rotate_when_changed,
            overlap: &inputs.overlap_seconds,
        }
    }

    fn validate(inputs: &TokenInputs, findings: &mut Findings) {
        let lifetime = inputs.lifetime_seconds.known().copied().unwrap_or_default();
        findings.lifetime("lifetimeSeconds", lifetime, &inputs.rotate_before_seconds, Self::NOUN);
        findings.scopes(inputs.scopes.known().map(|scopes| scopes.0.as_slice()), Self::NOUN);
        let terms = Self::terms(inputs);
        findings.overlap("lifetimeSeconds", lifetime, &terms, Self::NOUN);
        check_kept_scopes(&inputs.keep_inferred_scopes, &inputs.autoscope_enabled, &terms, findings);
    }

    fn owner(state: &[&Map]) -> Result<Origin, Error> {
        let text = |name: &str| state.iter().find_map(|map| String::decode(map.get(name)?).ok());
        let created_by = text(CREATED_BY_ID)
            .map(|id| User { id, user_name: text(CREATED_BY_USERNAME).unwrap_or_default() });
        let has_workspace = state.iter().any(|map| placement::of_state(map).is_some());
        let life = state.first().map(|outputs| life(outputs)).unwrap_or_default();
        Ok(Origin { created_by, has_workspace, life })
    }

    async fn prepare(home: &Home, ctx: &Context, _: &Origin) -> Result<(), Error> {
        // The state will say whose the token is. It is asked now, since nothing may be waited for once the token
        // exists.
        home.client.current_user(ctx).await;
        Ok(())
    }

    async fn create(
        home: &Home,
        ctx: &Context,
        _: &Origin,
        inputs: &TokenInputs,
    ) -> Result<New<LiveToken>, Error> {
        let new =
            new_token(&inputs.comment, &inputs.lifetime_seconds, &inputs.scopes, &inputs.autoscope_enabled);
        let created = tokens::create(&home.client, ctx, &new).await;
        let Minted { value, mut info, workspace_id } = granted(home, ctx, &new, created).await?;
        let id = info.token_id.clone();
        let mut incomplete = Vec::new();
        if info.creation_time.is_none() || info.expiry_time.is_none() {
            match tokens::find(&home.client, ctx, &id).await {
                Ok(Some(found)) => info = found,
                Ok(None) => {
                    incomplete.push("the new token is not listed yet, so its expiry is not known".to_owned())
                }
                Err(error) => {
                    incomplete.push(format!("the expiry of the new token could not be read: {error}"));
                }
            }
        }
        let created_by = home.client.current_user(ctx).await.cloned();
        let info = LiveToken { info, created_by, is_anothers: false };
        Ok(New { id, minted: Minted { value, info, workspace_id }, incomplete })
    }

    async fn candidates(
        home: &Home,
        ctx: &Context,
        _: &Origin,
        inputs: &TokenInputs,
        (): &(),
    ) -> Result<Vec<Candidate>, Error> {
        Ok(alike(&inputs.comment, &tokens::list(&home.client, ctx).await?))
    }

    async fn leftovers(home: &Home, ctx: &Context, _: &Origin, mark: &str) -> Result<Vec<String>, Error> {
        Ok(with_mark(&tokens::list(&home.client, ctx).await?, mark))
    }

    async fn prove(
        home: &Home,
        ctx: &Context,
        _: &Origin,
        value: &SecretString,
    ) -> Result<(), client::Error> {
        home.client.prove_bearer(ctx, value).await
    }

    fn carries(inputs: &TokenInputs) -> bool {
        inputs.keep_inferred_scopes.known() == Some(&true) && !inputs.scopes.is_stated()
    }

    fn carry(wanted: &mut Map, old: &LiveToken) {
        start_with_scopes(wanted, &found_scopes(&old.info));
    }

    fn trace(_: &Home, _: &Origin, inputs: &TokenInputs) -> Trace {
        Trace {
            with: called(&inputs.comment),
            place: "under Settings > Developer > Access tokens".to_owned(),
            undo: "revoke",
            command: "databricks tokens delete <token id>".to_owned(),
        }
    }

    async fn find(
        home: &Home,
        ctx: &Context,
        origin: &Origin,
        id: &str,
    ) -> Result<Presence<LiveToken>, Error> {
        match own(home, ctx, origin, id).await? {
            Some(token) => Ok(Presence::Live(token)),
            None => absent(home, ctx, origin, id, true).await,
        }
    }

    async fn denied(
        home: &Home,
        ctx: &Context,
        origin: &Origin,
        id: &str,
    ) -> Result<Presence<LiveToken>, Error> {
        absent(home, ctx, origin, id, false).await
    }

    async fn update(
        home: &Home,
        ctx: &Context,
        id: &str,
        seen: Option<&LiveToken>,
        changed: &Changes,
        inputs: &TokenInputs,
    ) -> Result<(), Error> {
        let change = token_change(changed, &inputs.comment, &inputs.scopes);
        if change.is_empty() {
            return Ok(());
        }
        match seen {
            None => tokens::update(&home.client, ctx, id, &change).await?,
            Some(_) => token_management::update(&home.client, ctx, id, &change).await?,
        }
        Ok(())
    }

    async fn revoke(
        home: &Home,
        ctx: &Context,
        _: &Origin,
        id: &str,
        seen: Option<&LiveToken>,
    ) -> Result<(), Error> {
        match seen {
            None => tokens::delete(&home.client, ctx, id).await?,
            Some(_) => token_management::delete(&home.client, ctx, id).await?,
        }
        Ok(())
    }

    fn is_anothers(token: &LiveToken) -> bool {
        token.is_anothers
    }

    async fn list(
        client: &Client,
        ctx: &Context,
        query: &TokenQuery,
    ) -> Result<Vec<(String, String)>, Error> {
        filter::list(client, ctx, query, false).await
    }

    fn computed(token: &LiveToken, _: &Map) -> Map {
        let mut computed = life_outputs(&token.info);
        computed.insert("tokenId".to_owned(), token.info.token_id.encode());
        if let Some(User { id, user_name }) = &token.created_by {
            computed.insert(CREATED_BY_ID.to_owned(), id.encode());
            computed.insert(CREATED_BY_USERNAME.to_owned(), user_name.encode());
        }
        computed
    }

    fn observed(token: &LiveToken) -> Map {
        observed(&token.info)
    }

    fn importable(token: &LiveToken) -> Map {
        importable(&token.info)
    }

    fn life(outputs: &Map) -> Life {
        life(outputs)
    }

    async fn settle(
        _: &Client,
        _: &Context,
        news: &TokenInputs,
        request: &Diff<'_>,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        settle_lifetime(&news.lifetime_seconds, request.outputs, changes);
        Ok(())
    }
}

/// The token, if it is in the list of whoever signs in, and so is theirs.
async fn own(home: &Home, ctx: &Context, origin: &Origin, id: &str) -> Result<Option<LiveToken>, Error> {
    let Some(info) = tokens::find(&home.client, ctx, id).await? else { return Ok(None) };
    let created_by = match &origin.created_by {
        Some(user) => Some(user.clone()),
        None => home.client.current_user(ctx).await.cloned(),
    };
    Ok(Some(LiveToken { info, created_by, is_anothers: false }))
}

/// What it means that whoever signs in does not have a token: nothing, unless the token is theirs. `from_list` says
/// that this is known only from a list, which may be a moment old.
async fn absent(
    home: &Home,
    ctx: &Context,
    origin: &Origin,
    id: &str,
    from_list: bool,
) -> Result<Presence<LiveToken>, Error> {
    let client = &home.client;
    let Origin { created_by: owner, has_workspace, life } = origin;
    let here = |reason: String| gone_here(client, *has_workspace, reason);
    if let Some(gone) = expired(client, ctx, *life).await {
        return Ok(Presence::Gone(gone));
    }
    let me = client.ask_current_user(ctx).await;
    let own_one = matches!((owner, &me), (Some(owner), Ok(me)) if owner.id == me.id);
    if own_one && !(from_list && is_new(client, ctx, life.created).await) {
        return Ok(Presence::Gone(here(no_longer(&me))));
    }
    let looked_up = loop {
        match token_management::get(client, ctx, id).await {
            // A look-up may lag behind a create, just as a list may.
            Ok(None) if may_lag(client, ctx, Token::NOUN, life.created).await? => {}
            looked_up => break looked_up,
        }
    };
    match looked_up {
        Ok(Some(info)) => {
            let by = info.owner_id.or(info.created_by_id).map(|id| User {
                id: id.to_string(),
                user_name: info.created_by_username.clone().unwrap_or_default(),
            });
            Ok(Presence::Live(LiveToken { info, created_by: by, is_anothers: !own_one }))
        }
        Ok(None) => Ok(Presence::Gone(here(format!(
            "{}, an administrator of the workspace, looked it up, and it does not exist",
            who(&me)
        )))),
        Err(error) if !leaves_open(&error) => Err(error.into()),
        // Whoever may not look up the tokens of others can only read their own list.
        Err(_) if own_one => {
            while may_lag(client, ctx, Token::NOUN, life.created).await? {
                if let Some(token) = own(home, ctx, origin, id).await? {
                    return Ok(Presence::Live(token));
                }
            }
            Ok(Presence::Gone(here(no_longer(&me))))
        }
        Err(_) => match owner {
            Some(owner) => {
                let owner = named_user(owner);
                let facts = format!(
                    "the token {id} was created by {owner}, but the provider signs in as {}, who can see neither it \
                     nor other people's tokens, so nobody can tell whether it still exists",
                    who(&me)
                );
                Err(Error::Undecided(Box::new(Undecided { facts, owner, urn: ctx.urn.clone() })))
            }
            None => Ok(Presence::Gone(Gone::unproved(format!(
                "{} has no such token. The state does not say who created it: if that was somebody else, it may live on. \
                 To be certain, look for token id {id} as its owner or as an admin of the workspace",
                who(&me)
            )))),
        },
    }
}

fn no_longer(me: &Result<User, client::Error>) -> String {
    format!("{} owns it and no longer has it, so it was revoked", who(me))
}

/// A token that is gone from this workspace is certainly gone if this is the workspace that the state means. Some
/// states that the official plugin wrote do not say which.
pub(super) fn gone_here(client: &Client, has_workspace: bool, reason: String) -> Gone {
    if has_workspace {
        return Gone::proved(reason);
    }
    let host = client.config().host.as_ref().map_or("the one that was asked", |host| host.url.as_str());
    Gone::unproved(format!(
        "{reason}. The state does not say which workspace it belongs to: if that is not {host}, it may live on"
    ))
}

/// Whoever signs in, in words.
fn who(me: &Result<User, client::Error>) -> String {
    me.as_ref().map_or_else(|error| format!("an unknown identity ({error})"), named_user)
}

/// A user in words.
fn named_user(user: &User) -> String {
    match user.user_name.as_str() {
        "" => format!("user {}", user.id),
        name => format!("{name} (user {})", user.id),
    }
}

// What one's own tokens and those on behalf of a service principal have in common.

/// What a token is to be, as far as both kinds state it.
pub(super) fn new_token<'a>(
    comment: &'a Input<Text>,
    lifetime_seconds: &Input<i64>,
    scopes: &'a Input<Scopes>,
    autoscope_enabled: &Input<bool>,
) -> NewToken<'a> {
    NewToken {
        application_id: None,
        comment: comment.known().map(Text::expose).filter(|comment| !comment.is_empty()),
        lifetime_seconds: lifetime_seconds.known().copied().filter(|seconds| *seconds > 0),
        scopes: scopes.known().map(|scopes| scopes.0.as_slice()),
        autoscope_enabled: autoscope_enabled.known().copied(),
        secrets: secrets(comment),
    }
}

/// The outcome of a create. Where an error or a shorter life may be due to the workspace's limit for lifetimes, it is
/// explained.
pub(super) async fn granted(
    home: &Home,
    ctx: &Context,
    new: &NewToken<'_>,
    created: Result<Minted<TokenInfo>, client::Error>,
) -> Result<Minted<TokenInfo>, Error> {
    let Some(asked) = new.lifetime_seconds else { return Ok(created?) };
    let limit = async || {
        let days = workspace_conf::max_token_lifetime_days(&home.client, ctx).await.ok().flatten()?;
        (asked > days.saturating_mul(86_400)).then(|| {
            format!(
                "the workspace allows at most {days} days ({} s): its maxTokenLifetimeDays",
                days * 86_400
            )
        })
    };
    match created {
        Err(client::Error::Api(error)) if error.status == 400 => {
            let error = client::Error::Api(error);
            Err(match limit().await {
                Some(limit) => {
                    Error::Other(format!("{error}. lifetimeSeconds asks for {asked} s, and {limit}"))
                }
                None => error.into(),
            })
        }
        Err(error) => Err(error.into()),
        Ok(minted) => {
            let life = Life { created: minted.info.creation_time, expires: minted.info.expiry_time };
            if let Some(given) = life.seconds().filter(|given| given + 60 < asked) {
                let reason = limit().await.map(|limit| format!("; {limit}")).unwrap_or_default();
                let warning = format!(
                    "the token lives for {given} s, though lifetimeSeconds asks for {asked} s{reason}"
                );
                ctx.report(Severity::Warning, &warning).await;
            }
            Ok(minted)
        }
    }
}

/// The comment, if no message may repeat it.
fn secrets(comment: &Input<Text>) -> Vec<&str> {
    comment.known().filter(|comment| comment.shown().is_none()).map(Text::expose).into_iter().collect()
}

/// The changes to a token that can be made in place.
pub(super) fn token_change<'a>(
    changed: &Changes,
    comment: &'a Input<Text>,
    scopes: &'a Input<Scopes>,
) -> TokenChange<'a> {
    TokenChange {
        comment: changed
            .contains_key("comment")
            .then(|| comment.known().map(Text::expose).unwrap_or_default()),
        scopes: changed
            .contains_key("scopes")
            .then(|| scopes.known().map(|scopes| scopes.0.as_slice()).unwrap_or_default()),
        secrets: secrets(comment),
    }
}

/// Those tokens that have the comment.
pub(super) fn alike(comment: &Input<Text>, tokens: &[TokenInfo]) -> Vec<Candidate> {
    let comment = comment.known().map(Text::expose).unwrap_or_default();
    tokens
        .iter()
        .filter(|token| token.comment.as_deref().unwrap_or_default() == comment)
        .map(|token| Candidate { id: token.token_id.clone(), created: token.creation_time })
        .collect()
}

/// Those tokens whose comment ends with the mark of a rotation.
pub(super) fn with_mark(tokens: &[TokenInfo], mark: &str) -> Vec<String> {
    let has_mark =
        |token: &&TokenInfo| token.comment.as_deref().is_some_and(|comment| comment.ends_with(mark));
    tokens.iter().filter(has_mark).map(|token| token.token_id.clone()).collect()
}

/// Refuses to keep inferred scopes where Databricks infers none, or where no rotation with an overlap can pass them on.
pub(super) fn check_kept_scopes(
    keep: &Input<bool>,
    autoscope_enabled: &Input<bool>,
    terms: &Terms<'_>,
    findings: &mut Findings,
) {
    if keep.known() != Some(&true) {
        return;
    }
    if !autoscope_enabled.is_stated() || autoscope_enabled.known() == Some(&false) {
        findings.refuse(
            "keepInferredScopes",
            "requires autoscopeEnabled: without it, Databricks infers no scopes",
        );
    }
    if !terms.overlap.is_stated() {
        findings.refuse(
            "keepInferredScopes",
            "requires overlapSeconds: only a rotation that is an update can see the old token",
        );
    }
}

/// Scopes for the successor of a token that Databricks has narrowed: those that it has found in use. A token that
/// itself started with such scopes passes them on.
pub(super) fn found_scopes(old: &TokenInfo) -> Vec<String> {
    let lists = [&old.inferred_scopes, &old.backfill_scopes];
    let mut found: Vec<String> = lists.into_iter().flatten().flatten().cloned().collect();
    if found.is_empty() {
        found = old.scopes.clone().unwrap_or_default();
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// States these scopes for the successor, if there are any, instead of having Databricks narrow all of them again.
pub(super) fn start_with_scopes(wanted: &mut Map, scopes: &[String]) {
    if !scopes.is_empty() {
        wanted.insert("scopes".to_owned(), scopes.to_vec().encode());
        wanted.remove("autoscopeEnabled");
    }
}

/// The comment in words.
pub(super) fn called(comment: &Input<Text>) -> String {
    match comment.known().filter(|comment| !comment.is_empty()) {
        None => "with no comment".to_owned(),
        Some(comment) => match comment.shown() {
            None => "with the comment that the program states".to_owned(),
            Some(comment) => format!("with the comment {comment:?}"),
        },
    }
}

/// Id and name of a token in a list.
pub(super) fn named(token: &TokenInfo) -> (String, String) {
    let name = token.comment.clone().filter(|comment| !comment.is_empty());
    (token.token_id.clone(), name.unwrap_or_else(|| token.token_id.clone()))
}

/// Outputs about the life and the scopes of a token.
pub(super) fn life_outputs(info: &TokenInfo) -> Map {
    let mut computed = Map::from([
        ("creationTime".to_owned(), info.creation_time.unwrap_or_default().encode()),
        ("expiryTime".to_owned(), info.expiry_time.unwrap_or_default().encode()),
    ]);
    if let Some(state) = &info.autoscope_state {
        computed.insert("autoscopeState".to_owned(), state.encode());
    }
    for (name, scopes) in
        [("inferredScopes", &info.inferred_scopes), ("backfillScopes", &info.backfill_scopes)]
    {
        if let Some(scopes) = scopes {
            computed.insert(name.to_owned(), scopes.encode());
        }
    }
    computed
}

/// Inputs as the workspace has them.
pub(super) fn observed(info: &TokenInfo) -> Map {
    let mut inputs = Map::new();
    if let Some(comment) = info.comment.as_ref().filter(|comment| !comment.is_empty()) {
        inputs.insert("comment".to_owned(), comment.encode());
    }
    if let Some(scopes) = info.scopes.as_ref().filter(|scopes| !scopes.is_empty()) {
        inputs.insert("scopes".to_owned(), scopes.encode());
    }
    inputs
}

/// Of these, what a program would state to get the same: scopes that Databricks chose are nobody's input.
pub(super) fn importable(info: &TokenInfo) -> Map {
    let own_choice = matches!(
        info.autoscope_state.as_deref(),
        None | Some("AUTOSCOPE_STATE_USER_SELECTED" | "AUTOSCOPE_STATE_DISABLED")
    );
    let mut inputs = observed(info);
    inputs.retain(|name, _| own_choice || name != "scopes");
    inputs
}

/// What a state says about a token's life.
pub(super) fn life(outputs: &Map) -> Life {
    let number = |name: &str| i64::decode(outputs.get(name)?).ok();
    Life { created: number("creationTime"), expires: number("expiryTime") }
}

/// Settles a lifetime that is stated for the first time, or after an import: if it is the real one, it is no change.
pub(super) fn settle_lifetime(stated: &Input<i64>, outputs: &Map, changes: &mut Changes) {
    let is_added = matches!(changes.get("lifetimeSeconds"), Some((Kind::Added, _)));
    if (is_added || is_imported(outputs, Token::VALUE))
        && let Some(real) = life(outputs).seconds()
        && stated.known() == Some(&real)
    {
        changes.remove("lifetimeSeconds");
    }
}
