//! `databricks:index/oboToken:OboToken`, a token that an administrator makes on behalf of a service principal.

use std::collections::BTreeMap;

use async_trait::async_trait;
use secrecy::SecretString;

use super::credential::{Credential, Home, New, Terms};
use super::filter::{self, TokenQuery};
use super::findings::Findings;
use super::lost::{Candidate, Trace};
use super::placement::{self, HasProviderConfig, ProviderConfig};
use super::presence::{Presence, expired, may_lag};
use super::rotation::Life;
use super::token::{self, Origin, Token};
use super::{Diff, Error, ObjectType};
use crate::api::token_management;
use crate::api::tokens::{NewToken, TokenInfo};
use crate::client::{self, Client};
use crate::context::Context;
use crate::property::{
    Change, Changes, Input, Kind, Map, Needed, Property, Record, Row, Scopes, Text, stated,
};
use crate::record;

/// The resource.
#[derive(Clone)]
pub(super) struct OboToken;

record! {
    /// What a program states of a token on behalf of a service principal.
    pub(super) struct OboTokenInputs {
        /// Application id (a UUID) of the service principal that the token acts as. A change replaces the token.
        application_id: Needed<String> = "applicationId", Replace;
        /// Comment that is shown beside the token. A change replaces the token, unless `rotateBeforeSeconds` or
        /// `rotateWhenChanged` is set: these say when to rotate, so the comment is then updated in place.
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
        provider_config: Input<ProviderConfig<OboToken>> = "providerConfig";
    }
}

record! {
    /// What Databricks says of such a token. Everything else among the outputs is as the program states it.
    struct OboTokenOutputs {
        /// When the token was created, in milliseconds since 1970-01-01 UTC.
        creation_time: i64 = "creationTime";
        /// When the token expires, in milliseconds since 1970-01-01 UTC; -1 means never.
        expiry_time: i64 = "expiryTime";
        /// The workspace that the token belongs to.
        provider_config: ProviderConfig<OboToken> = "providerConfig";
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

impl HasProviderConfig for OboToken {
    const PROVIDER_CONFIG_TYPE: &'static str =
        "databricks:index/OboTokenProviderConfig:OboTokenProviderConfig";
}

#[async_trait]
impl Credential for OboToken {
    type Inputs = OboTokenInputs;
    type Live = TokenInfo;
    type Owner = Origin;
    type Before = ();
    type Query = TokenQuery;

    const TYPE_TOKEN: &'static str = "databricks:index/oboToken:OboToken";
    const NOUN: &'static str = "obo token";
    const TITLE: &'static str = "a databricks OboToken";
    const DOC: &'static str = include_str!("obo_token.md");
    const COMPUTED: &'static [Row] = OboTokenOutputs::ROWS;
    const TYPES: &'static [ObjectType] =
        &[(OboToken::PROVIDER_CONFIG_TYPE, "The workspace of an on-behalf-of token.", placement::ROWS)];
    const VALUE: &'static str = "tokenValue";
    const CURRENT: &'static str = "tokenId";
    const PREVIOUS: (&'static str, &'static str) = ("previousTokenId", "previousTokenValue");
    const OF_PREVIOUS: &'static [&'static str] = &["creationTime", "expiryTime"];
    const OWNER: &'static [&'static str] = &["applicationId"];
    const NEVER_SENT: &'static [&'static str] = &[];

    fn terms(inputs: &OboTokenInputs) -> Terms<'_> {
        Terms {
            workspace: placement::stated(&inputs.provider_config),
            rotate_before: &inputs.rotate_before_seconds,
            rotate_when_changed: &inputs.rotate_when_changed,
            overlap: &inputs.overlap_seconds,
        }
    }

    fn validate(inputs: &OboTokenInputs, findings: &mut Findings) {
        if let Some(id) = inputs.application_id.known() {
            if id.trim().is_empty() {
                findings.refuse("applicationId", "must not be empty");
            } else if id.bytes().all(|byte| byte.is_ascii_digit()) {
                findings.refuse(
                    "applicationId",
                    "must be the application id of the service principal, a UUID, not its numeric id",
                );
            }
        }
        let lifetime = inputs.lifetime_seconds.known().copied().unwrap_or_default();
        findings.lifetime("lifetimeSeconds", lifetime, &inputs.rotate_before_seconds, "token");
        findings.scopes(inputs.scopes.known().map(|scopes| scopes.0.as_slice()), "token");
        let terms = Self::terms(inputs);
        findings.overlap("lifetimeSeconds", lifetime, &terms, "token");
        token::check_kept_scopes(&inputs.keep_inferred_scopes, &inputs.autoscope_enabled, &terms, findings);
    }

    fn owner(state: &[&Map]) -> Result<Origin, Error> {
        Token::owner(state)
    }

    async fn prepare(_: &Home, _: &Context, _: &Origin) -> Result<(), Error> {
        Ok(())
    }

    async fn create(
        home: &Home,
        ctx: &Context,
        _: &Origin,
        inputs: &OboTokenInputs,
    ) -> Result<New<TokenInfo>, Error> {
        let new = NewToken {
            application_id: inputs.application_id.known().map(String::as_str),
            ..token::new_token(
                &inputs.comment,
                &inputs.lifetime_seconds,
                &inputs.scopes,
                &inputs.autoscope_enabled,
            )
        };
        // The state comes from this answer, and not from a look-up, which may lag behind the create.
        let created = token_management::create_on_behalf_of(&home.client, ctx, &new).await;
        let minted = token::granted(home, ctx, &new, created).await?;
        Ok(New { id: minted.info.token_id.clone(), minted, incomplete: Vec::new() })
    }

    async fn candidates(
        home: &Home,
        ctx: &Context,
        _: &Origin,
        inputs: &OboTokenInputs,
        (): &(),
    ) -> Result<Vec<Candidate>, Error> {
        // The list has everybody's tokens, and most of them are their owners' own.
        let mut all = token_management::list(&home.client, ctx, None).await?;
        all.retain(TokenInfo::is_on_behalf);
        Ok(token::alike(&inputs.comment, &all))
    }

    async fn leftovers(home: &Home, ctx: &Context, _: &Origin, mark: &str) -> Result<Vec<String>, Error> {
        let mut all = token_management::list(&home.client, ctx, None).await?;
        all.retain(TokenInfo::is_on_behalf);
        Ok(token::with_mark(&all, mark))
    }

    async fn prove(
        home: &Home,
        ctx: &Context,
        _: &Origin,
        value: &SecretString,
    ) -> Result<(), client::Error> {
        home.client.prove_bearer(ctx, value).await
    }

    fn carries(inputs: &OboTokenInputs) -> bool {
        inputs.keep_inferred_scopes.known() == Some(&true) && !inputs.scopes.is_stated()
    }

    fn carry(wanted: &mut Map, old: &TokenInfo) {
        token::start_with_scopes(wanted, &token::found_scopes(old));
    }

    fn trace(_: &Home, _: &Origin, inputs: &OboTokenInputs) -> Trace {
        Trace {
            with: token::called(&inputs.comment),
            place: "with `databricks token-management list`".to_owned(),
            undo: "revoke",
            command: "databricks token-management delete <token id>".to_owned(),
        }
    }

    async fn find(
        home: &Home,
        ctx: &Context,
        origin: &Origin,
        id: &str,
    ) -> Result<Presence<TokenInfo>, Error> {
        let (client, Origin { has_workspace, life, .. }) = (&home.client, origin);
        loop {
            if let Some(info) = token_management::find(client, ctx, id).await? {
                return Ok(Presence::Live(info));
            }
            if let Some(gone) = expired(client, ctx, *life).await {
                return Ok(Presence::Gone(gone));
            }
            if !may_lag(client, ctx, Self::NOUN, life.created).await? {
                let reason = "the workspace has no such token: it was revoked or has expired";
                return Ok(Presence::Gone(token::gone_here(client, *has_workspace, reason.to_owned())));
            }
        }
    }

    async fn denied(
        home: &Home,
        _: &Context,
        origin: &Origin,
        _: &str,
    ) -> Result<Presence<TokenInfo>, Error> {
        let reason = "Databricks says that it does not exist".to_owned();
        Ok(Presence::Gone(token::gone_here(&home.client, origin.has_workspace, reason)))
    }

    async fn update(
        home: &Home,
        ctx: &Context,
        id: &str,
        _: Option<&TokenInfo>,
        changed: &Changes,
        inputs: &OboTokenInputs,
    ) -> Result<(), Error> {
        let change = token::token_change(changed, &inputs.comment, &inputs.scopes);
        if !change.is_empty() {
            token_management::update(&home.client, ctx, id, &change).await?;
        }
        Ok(())
    }

    async fn revoke(
        home: &Home,
        ctx: &Context,
        _: &Origin,
        id: &str,
        _: Option<&TokenInfo>,
    ) -> Result<(), Error> {
        Ok(token_management::delete(&home.client, ctx, id).await?)
    }

    async fn list(
        client: &Client,
        ctx: &Context,
        query: &TokenQuery,
    ) -> Result<Vec<(String, String)>, Error> {
        filter::list(client, ctx, query, true).await
    }

    fn computed(info: &TokenInfo, _: &Map) -> Map {
        let mut computed = token::life_outputs(info);
        computed.insert("tokenId".to_owned(), info.token_id.encode());
        computed
    }

    fn observed(info: &TokenInfo) -> Map {
        token::observed(info)
    }

    fn importable(info: &TokenInfo) -> Map {
        token::importable(info)
    }

    fn life(outputs: &Map) -> Life {
        token::life(outputs)
    }

    async fn settle(
        _: &Client,
        _: &Context,
        news: &OboTokenInputs,
        request: &Diff<'_>,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        token::settle_lifetime(&news.lifetime_seconds, request.outputs, changes);
        // Databricks does not say which service principal an imported token acts as, so the program is believed.
        if stated(request.outputs, "applicationId").is_none()
            && let Some(change @ (Kind::Added, _)) = changes.get_mut("applicationId")
        {
            change.1 = Change::Update;
        }
        Ok(())
    }
}
