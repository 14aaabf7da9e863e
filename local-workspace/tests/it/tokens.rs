//! Rules of personal access tokens.

use databricks_local_workspace::{Options, ServicePrincipal};
use reqwest::Method;
use serde_json::json;

use crate::{CREATE, DAY_MS, DELETE, LIST, Local, ME, answer, assert_error, ids, text};

#[tokio::test]
async fn a_created_token_has_the_documented_fields() {
    let local = Local::start().await;
    let before_ms = local.state().await["now_ms"].as_i64().unwrap();
    let (status, body) = local.post(CREATE, json!({"comment": "c é", "lifetime_seconds": 300})).await;
    assert_eq!(status, 200);
    assert!(text(&body["token_value"]).starts_with("dapi"));
    let info = &body["token_info"];
    assert_eq!(info["comment"], "c é");
    let id = text(&info["token_id"]);
    assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let created_ms = info["creation_time"].as_i64().unwrap();
    assert!((before_ms..before_ms + 60_000).contains(&created_ms));
    assert_eq!(info["expiry_time"].as_i64().unwrap(), created_ms + 300_000);
    assert_eq!(local.get(LIST).await, (200, json!({"token_infos": [info]})));
}

#[tokio::test]
async fn an_empty_list_has_no_token_infos() {
    let local = Local::start().await;
    assert_eq!(local.get(LIST).await, (200, json!({})));
}

#[tokio::test]
async fn lifetimes() {
    let local = Local::start().await;
    let max_seconds = 730 * DAY_MS / 1000;
    let life = async |body| {
        let info = local.post(CREATE, body).await.1["token_info"].clone();
        info["expiry_time"].as_i64().unwrap() - info["creation_time"].as_i64().unwrap()
    };
    assert_eq!(life(json!({})).await, 730 * DAY_MS);
    assert_eq!(life(json!({"lifetime_seconds": null})).await, 730 * DAY_MS);
    assert_eq!(life(json!({"lifetime_seconds": max_seconds})).await, 730 * DAY_MS);
    assert_eq!(life(json!({"lifetime_seconds": "60"})).await, 60_000);
    assert_eq!(life(json!({"lifetime_seconds": 8.64e6})).await, 100 * DAY_MS);

    let zero = local.post(CREATE, json!({"lifetime_seconds": 0})).await;
    assert_eq!(assert_error(zero, 400, "INVALID_PARAMETER_VALUE"), "requirement failed: Invalid timeout: 0");
    for refused in [-1, max_seconds + 1, i64::MAX] {
        assert_error(
            local.post(CREATE, json!({"lifetime_seconds": refused})).await,
            400,
            "INVALID_PARAMETER_VALUE",
        );
    }
    for unreadable in [json!("x"), json!(1.5), json!(true)] {
        let message = assert_error(
            local.post(CREATE, json!({"lifetime_seconds": unreadable})).await,
            400,
            "MALFORMED_REQUEST",
        );
        assert!(message.contains("64 bit integer"), "{message}");
    }
}

#[tokio::test]
async fn without_a_maximum_a_token_without_lifetime_never_expires() {
    let local = Local::start_with(Options { max_token_lifetime_days: None, ..Options::default() }).await;
    let (value, _) = local.mint(json!({})).await;
    assert_eq!(local.get(LIST).await.1["token_infos"][0]["expiry_time"], -1);
    local.advance_clock(10_000 * DAY_MS).await;
    assert_eq!(local.get_as(&value, LIST).await.0, 200);
    // The limit may also come and go while the workspace runs.
    local.control("/settings", json!({"max_token_lifetime_days": 1})).await;
    assert_error(
        local.post(CREATE, json!({"lifetime_seconds": 2 * DAY_MS / 1000})).await,
        400,
        "INVALID_PARAMETER_VALUE",
    );
}

#[tokio::test]
async fn zero_values_are_kept() {
    let local = Local::start().await;
    let (_, body) =
        local.post(CREATE, json!({"comment": "", "scopes": [], "autoscope_enabled": false})).await;
    assert_eq!(body["token_info"]["comment"], "");
    let (_, body) = local.post(CREATE, json!({})).await;
    assert_eq!(body["token_info"].get("comment"), None);
    assert_eq!(body["token_info"].get("scopes"), None);
}

#[tokio::test]
async fn bodies_need_no_json_content_type_and_may_be_chunked_or_absent() {
    let local = Local::start().await;
    let create = || local.request(Method::POST, CREATE).bearer_auth(local.token());
    let typed = create().header("Content-Type", "text/json").body(r#"{"comment":"typed"}"#);
    assert_eq!(answer(typed).await.1["token_info"]["comment"], "typed");
    assert_eq!(answer(create()).await.0, 200);
    assert_error(answer(create().body("{")).await, 400, "MALFORMED_REQUEST");

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(local.running.address()).await.unwrap();
    let request = format!(
        "POST {CREATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n8\r\n{{\"commen\r\nd\r\nt\":\"chunked\"}}\r\n0\r\n\r\n",
        local.token()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200") && response.contains("\"chunked\""), "{response}");
}

#[tokio::test]
async fn a_minted_token_works_at_once_until_it_is_revoked() {
    let local = Local::start().await;
    let (value, id) = local.mint(json!({"lifetime_seconds": 300})).await;
    let (_, me) = local.get_as(&value, ME).await;
    assert_eq!(me["userName"], "admin@example.com");
    // It belongs to the same user, so it sees and may revoke itself.
    assert_eq!(ids(&local.get_as(&value, LIST).await.1), std::slice::from_ref(&id));
    assert_eq!(local.post(DELETE, json!({"token_id": id})).await, (200, json!({})));
    let refused = local.get_as(&value, ME).await;
    assert_eq!(assert_error(refused, 403, 403), "Invalid access token.");
    assert!(local.listed().await.is_empty());
    assert_error(local.post(DELETE, json!({"token_id": id})).await, 404, "RESOURCE_DOES_NOT_EXIST");
}

#[tokio::test]
async fn a_token_ends_when_the_clock_says_so() {
    let local = Local::start().await;
    let (value, id) = local.mint(json!({"lifetime_seconds": 300})).await;
    local.advance_clock(270_000).await;
    assert_eq!(local.get_as(&value, LIST).await.0, 200);
    local.advance_clock(30_000).await;
    assert_error(local.get_as(&value, LIST).await, 403, 403);
    assert!(local.listed().await.is_empty());
    let patch = json!({"token": {"comment": "x"}, "update_mask": "comment"});
    assert_error(local.send(Method::PATCH, &format!("/api/2.0/token/{id}"), patch).await, 404, "NOT_FOUND");
    assert_error(local.post(DELETE, json!({"token_id": id})).await, 404, "RESOURCE_DOES_NOT_EXIST");

    local.control("/clock", json!({"set_ms": 1_000})).await;
    let now_ms = local.state().await["now_ms"].as_i64().unwrap();
    assert!((1_000..60_000).contains(&now_ms), "{now_ms}");
}

#[tokio::test]
async fn credentials_are_checked() {
    let local = Local::start_with(Options { password: Some("pass:word".into()), ..Options::default() }).await;
    let message = assert_error(answer(local.request(Method::GET, LIST)).await, 401, 401);
    assert!(message.starts_with("Credential was not sent"), "{message}");
    let response = local.request(Method::GET, LIST).bearer_auth("dapi0").send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(response.headers()["x-databricks-reason-phrase"], "Invalid access token.");
    assert_eq!(response.headers()["x-databricks-org-id"], "1234567890123456");
    assert!(response.headers().contains_key("x-request-id"));

    let basic = |user, password| local.request(Method::GET, LIST).basic_auth(user, Some(password));
    assert_eq!(answer(basic("admin@example.com", "pass:word")).await.0, 200);
    assert_eq!(answer(basic("token", local.token())).await.0, 200);
    assert_error(answer(basic("admin@example.com", "word")).await, 403, 403);
    assert_error(answer(basic("somebody", "pass:word")).await, 403, 403);
    let no_password = Local::start().await;
    let basic = no_password.request(Method::GET, LIST).basic_auth("admin@example.com", Some(""));
    assert_error(answer(basic).await, 403, 403);
}

#[tokio::test]
async fn an_update_changes_what_its_mask_names() {
    let local = Local::start().await;
    let (_, id) = local.mint(json!({"comment": "old", "scopes": ["sql"]})).await;
    let path = format!("/api/2.0/token/{id}");
    let update = async |token, mask| {
        local.send(Method::PATCH, &path, json!({"token": token, "update_mask": mask})).await
    };
    let shown = async || {
        let info = local.get(LIST).await.1["token_infos"][0].clone();
        (info["comment"].clone(), info["scopes"].clone())
    };
    let new = json!({"comment": "new", "scopes": ["jobs", "all-apis"], "expiry_time": 1});
    assert_eq!(update(new.clone(), "comment").await, (200, json!({})));
    assert_eq!(shown().await, (json!("new"), json!(["sql"])));
    assert_eq!(update(new, "comment,scopes").await.0, 200);
    assert_eq!(shown().await, (json!("new"), json!(["jobs", "all-apis"])));
    assert_eq!(update(json!({}), "comment").await.0, 200);
    assert_eq!(shown().await.0, "");
    for mask in ["", "expiry_time", "comment, scopes"] {
        assert_error(update(json!({"comment": "x"}), mask).await, 400, "INVALID_PARAMETER_VALUE");
    }
    assert_error(update(json!({"scopes": [""]}), "scopes").await, 400, "INVALID_PARAMETER_VALUE");
    assert_eq!(shown().await, (json!(""), json!(["jobs", "all-apis"])));
}

#[tokio::test]
async fn the_quota_counts_live_tokens_of_one_user() {
    let local = Local::start_with(Options {
        quota: 2,
        service_principal: Some(ServicePrincipal::default()),
        ..Options::default()
    })
    .await;
    local.mint(json!({"lifetime_seconds": 60})).await;
    let (_, second) = local.mint(json!({})).await;
    let message = assert_error(local.post(CREATE, json!({})).await, 400, "QUOTA_EXCEEDED");
    assert!(message.contains('2'), "{message}");
    // Another principal's tokens are counted separately.
    let application_id = databricks_local_workspace::DEFAULT_CLIENT_ID;
    let on_behalf = "/api/2.0/token-management/on-behalf-of/tokens";
    assert_eq!(local.post(on_behalf, json!({"application_id": application_id})).await.0, 200);
    // An expired and a revoked one make room.
    local.advance_clock(60_000).await;
    local.mint(json!({})).await;
    local.post(DELETE, json!({"token_id": second})).await;
    local.mint(json!({})).await;
    local.control("/quota", json!({"quota": 0, "status": 429})).await;
    assert_error(local.post(CREATE, json!({})).await, 429, "QUOTA_EXCEEDED");
}

#[tokio::test]
async fn scopes_limit_what_a_token_reaches() {
    let local = Local::start().await;
    let (sql, _) = local.mint(json!({"scopes": ["sql"]})).await;
    let message = assert_error(local.get_as(&sql, LIST).await, 403, "PERMISSION_DENIED");
    assert!(message.contains("authentication"), "{message}");
    let (minting, _) = local.mint(json!({"scopes": ["sql", "authentication"]})).await;
    assert_eq!(local.get_as(&minting, LIST).await.0, 200);
    assert_error(local.post(CREATE, json!({"scopes": [" "]})).await, 400, "INVALID_PARAMETER_VALUE");
}

#[tokio::test]
async fn long_lived_tokens_are_autoscoped_unless_told_otherwise() {
    let local = Local::start().await;
    let info = async |id: String| {
        let infos = local.get(LIST).await.1["token_infos"].clone();
        infos.as_array().unwrap().iter().find(|info| info["token_id"] == id).unwrap().clone()
    };
    let state = async |body| {
        let (_, id) = local.mint(body).await;
        text(&info(id).await["autoscope_state"])
    };
    assert_eq!(state(json!({"scopes": ["sql"]})).await, "AUTOSCOPE_STATE_USER_SELECTED");
    assert_eq!(state(json!({"autoscope_enabled": false})).await, "AUTOSCOPE_STATE_DISABLED");
    assert_eq!(state(json!({"lifetime_seconds": 60})).await, "AUTOSCOPE_STATE_DISABLED");
    let (value, id) = local.mint(json!({})).await;
    assert_eq!(info(id.clone()).await["autoscope_state"], "AUTOSCOPE_STATE_RUNNING");
    local.get_as(&value, ME).await;
    local.advance_clock(30 * DAY_MS).await;
    let narrowed = info(id).await;
    assert_eq!(narrowed["autoscope_state"], "AUTOSCOPE_STATE_COMPLETED");
    assert_eq!(narrowed["inferred_scopes"], json!(["scim"]));
    assert_error(local.get_as(&value, LIST).await, 403, "PERMISSION_DENIED");
}

#[tokio::test]
async fn admins_manage_everybodys_tokens() {
    let local = Local::start_with(Options {
        service_principal: Some(ServicePrincipal { client_id: "robot".into(), client_secret: "s".into() }),
        ..Options::default()
    })
    .await;
    let tokens = "/api/2.0/token-management/tokens";
    assert_eq!(local.get(tokens).await, (200, json!({})));
    let (_, own) = local.mint(json!({"comment": "own"})).await;
    let on_behalf = json!({"application_id": "robot", "comment": "robot's", "lifetime_seconds": 60});
    let path = "/api/2.0/token-management/on-behalf-of/tokens";
    let (_, made) = local.post(path, on_behalf).await;
    let (robots, robots_value) = (text(&made["token_info"]["token_id"]), text(&made["token_value"]));
    assert_eq!(local.listed().await, std::slice::from_ref(&own));
    assert_eq!(ids(&local.get_as(&robots_value, LIST).await.1), std::slice::from_ref(&robots));

    assert_eq!(ids(&local.get(tokens).await.1), [own.clone(), robots.clone()]);
    let (_, one) = local.get(&format!("{tokens}/{robots}")).await;
    let info = &one["token_info"];
    assert_eq!(info["created_by_username"], "admin@example.com");
    assert_eq!(info["workspace_id"], 1_234_567_890_123_456_i64);
    assert_ne!(info["owner_id"], info["created_by_id"]);
    assert_eq!(info["last_used_day"].as_i64().unwrap() % DAY_MS, 0);
    let by_name = format!("{tokens}?created_by_username=admin%40example.com");
    assert_eq!(ids(&local.get(&by_name).await.1).len(), 2);
    assert_eq!(local.get(&format!("{tokens}?created_by_username=robot")).await.1, json!({}));
    assert_eq!(local.get(&format!("{tokens}?created_by_id=7")).await.1, json!({}));
    assert_error(local.get(&format!("{tokens}?created_by_id=x")).await, 400, "INVALID_PARAMETER_VALUE");

    let patch = json!({"token": {"comment": "renamed"}, "update_mask": "comment"});
    let (_, renamed) = local.send(Method::PATCH, &format!("{tokens}/{own}"), patch).await;
    assert_eq!(renamed["comment"], "renamed");
    assert_eq!(local.send(Method::DELETE, &format!("{tokens}/{robots}"), json!({})).await.0, 200);
    assert_error(local.get_as(&robots_value, LIST).await, 403, 403);
    let gone = local.get(&format!("{tokens}/{robots}")).await;
    assert_error(gone, 404, "RESOURCE_DOES_NOT_EXIST");
    // Neither an unknown id nor the numeric one is accepted, nor a user's name.
    for wrong in [json!("nobody"), json!(info["owner_id"].to_string()), json!("admin@example.com"), json!("")]
    {
        let refused = local.post(path, json!({"application_id": wrong})).await;
        assert_eq!(
            assert_error(refused, 400, "INVALID_PARAMETER_VALUE"),
            "expected to have application id of the service principal"
        );
    }
    assert_error(local.post(path, json!({})).await, 400, "INVALID_PARAMETER_VALUE");

    // A service principal that is no admin has nothing to manage.
    let (_, made) = local.post(path, json!({"application_id": "robot"})).await;
    let refused = local.get_as(&text(&made["token_value"]), tokens).await;
    assert_error(refused, 403, "PERMISSION_DENIED");
    local.control("/permissions", json!({"on_behalf_of_enabled": false})).await;
    let off = local.post(path, json!({"application_id": "robot"})).await;
    assert!(assert_error(off, 403, "PERMISSION_DENIED").contains("is not enabled"));
}

#[tokio::test]
async fn permissions_decide_who_uses_tokens() {
    let local = Local::start_with(Options {
        service_principal: Some(ServicePrincipal { client_id: "robot".into(), client_secret: "s".into() }),
        ..Options::default()
    })
    .await;
    let acl = "/api/2.0/permissions/authorization/tokens";
    let path = "/api/2.0/token-management/on-behalf-of/tokens";
    let (_, made) = local.post(path, json!({"application_id": "robot"})).await;
    let robot = text(&made["token_value"]);
    assert_eq!(local.get_as(&robot, LIST).await.0, 200);

    let (status, body) = local.send(Method::PUT, acl, json!({"access_control_list": []})).await;
    assert_eq!((status, body["access_control_list"].as_array().unwrap().len()), (200, 1), "{body}");
    assert_eq!(
        assert_error(local.get_as(&robot, LIST).await, 403, "PERMISSION_DENIED"),
        "User does not have permission to use tokens."
    );
    assert_eq!(local.get(LIST).await.0, 200);
    let grant = json!({"service_principal_name": "robot", "permission_level": "CAN_USE"});
    assert_eq!(local.send(Method::PATCH, acl, json!({"access_control_list": [grant]})).await.0, 200);
    assert_eq!(local.get_as(&robot, LIST).await.0, 200);
    let wrong = json!([{"group_name": "users", "permission_level": "CAN_MANAGE"}]);
    let answer = local.send(Method::PUT, acl, json!({"access_control_list": wrong})).await;
    assert_error(answer, 400, "INVALID_PARAMETER_VALUE");
    let (_, levels) = local.get(&format!("{acl}/permissionLevels")).await;
    assert_eq!(levels["permission_levels"][0]["permission_level"], "CAN_USE");

    local.control("/permissions", json!({"can_use": false})).await;
    assert_error(local.post(CREATE, json!({})).await, 403, "PERMISSION_DENIED");
    local.control("/permissions", json!({"can_use": true, "tokens_enabled": false})).await;
    assert_error(local.get(LIST).await, 404, "FEATURE_DISABLED");
    local.control("/permissions", json!({"tokens_enabled": true})).await;
    assert_eq!(local.get(LIST).await.0, 200);
}

#[tokio::test]
async fn what_is_not_served_is_named() {
    let local = Local::start().await;
    for (method, path) in
        [(Method::GET, CREATE), (Method::GET, "/api/2.0/clusters/list"), (Method::PUT, LIST)]
    {
        let message =
            assert_error(local.send(method.clone(), path, json!({})).await, 404, "ENDPOINT_NOT_FOUND");
        let path = path.strip_prefix("/api/2.0").unwrap_or(path);
        assert_eq!(message, format!("No API found for '{method} {path}'"));
    }
    assert_error(local.post(DELETE, json!({})).await, 400, "INVALID_PARAMETER_VALUE");
}

#[tokio::test]
async fn the_current_user_can_leave_attributes_out() {
    let local = Local::start().await;
    let (_, me) = local.get(ME).await;
    assert!(me["entitlements"].is_array() && me["groups"].is_array());
    let (_, me) = local.get(&format!("{ME}?excludedAttributes=entitlements")).await;
    assert!(me.get("entitlements").is_none() && me["groups"].is_array());
}

#[tokio::test]
async fn a_workspace_may_have_no_patch() {
    let local = Local::start().await;
    let (_, id) = local.mint(json!({"comment": "before"})).await;
    local.control("/settings", json!({"patch": false})).await;
    let change = json!({"token": {"comment": "after"}, "update_mask": "comment"});
    for path in [format!("/token/{id}"), format!("/token-management/tokens/{id}")] {
        let answer = local.send(Method::PATCH, &format!("/api/2.0{path}"), change.clone()).await;
        let message = assert_error(answer, 404, "ENDPOINT_NOT_FOUND");
        assert_eq!(message, format!("No API found for 'PATCH {path}'"));
    }
    assert_eq!(local.state().await["tokens"][0]["comment"], "before");
    local.control("/settings", json!({"patch": true})).await;
    assert_eq!(local.send(Method::PATCH, &format!("/api/2.0/token/{id}"), change).await.0, 200);
}
