//! Several identities in one workspace: users with tokens of their own, and tokens on behalf of others.

use reqwest::Method;
use serde_json::json;

use crate::{CREATE, DAY_MS, DELETE, LIST, Local, ME, answer, assert_error, ids, text};

const ON_BEHALF: &str = "/api/2.0/token-management/on-behalf-of/tokens";
const TOKENS: &str = "/api/2.0/token-management/tokens";

#[tokio::test]
async fn users_see_and_revoke_their_own_tokens_only() {
    let local = Local::start().await;
    let user = local.control("/users", json!({"user_name": "second@example.com"})).await;
    let second = text(&user["token"]);
    let post_as_second = async |path: &str, body| {
        answer(local.request(Method::POST, path).bearer_auth(&second).json(&body)).await
    };
    assert_eq!(local.get_as(&second, ME).await.1["userName"], "second@example.com");
    // The initial token is not listed.
    assert_eq!(local.get_as(&second, LIST).await.1, json!({}));

    let (value, admins) = local.mint(json!({"comment": "admin's"})).await;
    let (status, made) = post_as_second(CREATE, json!({"comment": "second's"})).await;
    assert_eq!(status, 200);
    let seconds = text(&made["token_info"]["token_id"]);
    assert_eq!(ids(&local.get_as(&second, LIST).await.1), std::slice::from_ref(&seconds));
    assert_eq!(local.listed().await, std::slice::from_ref(&admins));

    let refused = post_as_second(DELETE, json!({"token_id": admins})).await;
    assert_error(refused, 404, "RESOURCE_DOES_NOT_EXIST");
    let refused = local.post(DELETE, json!({"token_id": seconds})).await;
    assert_error(refused, 404, "RESOURCE_DOES_NOT_EXIST");
    assert_eq!(local.get_as(&value, ME).await.0, 200);

    // An admin reaches every token through token management, and nobody else does.
    for method in [Method::GET, Method::DELETE] {
        let request = local.request(method, &format!("{TOKENS}/{admins}")).bearer_auth(&second);
        assert_error(answer(request).await, 403, "PERMISSION_DENIED");
    }
    let refused = post_as_second(ON_BEHALF, json!({"application_id": "robot"})).await;
    assert_error(refused, 403, "PERMISSION_DENIED");
    let path = format!("{TOKENS}/{seconds}");
    assert_eq!(local.get(&path).await.1["token_info"]["owner_id"], user["id"]);
    assert_eq!(local.send(Method::DELETE, &path, json!({})).await.0, 200);
    assert_error(local.send(Method::DELETE, &path, json!({})).await, 404, "RESOURCE_DOES_NOT_EXIST");
    assert_eq!(local.get_as(&second, LIST).await.1, json!({}));
}

#[tokio::test]
async fn a_user_registered_again_keeps_its_id_and_may_become_an_admin() {
    let local = Local::start().await;
    let new = json!({"user_name": "second@example.com", "token": "dapi-second"});
    let user = local.control("/users", new).await;
    assert_eq!(user["token"], "dapi-second");
    assert_error(local.get_as("dapi-second", TOKENS).await, 403, "PERMISSION_DENIED");
    let again = local.control("/users", json!({"user_name": "second@example.com", "admin": true})).await;
    assert_eq!(again["id"], user["id"]);
    assert_eq!(local.get_as("dapi-second", TOKENS).await.0, 200);
    assert_eq!(local.get_as(&text(&again["token"]), TOKENS).await.0, 200);

    let flags = local.control("/principals/second@example.com", json!({"admin": false})).await;
    assert_eq!(flags, json!({"id": user["id"], "admin": false, "account_admin": false}));
    assert_error(local.get_as("dapi-second", TOKENS).await, 403, "PERMISSION_DENIED");
    let unknown = local.request(Method::POST, "/local/control/principals/7").json(&json!({}));
    assert_error(answer(unknown).await, 404, "RESOURCE_DOES_NOT_EXIST");
    let seen = local.state().await.to_string();
    assert!(!seen.contains("dapi-second"), "{seen}");
}

#[tokio::test]
async fn a_token_on_behalf_of_a_principal_lives_until_its_expiry() {
    let local = Local::start().await;
    let robot = local.control("/service-principals", json!({"application_id": "robot"})).await;
    let body = json!({
        "application_id": "robot", "lifetime_seconds": 60, "comment": "c", "scopes": ["authentication", "scim"],
    });
    let (status, made) = local.post(ON_BEHALF, body).await;
    assert_eq!(status, 200, "{made}");
    let value = text(&made["token_value"]);
    let info = &made["token_info"];
    assert_eq!((&info["comment"], &info["scopes"]), (&json!("c"), &json!(["authentication", "scim"])));
    assert_eq!(info["autoscope_state"], "AUTOSCOPE_STATE_USER_SELECTED");
    assert_eq!(
        (&info["owner_id"], &info["created_by_username"]),
        (&robot["id"], &json!("admin@example.com"))
    );
    assert_eq!(info["expiry_time"].as_i64().unwrap() - info["creation_time"].as_i64().unwrap(), 60_000);
    assert_eq!(local.get_as(&value, ME).await.1["userName"], "robot");

    let path = format!("{TOKENS}/{}", text(&info["token_id"]));
    let patch = json!({"token": {"comment": "new", "scopes": ["scim"]}, "update_mask": "comment,scopes"});
    let (_, changed) = local.send(Method::PATCH, &path, patch).await;
    assert_eq!((&changed["comment"], &changed["scopes"]), (&json!("new"), &json!(["scim"])));
    assert_error(local.get_as(&value, LIST).await, 403, "PERMISSION_DENIED");

    local.advance_clock(60_000).await;
    assert_error(local.get_as(&value, ME).await, 403, 403);
    assert_eq!(local.get(&path).await.1["token_info"]["comment"], "new");
    assert_eq!(local.get(TOKENS).await.1, json!({}));
    assert_eq!(local.send(Method::DELETE, &path, json!({})).await.0, 200);
    assert_error(local.get(&path).await, 404, "RESOURCE_DOES_NOT_EXIST");

    let (_, long) =
        local.post(ON_BEHALF, json!({"application_id": "robot", "autoscope_enabled": true})).await;
    assert_eq!(long["token_info"]["autoscope_state"], "AUTOSCOPE_STATE_RUNNING");
    let long = &long["token_info"];
    assert_eq!(long["expiry_time"].as_i64().unwrap() - long["creation_time"].as_i64().unwrap(), 730 * DAY_MS);
    let zero = local.post(ON_BEHALF, json!({"application_id": "robot", "lifetime_seconds": 0})).await;
    assert_eq!(assert_error(zero, 400, "INVALID_PARAMETER_VALUE"), "requirement failed: Invalid timeout: 0");
}

#[tokio::test]
async fn a_deleted_principal_takes_its_tokens_with_it() {
    let local = Local::start().await;
    let robot = local.control("/service-principals", json!({"application_id": "robot"})).await;
    let (_, made) = local.post(ON_BEHALF, json!({"application_id": "robot"})).await;
    let value = text(&made["token_value"]);
    let path = format!("{TOKENS}/{}", text(&made["token_info"]["token_id"]));
    assert_eq!(local.get_as(&value, ME).await.0, 200);
    local.control("/service-principals/robot/delete", json!({})).await;
    assert_error(local.get_as(&value, ME).await, 403, 403);
    assert_error(local.get(&path).await, 404, "RESOURCE_DOES_NOT_EXIST");
    let refused = local.post(ON_BEHALF, json!({"application_id": "robot"})).await;
    assert_error(refused, 400, "INVALID_PARAMETER_VALUE");
    // One that is registered later is another principal.
    let another = local.control("/service-principals", json!({"application_id": "robot"})).await;
    assert_ne!(another["id"], robot["id"]);
    assert_error(local.get_as(&value, ME).await, 403, 403);
    let gone = local.request(Method::POST, "/local/control/service-principals/nobody/delete");
    assert_error(answer(gone).await, 404, "RESOURCE_DOES_NOT_EXIST");
}

#[tokio::test]
async fn comments_have_at_most_255_characters() {
    let local = Local::start().await;
    local.control("/service-principals", json!({"application_id": "robot"})).await;
    let (fits, long) = ("é".repeat(255), "é".repeat(256));
    let (_, id) = local.mint(json!({"comment": fits})).await;
    assert_error(local.post(CREATE, json!({"comment": long})).await, 400, "INVALID_PARAMETER_VALUE");
    let on_behalf = json!({"application_id": "robot", "comment": long});
    assert_error(local.post(ON_BEHALF, on_behalf).await, 400, "INVALID_PARAMETER_VALUE");
    let patch = json!({"token": {"comment": long}, "update_mask": "comment"});
    for path in [format!("/api/2.0/token/{id}"), format!("{TOKENS}/{id}")] {
        let refused = local.send(Method::PATCH, &path, patch.clone()).await;
        assert_error(refused, 400, "INVALID_PARAMETER_VALUE");
    }
    assert_eq!(local.get(LIST).await.1["token_infos"][0]["comment"], fits);
}

#[tokio::test]
async fn a_refusal_names_the_id_that_was_asked_for() {
    let local = Local::start().await;
    let user = local.control("/users", json!({"user_name": "second@example.com"})).await;
    let (_, admins) = local.mint(json!({})).await;
    let made = local.request(Method::POST, CREATE).bearer_auth(text(&user["token"])).json(&json!({}));
    let seconds = text(&answer(made).await.1["token_info"]["token_id"]);
    let robot =
        local.control("/service-principals", json!({"application_id": "robot"})).await["id"].to_string();
    let secrets =
        |principal: &str| format!("/api/2.0/accounts/servicePrincipals/{principal}/credentials/secrets");
    let change = json!({"token": {"comment": "c"}, "update_mask": "comment"});

    // Another user's token is as unknown as one that never was, even to an admin.
    for id in [seconds.as_str(), "never"] {
        let refused = local.post(DELETE, json!({"token_id": id})).await;
        let message = assert_error(refused, 404, "RESOURCE_DOES_NOT_EXIST");
        assert!(message.contains(id), "{message}");
        let refused = local.send(Method::PATCH, &format!("/api/2.0/token/{id}"), change.clone()).await;
        let message = assert_error(refused, 404, "NOT_FOUND");
        assert!(message.contains(id), "{message}");
    }
    let refused = local.request(Method::PATCH, &format!("{TOKENS}/{admins}"));
    let refused = answer(refused.bearer_auth(text(&user["token"])).json(&change)).await;
    assert_error(refused, 403, "PERMISSION_DENIED");
    for (method, path, id) in [
        (Method::GET, format!("{TOKENS}/never"), "never"),
        (Method::PATCH, format!("{TOKENS}/never"), "never"),
        (Method::DELETE, format!("{TOKENS}/never"), "never"),
        (Method::GET, secrets("99"), "99"),
        (Method::POST, secrets("99"), "99"),
        (Method::DELETE, format!("{}/never", secrets(&robot)), "never"),
    ] {
        let refused = local.send(method.clone(), &path, change.clone()).await;
        let message = assert_error(refused, 404, "RESOURCE_DOES_NOT_EXIST");
        assert!(message.contains(id), "{method} {path}: {message}");
    }
}
