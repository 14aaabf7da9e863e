//! The whole state as JSON, to be restored later or elsewhere, and what a workspace is seeded with.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Options;
use crate::control::Changes;
use crate::error::ApiError;
use crate::federation::Policy;
use crate::secrets::Secret;
use crate::state::{AccessToken, Host, Principal, Settings, State, SubjectToken, WorkspaceState};

/// Snapshots of another format are refused.
const FORMAT: u32 = 1;

/// Everything except faults and requests. Credentials are in it as their SHA-256 only.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    format: u32,
    /// The workspace's time, from which it goes on when the snapshot is restored.
    now_ms: i64,
    settings: Settings,
    principals: Vec<Principal>,
    next_principal_id: u64,
    secrets: Vec<Secret>,
    workspaces: BTreeMap<String, WorkspaceState>,
    default_workspace: String,
    account_id: String,
    host: Host,
    access_tokens: HashMap<String, AccessToken>,
    subject_tokens: HashMap<String, SubjectToken>,
    federation_policies: Vec<Policy>,
    password_hash: Option<String>,
}

impl Snapshot {
    pub(crate) fn take(state: &State) -> Self {
        Self {
            format: FORMAT,
            now_ms: state.now_ms(),
            settings: state.settings.clone(),
            principals: state.principals.clone(),
            next_principal_id: state.next_principal_id,
            secrets: state.secrets.clone(),
            workspaces: state.workspaces.clone(),
            default_workspace: state.default_workspace.clone(),
            account_id: state.account_id.clone(),
            host: state.host.clone(),
            access_tokens: state.access_tokens.clone(),
            subject_tokens: state.subject_tokens.clone(),
            federation_policies: state.federation_policies.clone(),
            password_hash: state.password_hash.clone(),
        }
    }

    /// Replaces the state, except faults and requests. The credentials that this program was started with go on
    /// working.
    pub(crate) fn restore(self, state: &mut State, options: &Options) -> Result<(), ApiError> {
        let wrong =
            |problem: String| ApiError::invalid_parameter(format!("This is not a snapshot: {problem}"));
        if self.format != FORMAT {
            return Err(wrong(format!("its format is {}, and {FORMAT} is the one known here", self.format)));
        }
        let admin = state.admin_id();
        if !self.principals.iter().any(|principal| principal.id == admin) {
            return Err(wrong(format!("it has no principal with the id {admin}, the first user")));
        }
        if !self.workspaces.contains_key(&self.default_workspace) {
            return Err(wrong(format!("it has no workspace {}", self.default_workspace)));
        }
        state.settings = self.settings;
        state.principals = self.principals;
        state.next_principal_id = self.next_principal_id;
        state.secrets = self.secrets;
        state.workspaces = self.workspaces;
        state.default_workspace = self.default_workspace;
        state.account_id = self.account_id;
        state.host = self.host;
        state.access_tokens = self.access_tokens;
        state.subject_tokens = self.subject_tokens;
        state.federation_policies = self.federation_policies;
        state.password_hash = self.password_hash;
        state.set_clock(self.now_ms);
        for (id, workspace) in &mut state.workspaces {
            workspace.id.clone_from(id);
            workspace.rebuild_index();
        }
        let (now_ms, default_workspace) = (state.now_ms(), state.default_workspace.clone());
        let workspace = state.workspace_mut(&default_workspace)?;
        if workspace.token(&crate::state::sha256_hex(&options.token)).is_none() {
            workspace.add_initial_token(&options.token, admin, now_ms);
        }
        state.add_initial_principal(options);
        Ok(())
    }
}

/// Applies a seed: a snapshot, or bodies of calls of the control API.
pub(crate) fn seed(state: &mut State, options: &Options, seed: Value) -> Result<(), ApiError> {
    let wrong = |error: serde_json::Error| ApiError::invalid_parameter(error.to_string());
    if seed.get("format").is_some() {
        return Snapshot::deserialize(seed).map_err(wrong)?.restore(state, options);
    }
    Changes::deserialize(seed).map_err(wrong)?.apply(state)
}
