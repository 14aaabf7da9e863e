//! `databricks:index/getCurrentUser:getCurrentUser`, who the provider signs in as.

use async_trait::async_trait;

use super::{Definition, Function, check};
use crate::api::current_user;
use crate::client::Client;
use crate::context::Context;
use crate::property::{Input, Map, Record as _};
use crate::record;
use crate::resource::Error;
use crate::resource::placement::{self, HasProviderConfig, ProviderConfig};

/// The function.
#[derive(Clone)]
pub(super) struct GetCurrentUser;

record! {
    /// What a program asks with.
    struct Arguments {
        /// The workspace that is asked, if the provider's host serves several.
        provider_config: Input<ProviderConfig<GetCurrentUser>> = "providerConfig";
    }
}

record! {
    /// What it is told.
    struct Answer {
        /// Id of the user or service principal in access control rules, such as `users/ada@example.com`.
        acl_principal_id: String = "aclPrincipalId";
        /// The name up to its `@`, in lower case, with an underscore in place of each character that is not a
        /// letter, digit or underscore.
        alphanumeric: String = "alphanumeric";
        /// Id by which the identity provider knows it; empty where there is none.
        external_id: String = "externalId";
        /// Home folder, such as `/Users/ada@example.com`.
        home: String = "home";
        /// Numeric id.
        id: String = "id";
        /// The workspace that was asked.
        provider_config: ProviderConfig<GetCurrentUser> = "providerConfig";
        /// Folder of Git repositories, such as `/Repos/ada@example.com`.
        repos: String = "repos";
        /// Mail address of a user, application id of a service principal.
        user_name: String = "userName";
        /// URL of the workspace.
        workspace_url: String = "workspaceUrl";
    }
}

impl HasProviderConfig for GetCurrentUser {
    const PROVIDER_CONFIG_TYPE: &'static str =
        "databricks:index/getCurrentUserProviderConfig:getCurrentUserProviderConfig";
}

#[async_trait]
impl Function for GetCurrentUser {
    fn token(&self) -> &'static str {
        "databricks:index/getCurrentUser:getCurrentUser"
    }

    fn definition(&self) -> Definition {
        Definition {
            doc: "The user or service principal that the provider signs in as.",
            inputs: Arguments::ROWS,
            outputs: Answer::ROWS,
            types: &[(GetCurrentUser::PROVIDER_CONFIG_TYPE, "The workspace that is asked.", placement::ROWS)],
        }
    }

    async fn call(&self, client: &Client, ctx: &Context, stated: &Map, _: bool) -> Result<Map, Error> {
        check(self, stated)?;
        let Arguments { provider_config } = Arguments::decode(stated)?;
        let workspace = match placement::stated(&provider_config) {
            Input::Known(id) => Some(id),
            Input::Unknown | Input::Absent => None,
        };
        let client = client.for_workspace(ctx, workspace).await?;
        let user = current_user::get(&client, ctx).await?;
        let name = user.user_name;
        let kind = if is_uuid(&name) { "servicePrincipals" } else { "users" };
        let mut answer: Map = [
            ("aclPrincipalId", format!("{kind}/{name}")),
            ("alphanumeric", alphanumeric(&name)),
            ("externalId", user.external_id),
            ("home", format!("/Users/{name}")),
            ("id", user.id),
            ("repos", format!("/Repos/{name}")),
            ("workspaceUrl", client.host(ctx).await?),
            ("userName", name),
        ]
        .into_iter()
        .map(|(property, text)| (property.to_owned(), text.as_str().into()))
        .collect();
        let workspace_id = workspace.map(str::to_owned).or(user.workspace_id);
        answer.insert("providerConfig".to_owned(), placement::output(workspace_id));
        Ok(answer)
    }
}

/// Whether a name is that of a service principal.
fn is_uuid(name: &str) -> bool {
    let parts: Vec<_> = name.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The part of a name before its `@`, in characters that names of other things may have.
fn alphanumeric(name: &str) -> String {
    let before = name.split('@').next().unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    before.chars().map(|c| if allowed(c) { c.to_ascii_lowercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_cut_to_what_others_allow() {
        assert!(is_uuid("5e3a1c0f-0000-4000-8000-0000000000ff"));
        for name in ["ada@example.com", "5e3a1c0f-0000-4000-8000-0000000000fg", "5e3a1c0f", ""] {
            assert!(!is_uuid(name), "{name}");
        }
        assert_eq!(alphanumeric("Ada.Lovelace-1_x@example.com"), "ada_lovelace_1_x");
    }
}
