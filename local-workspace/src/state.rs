//! What the workspaces know: principals, tokens, clock, quota and permissions.
//!
//! Token values are never kept. A token's id is the SHA-256 of its value, so a presented credential is found
//! by hashing it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, StatusCode};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Options;
use crate::error::ApiError;
use crate::faults::Faults;
use crate::federation::Policy;
use crate::requests::RequestLog;
use crate::secrets::{Secret, SecretLimit};
use crate::snapshot;

/// How long tokens are observed before their scopes are inferred. Unless told otherwise, only tokens that live at least
/// this long are.
const AUTOSCOPE_MS: i64 = 30 * DAY_MS;
/// Numeric id of the first user; principals that are added get the next ones.
const FIRST_PRINCIPAL_ID: u64 = 7_000_000_000_000_001;
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The documentation of AWS Secrets Manager states this limit for the comments of the tokens that it rotates.
const MAX_COMMENT_CHARS: usize = 255;

/// A user or a service principal.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Principal {
    pub(crate) id: u64,
    /// E-mail address of a user, application id of a service principal.
    pub(crate) user_name: String,
    pub(crate) display_name: String,
    pub(crate) kind: PrincipalKind,
    /// Member of the group `admins`.
    pub(crate) admin: bool,
    pub(crate) account_admin: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PrincipalKind {
    User,
    /// Holds the SHA-256 of the client secret that it was registered with, if there is one. This secret is not among
    /// [`State::secrets`].
    ServicePrincipal {
        secret_hash: Option<String>,
    },
}

/// A personal access token, live or not.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Token {
    /// SHA-256 of the value, in hexadecimal.
    pub(crate) id: String,
    /// `None` if none was ever given; the API then leaves the field out.
    pub(crate) comment: Option<String>,
    pub(crate) creation_ms: i64,
    /// -1 if the token never expires.
    pub(crate) expiry_ms: i64,
    /// Scopes given at creation or by an update.
    pub(crate) scopes: Vec<String>,
    autoscope_enabled: Option<bool>,
    /// API scopes that requests made with this token needed.
    used_scopes: BTreeSet<String>,
    pub(crate) owner: u64,
    pub(crate) created_by: u64,
    pub(crate) last_used_day_ms: Option<i64>,
    pub(crate) revoked_at_ms: Option<i64>,
    /// A token that the workspace or a user was started with: not listed and not counted, so that a fresh workspace
    /// is empty.
    initial: bool,
}

/// An OAuth access token, which is kept under the SHA-256 of its value.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct AccessToken {
    pub(crate) principal: u64,
    pub(crate) scopes: Vec<String>,
    /// Group that the client asked to act as.
    pub(crate) assume_group: Option<String>,
    pub(crate) expiry_ms: i64,
}

/// A token of another issuer that the token endpoint exchanges, which is kept under the SHA-256 of its value.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct SubjectToken {
    /// User name or application id that it stands for; `None` for the client in the request, or else the first user.
    pub(crate) principal: Option<String>,
    pub(crate) audience: Audience,
}

/// Which `aud` claim a subject token needs.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Audience {
    Any,
    Exactly(String),
    /// The account id, the token endpoint, or what the host metadata names.
    HostDefaults,
}

/// What a host says about itself, and how it treats workspace APIs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Host {
    pub(crate) host_type: HostType,
    /// Status of the metadata document; with any other than 200 there is no document.
    #[serde(with = "status")]
    pub(crate) metadata_status: StatusCode,
    /// Sent in place of the document that goes with the host type.
    pub(crate) document: Option<Value>,
    /// Answer workspace APIs that name no workspace with a redirect to a login page.
    pub(crate) login_redirect: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HostType {
    Workspace,
    Account,
    Unified,
}

/// What the caller asks for when creating a token.
#[derive(Debug, Default)]
pub(crate) struct NewToken {
    pub(crate) comment: Option<String>,
    pub(crate) lifetime_seconds: Option<i64>,
    pub(crate) scopes: Vec<String>,
    pub(crate) autoscope_enabled: Option<bool>,
}

impl Token {
    pub(crate) fn is_live(&self, now_ms: i64) -> bool {
        self.revoked_at_ms.is_none() && (self.expiry_ms < 0 || now_ms < self.expiry_ms)
    }

    fn autoscoped(&self) -> bool {
        self.scopes.is_empty()
            && self
                .autoscope_enabled
                .unwrap_or(self.expiry_ms < 0 || self.expiry_ms - self.creation_ms >= AUTOSCOPE_MS)
    }

    fn autoscope_state(&self, now_ms: i64) -> &'static str {
        if !self.scopes.is_empty() {
            "AUTOSCOPE_STATE_USER_SELECTED"
        } else if !self.autoscoped() {
            "AUTOSCOPE_STATE_DISABLED"
        } else if now_ms - self.creation_ms < AUTOSCOPE_MS {
            "AUTOSCOPE_STATE_RUNNING"
        } else {
            "AUTOSCOPE_STATE_COMPLETED"
        }
    }

    /// Scopes inferred from use, once the time of observation is over.
    fn inferred_scopes(&self, now_ms: i64) -> Option<Vec<String>> {
        (self.autoscope_state(now_ms) == "AUTOSCOPE_STATE_COMPLETED")
            .then(|| self.used_scopes.iter().cloned().collect())
    }

    /// The caller's view of a token of their own.
    pub(crate) fn public_info(&self, now_ms: i64) -> PublicTokenInfo<'_> {
        PublicTokenInfo {
            token_id: &self.id,
            comment: self.comment.as_deref(),
            creation_time: self.creation_ms,
            expiry_time: self.expiry_ms,
            scopes: &self.scopes,
            autoscope_state: self.autoscope_state(now_ms),
            inferred_scopes: self.inferred_scopes(now_ms),
        }
    }
}

/// A token as the API shows it to its owner. Empty fields are left out; times are milliseconds since the epoch.
#[derive(Debug, Serialize)]
pub(crate) struct PublicTokenInfo<'a> {
    token_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    creation_time: i64,
    expiry_time: i64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    scopes: &'a [String],
    autoscope_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inferred_scopes: Option<Vec<String>>,
}

/// One workspace: its tokens and who may use tokens.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct WorkspaceState {
    /// Numeric id, or a connection id.
    pub(crate) id: String,
    pub(crate) deployment_name: String,
    pub(crate) workspace_url: Option<String>,
    tokens: Vec<Token>,
    #[serde(skip)]
    index: HashMap<String, usize>,
    /// Access control list of `authorization/tokens`: principal field, name. The level is always CAN_USE.
    pub(crate) token_acl: BTreeSet<(String, String)>,
}

impl WorkspaceState {
    pub(crate) fn new(id: String, deployment_name: String, workspace_url: Option<String>) -> Self {
        let everyone = ["admins", "users"].map(|group| ("group_name".to_owned(), group.to_owned()));
        Self {
            id,
            deployment_name,
            workspace_url,
            tokens: Vec::new(),
            index: HashMap::new(),
            token_acl: everyone.into(),
        }
    }

    /// Adds a token that the workspace or a user is started with.
    pub(crate) fn add_initial_token(&mut self, value: &str, owner: u64, now_ms: i64) {
        self.insert(Token {
            id: sha256_hex(value),
            comment: None,
            creation_ms: now_ms,
            expiry_ms: -1,
            scopes: Vec::new(),
            autoscope_enabled: Some(false),
            used_scopes: BTreeSet::new(),
            owner,
            created_by: owner,
            last_used_day_ms: None,
            revoked_at_ms: None,
            initial: true,
        });
    }

    /// Makes the index of the tokens, which a snapshot does not hold.
    pub(crate) fn rebuild_index(&mut self) {
        self.index = self.tokens.iter().enumerate().map(|(at, token)| (token.id.clone(), at)).collect();
    }

    fn insert(&mut self, token: Token) {
        self.index.insert(token.id.clone(), self.tokens.len());
        self.tokens.push(token);
    }

    pub(crate) fn token(&self, id: &str) -> Option<&Token> {
        self.index.get(id).and_then(|&at| self.tokens.get(at))
    }

    pub(crate) fn token_mut(&mut self, id: &str) -> Option<&mut Token> {
        self.index.get(id).and_then(|&at| self.tokens.get_mut(at))
    }

    /// Every token made through the API, also those that are revoked or expired, oldest first.
    pub(crate) fn all_tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter().filter(|token| !token.initial)
    }

    /// The tokens that the workspace and its users were started with.
    pub(crate) fn initial_tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.iter().filter(|token| token.initial)
    }

    /// Tokens that work now, oldest first.
    pub(crate) fn live_tokens(&self, now_ms: i64) -> impl Iterator<Item = &Token> {
        self.all_tokens().filter(move |token| token.is_live(now_ms))
    }

    /// Tokens that lists show: those that work now, except the newest ones where lists lag behind.
    pub(crate) fn listed_tokens(&self, now_ms: i64, lag_ms: i64) -> impl Iterator<Item = &Token> {
        self.live_tokens(now_ms).filter(move |token| is_listed(token.creation_ms, now_ms, lag_ms))
    }

    /// Whether this principal may use tokens, according to the workspace's access control list.
    fn may_use_tokens(&self, principal: &Principal) -> bool {
        let own_field = match principal.kind {
            PrincipalKind::User => "user_name",
            PrincipalKind::ServicePrincipal { .. } => "service_principal_name",
        };
        self.token_acl.iter().any(|(field, name)| match field.as_str() {
            "group_name" => name == "users" || (name == "admins" && principal.admin),
            field => field == own_field && *name == principal.user_name,
        })
    }
}

/// Limits that the control API may change.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Settings {
    /// Live tokens that one principal may have in one workspace.
    pub(crate) quota: usize,
    /// HTTP status of QUOTA_EXCEEDED, which isn't documented.
    #[serde(with = "status")]
    pub(crate) quota_status: StatusCode,
    /// `None`: tokens created without a lifetime never expire.
    pub(crate) max_token_lifetime_days: Option<u32>,
    /// How long a new token or secret is missing in lists, although it works.
    pub(crate) list_lag_ms: i64,
    /// Life of an OAuth access token.
    pub(crate) access_token_seconds: i64,
    /// The workspace setting `enableTokensConfig`.
    pub(crate) tokens_enabled: bool,
    /// False takes CAN_USE on tokens from everybody, admins included.
    pub(crate) can_use_tokens: bool,
    pub(crate) on_behalf_of_enabled: bool,
    /// False for a workspace from before tokens could be changed.
    pub(crate) patch: bool,
    pub(crate) secret_limit: SecretLimit,
}

/// Everything that changes while the program runs.
#[derive(Debug)]
pub(crate) struct State {
    clock_offset_ms: i64,
    pub(crate) settings: Settings,
    pub(crate) principals: Vec<Principal>,
    /// Ids are not used again.
    pub(crate) next_principal_id: u64,
    /// Every secret made through the API, oldest first.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) workspaces: BTreeMap<String, WorkspaceState>,
    pub(crate) default_workspace: String,
    pub(crate) account_id: String,
    pub(crate) host: Host,
    pub(crate) access_tokens: HashMap<String, AccessToken>,
    pub(crate) subject_tokens: HashMap<String, SubjectToken>,
    pub(crate) federation_policies: Vec<Policy>,
    /// Password of the first user, if Basic authentication is on, as its SHA-256.
    pub(crate) password_hash: Option<String>,
    pub(crate) faults: Faults,
    pub(crate) requests: RequestLog,
}

/// Who sends a request, and with what.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    pub(crate) workspace_id: String,
    /// True if the credential is a personal access token, which no account API takes.
    pub(crate) by_personal_token: bool,
}

impl Caller {
    /// Refuses everybody except admins.
    pub(crate) fn check_admin(&self) -> Result<(), ApiError> {
        if self.principal.admin {
            return Ok(());
        }
        Err(ApiError::permission_denied("Only workspace admins can manage the tokens of other users."))
    }
}

impl State {
    /// A workspace as it is just after its start. `options` hold the initial credentials.
    pub(crate) fn started(options: &Options) -> Result<Self, ApiError> {
        let mut state = Self::new(options);
        if let Some(seed) = &options.seed {
            snapshot::seed(&mut state, options, seed.clone())?;
        }
        Ok(state)
    }

    fn new(options: &Options) -> Self {
        let user = Principal {
            id: FIRST_PRINCIPAL_ID,
            user_name: options.user_name.clone(),
            display_name: "Local Admin".to_owned(),
            kind: PrincipalKind::User,
            admin: true,
            account_admin: true,
        };
        let mut workspace =
            WorkspaceState::new(options.workspace_id.clone(), "local-workspace".to_owned(), None);
        workspace.add_initial_token(&options.token, user.id, system_ms() + options.clock_offset_ms);
        let mut state = Self {
            clock_offset_ms: options.clock_offset_ms,
            settings: Settings {
                quota: options.quota,
                quota_status: StatusCode::BAD_REQUEST,
                max_token_lifetime_days: options.max_token_lifetime_days,
                list_lag_ms: 0,
                access_token_seconds: 3600,
                tokens_enabled: true,
                can_use_tokens: true,
                on_behalf_of_enabled: true,
                patch: true,
                secret_limit: SecretLimit::default(),
            },
            principals: vec![user],
            next_principal_id: FIRST_PRINCIPAL_ID + 1,
            secrets: Vec::new(),
            workspaces: BTreeMap::from([(options.workspace_id.clone(), workspace)]),
            default_workspace: options.workspace_id.clone(),
            account_id: options.account_id.clone(),
            host: Host {
                host_type: HostType::Workspace,
                metadata_status: StatusCode::OK,
                document: None,
                login_redirect: false,
            },
            access_tokens: HashMap::new(),
            subject_tokens: HashMap::new(),
            federation_policies: Vec::new(),
            password_hash: options.password.as_deref().map(sha256_hex),
            faults: Faults::default(),
            requests: RequestLog::default(),
        };
        state.add_initial_principal(options);
        state
    }

    /// Adds the service principal that the workspace is started with.
    pub(crate) fn add_initial_principal(&mut self, options: &Options) {
        if let Some(client) = &options.service_principal {
            self.add_principal(Principal {
                id: 0,
                user_name: client.client_id.clone(),
                display_name: "Local Service Principal".to_owned(),
                kind: PrincipalKind::ServicePrincipal {
                    secret_hash: Some(sha256_hex(&client.client_secret)),
                },
                admin: false,
                account_admin: false,
            });
        }
    }

    /// The user who owns the initial token.
    pub(crate) fn admin_id(&self) -> u64 {
        FIRST_PRINCIPAL_ID
    }

    /// Adds a principal, or replaces the one of its kind and name; returns its numeric id, which stays the same.
    pub(crate) fn add_principal(&mut self, mut principal: Principal) -> u64 {
        let same_kind = |known: &Principal| {
            std::mem::discriminant(&known.kind) == std::mem::discriminant(&principal.kind)
        };
        let known = self
            .principals
            .iter_mut()
            .find(|known| same_kind(known) && known.user_name == principal.user_name);
        match known {
            Some(known) => {
                principal.id = known.id;
                *known = principal;
                known.id
            }
            None => {
                principal.id = self.next_principal_id;
                self.next_principal_id += 1;
                let id = principal.id;
                self.principals.push(principal);
                id
            }
        }
    }

    /// Removes a principal; its secrets and tokens stop working.
    pub(crate) fn delete_principal(&mut self, id: u64) {
        let now_ms = self.now_ms();
        let Some(at) = self.principals.iter().position(|principal| principal.id == id) else { return };
        let principal = self.principals.remove(at);
        for workspace in self.workspaces.values_mut() {
            for field in ["user_name", "service_principal_name"] {
                workspace.token_acl.remove(&(field.to_owned(), principal.user_name.clone()));
            }
            for token in workspace.tokens.iter_mut().filter(|token| token.owner == id) {
                token.revoked_at_ms.get_or_insert(now_ms);
            }
        }
        for secret in self.secrets.iter_mut().filter(|secret| secret.principal == id) {
            secret.deleted = true;
        }
        self.access_tokens.retain(|_, token| token.principal != id);
        self.federation_policies.retain(|policy| policy.principal != Some(id));
    }

    /// The service principal with this numeric id.
    pub(crate) fn service_principal(&self, id: &str) -> Result<&Principal, ApiError> {
        id.parse()
            .ok()
            .and_then(|id| self.principal(id))
            .filter(|principal| matches!(principal.kind, PrincipalKind::ServicePrincipal { .. }))
            .ok_or_else(|| ApiError::does_not_exist(format!("Service principal {id} does not exist.")))
    }

    /// The service principal with this application id.
    pub(crate) fn service_principal_named(&self, application_id: &str) -> Option<&Principal> {
        self.principals.iter().find(|principal| {
            matches!(principal.kind, PrincipalKind::ServicePrincipal { .. })
                && principal.user_name == application_id
        })
    }

    /// The workspace's time, in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        system_ms().saturating_add(self.clock_offset_ms)
    }

    pub(crate) fn advance_clock(&mut self, by_ms: i64) {
        self.clock_offset_ms = self.clock_offset_ms.saturating_add(by_ms);
    }

    pub(crate) fn set_clock(&mut self, now_ms: i64) {
        self.clock_offset_ms = now_ms.saturating_sub(system_ms());
    }

    pub(crate) fn principal(&self, id: u64) -> Option<&Principal> {
        self.principals.iter().find(|principal| principal.id == id)
    }

    pub(crate) fn principal_named(&self, user_name: &str) -> Option<&Principal> {
        self.principals.iter().find(|principal| principal.user_name == user_name)
    }

    /// The workspace that a request is for.
    pub(crate) fn workspace_id_of(&self, headers: &HeaderMap) -> Result<String, ApiError> {
        let asked = ["x-databricks-workspace-id", "x-databricks-org-id"]
            .iter()
            .find_map(|name| headers.get(*name))
            .and_then(|value| value.to_str().ok());
        match asked {
            Some(id) if !self.workspaces.contains_key(id) => Err(ApiError::does_not_exist(format!(
                "Workspace {id} does not exist or is not served by this host."
            ))),
            Some(id) => Ok(id.to_owned()),
            None => Ok(self.default_workspace.clone()),
        }
    }

    pub(crate) fn workspace(&self, id: &str) -> Result<&WorkspaceState, ApiError> {
        self.workspaces.get(id).ok_or_else(|| no_workspace(id))
    }

    pub(crate) fn workspace_mut(&mut self, id: &str) -> Result<&mut WorkspaceState, ApiError> {
        self.workspaces.get_mut(id).ok_or_else(|| no_workspace(id))
    }

    /// Goes back to the state at the start. Only the numbers of requests go on.
    pub(crate) fn reset(&mut self, options: &Options) -> Result<(), ApiError> {
        let requests = std::mem::take(&mut self.requests);
        *self = Self::started(options)?;
        self.requests = requests;
        self.requests.clear();
        Ok(())
    }

    /// Finds out who sent a request to `path`, and whether their credential reaches that API.
    pub(crate) fn authenticate(&mut self, headers: &HeaderMap, path: &str) -> Result<Caller, ApiError> {
        let workspace_id = self.workspace_id_of(headers)?;
        let (principal, by_personal_token) = match credential(headers)
            .ok_or_else(ApiError::missing_credential)?
        {
            Credential::Bearer(value) => self.bearer(&workspace_id, &value, path)?,
            // User name "token" and a personal access token as the password: the older form of Bearer.
            Credential::Basic { user, password } if user == "token" => {
                self.bearer(&workspace_id, &password, path)?
            }
            Credential::Basic { user, password } => self
                .principals
                .first()
                .filter(|first| first.user_name == user && self.password_hash == Some(sha256_hex(&password)))
                .map(|first| (first.id, false))
                .ok_or_else(|| ApiError::refused_credential("Invalid username or password."))?,
        };
        let principal = self.principal(principal).cloned().ok_or_else(ApiError::missing_credential)?;
        Ok(Caller { principal, workspace_id, by_personal_token })
    }

    /// The principal behind a bearer token, and whether that is a personal access token.
    fn bearer(&mut self, workspace_id: &str, value: &str, path: &str) -> Result<(u64, bool), ApiError> {
        let now_ms = self.now_ms();
        let scope = scope_of(path);
        let hash = sha256_hex(value);
        if let Some(token) = self.access_tokens.get(&hash) {
            if token.expiry_ms <= now_ms {
                return Err(ApiError::refused_credential("Token is expired"));
            }
            check_scope(&token.scopes, scope)?;
            return Ok((token.principal, false));
        }
        let token = self
            .workspace_mut(workspace_id)?
            .token_mut(&hash)
            .filter(|token| token.is_live(now_ms))
            .ok_or_else(|| ApiError::refused_credential("Invalid access token."))?;
        token.last_used_day_ms = Some(now_ms - now_ms.rem_euclid(DAY_MS));
        match token.inferred_scopes(now_ms) {
            Some(inferred) => check_scope(&inferred, scope)?,
            None => {
                check_scope(&token.scopes, scope)?;
                token.used_scopes.extend(scope.map(str::to_owned));
            }
        }
        Ok((token.owner, true))
    }

    /// Keeps an access token of `principal`; only its hash stays here.
    pub(crate) fn add_access_token(
        &mut self,
        value: &str,
        principal: u64,
        scopes: Vec<String>,
        assume_group: Option<String>,
    ) {
        let expiry_ms = self.now_ms() + self.settings.access_token_seconds * 1000;
        let token = AccessToken { principal, scopes, assume_group, expiry_ms };
        self.access_tokens.insert(sha256_hex(value), token);
    }

    /// Refuses callers who may not use personal access tokens here.
    pub(crate) fn check_token_use(&self, caller: &Caller) -> Result<(), ApiError> {
        if !self.settings.tokens_enabled {
            return Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "FEATURE_DISABLED",
                "Personal access tokens are disabled for this workspace.",
            ));
        }
        let allowed = self.settings.can_use_tokens
            && self.workspace(&caller.workspace_id)?.may_use_tokens(&caller.principal);
        if allowed {
            Ok(())
        } else {
            Err(ApiError::permission_denied("User does not have permission to use tokens."))
        }
    }

    /// Refuses changes of tokens where the workspace has no API for them.
    pub(crate) fn check_patch(&self, path: &str) -> Result<(), ApiError> {
        if self.settings.patch { Ok(()) } else { Err(ApiError::no_such_endpoint("PATCH", path)) }
    }

    /// Makes a token of `owner` and returns its value and a copy of it.
    pub(crate) fn create_token(
        &mut self,
        workspace_id: &str,
        owner: u64,
        created_by: u64,
        new: NewToken,
    ) -> Result<(String, Token), ApiError> {
        let now_ms = self.now_ms();
        let max_seconds = self.settings.max_token_lifetime_days.map(|days| i64::from(days) * 24 * 60 * 60);
        let lifetime = match new.lifetime_seconds {
            Some(seconds) if seconds <= 0 => {
                return Err(ApiError::invalid_parameter(format!(
                    "requirement failed: Invalid timeout: {seconds}"
                )));
            }
            Some(seconds) if max_seconds.is_some_and(|max| seconds > max) => {
                return Err(ApiError::invalid_parameter(format!(
                    "Token lifetime of {seconds} seconds exceeds the maximum token lifetime of this workspace \
                     ({} days).",
                    self.settings.max_token_lifetime_days.unwrap_or_default()
                )));
            }
            given => given.or(max_seconds),
        };
        check_scope_names(&new.scopes)?;
        check_comment(new.comment.as_deref())?;
        let quota = self.settings.quota;
        let quota_status = self.settings.quota_status;
        let workspace = self.workspace_mut(workspace_id)?;
        if workspace.live_tokens(now_ms).filter(|token| token.owner == owner).count() >= quota {
            return Err(ApiError::new(
                quota_status,
                "QUOTA_EXCEEDED",
                format!("Token quota exceeded ({quota} tokens)"),
            ));
        }
        let value = format!("dapi{}", random_hex(16));
        let token = Token {
            id: sha256_hex(&value),
            comment: new.comment,
            creation_ms: now_ms,
            expiry_ms: lifetime.map_or(-1, |seconds| now_ms.saturating_add(seconds.saturating_mul(1000))),
            scopes: new.scopes,
            autoscope_enabled: new.autoscope_enabled,
            used_scopes: BTreeSet::new(),
            owner,
            created_by,
            last_used_day_ms: None,
            revoked_at_ms: None,
            initial: false,
        };
        workspace.insert(token.clone());
        Ok((value, token))
    }
}

/// Changes the fields that `mask` names (`comment`, `scopes`) to those of a token in a PATCH body.
pub(crate) fn patch_token(
    token: &mut Token,
    comment: Option<String>,
    scopes: Option<Vec<String>>,
    mask: &str,
) -> Result<(), ApiError> {
    let fields: Vec<&str> = mask.split(',').collect();
    if let Some(unknown) = fields.iter().find(|field| !matches!(**field, "comment" | "scopes")) {
        return Err(ApiError::invalid_parameter(format!(
            "update_mask: field {unknown:?} can not be updated, only comment and scopes can"
        )));
    }
    let scopes = scopes.unwrap_or_default();
    if fields.contains(&"comment") {
        check_comment(comment.as_deref())?;
    }
    if fields.contains(&"scopes") {
        check_scope_names(&scopes)?;
        token.scopes = scopes;
    }
    if fields.contains(&"comment") {
        token.comment = Some(comment.unwrap_or_default());
    }
    Ok(())
}

fn check_comment(comment: Option<&str>) -> Result<(), ApiError> {
    if comment.is_some_and(|comment| comment.chars().count() > MAX_COMMENT_CHARS) {
        return Err(ApiError::invalid_parameter(format!(
            "comment: must not be longer than {MAX_COMMENT_CHARS} characters"
        )));
    }
    Ok(())
}

pub(crate) fn check_scope_names(scopes: &[String]) -> Result<(), ApiError> {
    if scopes.iter().any(|scope| scope.trim().is_empty()) {
        return Err(ApiError::invalid_parameter("scopes: a scope must not be empty"));
    }
    Ok(())
}

/// The API scope that a request needs, for the APIs served here.
fn scope_of(path: &str) -> Option<&'static str> {
    let path = path.strip_prefix("/api/2.0/")?;
    let secrets = path.starts_with("accounts/") && path.contains("/credentials/secrets");
    if secrets || path.starts_with("token") || path.starts_with("permissions/authorization") {
        Some("authentication")
    } else if path.starts_with("preview/scim") {
        Some("scim")
    } else {
        None
    }
}

/// Only the APIs of tokens and secrets check scopes: the scope that they need is documented, those of others aren't.
fn check_scope(held: &[impl AsRef<str>], needed: Option<&str>) -> Result<(), ApiError> {
    let refused = needed == Some("authentication")
        && !held.is_empty()
        && !held.iter().any(|scope| matches!(scope.as_ref(), "all-apis" | "authentication"));
    if refused {
        return Err(ApiError::permission_denied(
            "Provided token does not have required scopes: authentication",
        ));
    }
    Ok(())
}

/// Whether lists already show what was made at that time.
pub(crate) fn is_listed(made_ms: i64, now_ms: i64, lag_ms: i64) -> bool {
    made_ms.saturating_add(lag_ms) <= now_ms
}

fn no_workspace(id: &str) -> ApiError {
    ApiError::does_not_exist(format!("Workspace {id} does not exist."))
}

/// A credential as sent in the Authorization header.
pub(crate) enum Credential {
    Bearer(String),
    Basic { user: String, password: String },
}

/// Reads the Authorization header.
pub(crate) fn credential(headers: &HeaderMap) -> Option<Credential> {
    use base64::Engine;
    let header = headers.get(axum::http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = header.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credential::Bearer(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some(Credential::Basic { user: user.to_owned(), password: password.to_owned() })
}

/// SHA-256 of a text, in hexadecimal.
pub(crate) fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// `bytes` random bytes, in hexadecimal.
pub(crate) fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    rand::rng().fill(&mut buffer[..]);
    hex(&buffer)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An HTTP status as a number.
pub(crate) mod status {
    use axum::http::StatusCode;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(status.as_u16())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StatusCode, D::Error> {
        StatusCode::from_u16(u16::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
