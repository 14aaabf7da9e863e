//! OAuth secrets of service principals.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{Answer, DAY_MS, LIST, Local, ME, answer, assert_error, text};

const FORM: &str = "application/x-www-form-urlencoded";

/// A workspace with the service principals `robot` and `boss`, who is an account admin.
struct WithRobot {
    local: Local,
    /// Numeric id of `robot`.
    id: String,
    /// Path of its secrets in the workspace's API, and in that of the account.
    proxy: String,
    account: String,
}

async fn start() -> WithRobot {
    let local = Local::start().await;
    let new = json!({"application_id": "robot", "client_secret": "initial"});
    let id = local.control("/service-principals", new).await["id"].to_string();
    let boss = json!({"application_id": "boss", "client_secret": "b", "account_admin": true});
    local.control("/service-principals", boss).await;
    let account_id = local.running.options().account_id.clone();
    let path =
        |account: &str| format!("/api/2.0/accounts{account}/servicePrincipals/{id}/credentials/secrets");
    let (proxy, account) = (path(""), path(&format!("/{account_id}")));
    WithRobot { local, id, proxy, account }
}

impl WithRobot {
    /// Asks the token endpoint for an access token.
    async fn sign_in(&self, client_id: &str, secret: &str, scope: &str) -> Answer {
        let request = self
            .local
            .request(Method::POST, "/oidc/v1/token")
            .basic_auth(client_id, Some(secret))
            .header("Content-Type", FORM)
            .body(format!("grant_type=client_credentials&scope={scope}"));
        answer(request).await
    }

    /// Whether `robot` can sign in with this secret.
    async fn works(&self, secret: &str) -> bool {
        let (status, body) = self.sign_in("robot", secret, "all-apis").await;
        assert!(status == 200 || (status, &body["error"]) == (401, &json!("invalid_client")), "{body}");
        status == 200
    }

    async fn create(&self, body: Value) -> Value {
        let (status, made) = self.local.post(&self.proxy, body).await;
        assert_eq!(status, 200, "{made}");
        made
    }

    async fn as_boss(&self, method: Method, path: &str, body: Value) -> Answer {
        let token = text(&self.sign_in("boss", "b", "all-apis").await.1["access_token"]);
        answer(self.local.request(method, path).bearer_auth(token).json(&body)).await
    }

    async fn listed(&self) -> Vec<String> {
        secret_ids(&self.local.get(&self.proxy).await.1)
    }
}

fn secret_ids(list: &Value) -> Vec<String> {
    list["secrets"].as_array().into_iter().flatten().map(|secret| text(&secret["id"])).collect()
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[tokio::test]
async fn a_created_secret_has_the_documented_fields_and_signs_in() {
    let robot = start().await;
    // A leap day.
    robot.local.control("/clock", json!({"set_ms": 1_835_395_200_000_i64})).await;
    let made = robot.create(json!({"lifetime": "3600s"})).await;
    assert!(is_hex(&text(&made["id"]), 64), "{made}");
    let value = text(&made["secret"]);
    assert!(value.strip_prefix("dose").is_some_and(|rest| is_hex(rest, 32)), "{made}");
    assert!(is_hex(&text(&made["secret_hash"]), 64), "{made}");
    assert_eq!(made["status"], "ACTIVE");
    assert_eq!(made.get("scopes"), None);
    let (created, expires) = (text(&made["create_time"]), text(&made["expire_time"]));
    assert!(created.starts_with("2028-02-29T00:00:") && created.ends_with('Z'), "{created}");
    assert!(expires.starts_with("2028-02-29T01:00:") && expires.len() == 24, "{expires}");
    assert_eq!(made["update_time"], made["create_time"]);

    assert!(robot.works(&value).await);
    assert!(robot.works("initial").await);
    assert!(!robot.works(&text(&made["secret_hash"])).await);
    assert_eq!(robot.sign_in("boss", &value, "all-apis").await.0, 401);
    let account_id = &robot.local.running.options().account_id;
    let request = robot
        .local
        .request(Method::POST, &format!("/oidc/accounts/{account_id}/v1/token"))
        .header("Content-Type", FORM)
        .body(format!("grant_type=client_credentials&client_id=robot&client_secret={value}"));
    let token = text(&answer(request).await.1["access_token"]);
    assert_eq!(robot.local.get_as(&token, ME).await.1["userName"], "robot");

    // The value is given once.
    let (_, list) = robot.local.get(&robot.proxy).await;
    let mut shown = made.clone();
    shown.as_object_mut().unwrap().remove("secret");
    assert_eq!(list, json!({"secrets": [shown]}));
}

#[tokio::test]
async fn lifetimes_of_secrets() {
    let robot = start().await;
    let life = async |body: Value| {
        let made = robot.create(body).await;
        let id = text(&made["id"]);
        let path = format!("{}/{id}", robot.proxy);
        assert_eq!(robot.local.send(Method::DELETE, &path, json!({})).await.0, 200);
        (text(&made["create_time"]), text(&made["expire_time"]))
    };
    robot.local.control("/clock", json!({"set_ms": 1_767_225_600_000_i64})).await;
    for (body, expected) in [
        (json!({}), "2028-01-01T00:"),
        (json!({"lifetime": "63072000s"}), "2028-01-01T00:"),
        (json!({"lifetime": "86400"}), "2026-01-02T00:"),
        (json!({"lifetime": "5184000.5s"}), "2026-03-02T00:"),
    ] {
        let (created, expires) = life(body).await;
        assert!(created.starts_with("2026-01-01T00:"), "{created}");
        assert!(expires.starts_with(expected), "{expires}");
    }
    for wrong in
        ["", "s", "abc", "30d", "0s", "-1s", "63072001s", "1.5.5s", "1.s", "+5s", "99999999999999999999s"]
    {
        let refused = robot.local.post(&robot.proxy, json!({"lifetime": wrong})).await;
        assert_error(refused, 400, "INVALID_PARAMETER_VALUE");
    }
    assert_error(robot.local.post(&robot.proxy, json!({"lifetime": 60})).await, 400, "MALFORMED_REQUEST");
    assert!(robot.listed().await.is_empty());
}

#[tokio::test]
async fn a_secret_ends_when_it_is_deleted_or_expires() {
    let robot = start().await;
    let short = robot.create(json!({"lifetime": "60s"})).await;
    let long = robot.create(json!({})).await;
    let (short_value, long_value) = (text(&short["secret"]), text(&long["secret"]));
    assert_eq!(robot.listed().await, [text(&short["id"]), text(&long["id"])]);
    robot.local.advance_clock(60_000).await;
    assert!(!robot.works(&short_value).await);
    assert_eq!(robot.listed().await, [text(&long["id"])]);
    let expired = format!("{}/{}", robot.proxy, text(&short["id"]));
    assert_error(robot.local.send(Method::DELETE, &expired, json!({})).await, 404, "RESOURCE_DOES_NOT_EXIST");

    // An access token outlives its secret.
    let token = text(&robot.sign_in("robot", &long_value, "all-apis").await.1["access_token"]);
    let path = format!("{}/{}", robot.proxy, text(&long["id"]));
    assert_eq!(robot.local.send(Method::DELETE, &path, json!({})).await, (200, json!({})));
    assert!(!robot.works(&long_value).await);
    assert_eq!(robot.local.get_as(&token, ME).await.0, 200);
    assert_eq!(robot.local.get(&robot.proxy).await, (200, json!({})));
    let again = robot.local.send(Method::DELETE, &path, json!({})).await;
    assert!(assert_error(again, 404, "RESOURCE_DOES_NOT_EXIST").contains(&text(&long["id"])));

    let third = robot.create(json!({})).await;
    robot.local.control(&format!("/secrets/{}/delete", text(&third["id"])), json!({})).await;
    assert!(!robot.works(&text(&third["secret"])).await);
    let unknown = robot.local.request(Method::POST, "/local/control/secrets/x/delete");
    assert_error(answer(unknown).await, 404, "RESOURCE_DOES_NOT_EXIST");
}

#[tokio::test]
async fn the_sixth_live_secret_is_refused() {
    let robot = start().await;
    let first = robot.create(json!({"lifetime": "60s"})).await;
    for _ in 1..5 {
        robot.create(json!({})).await;
    }
    let refused = robot.local.post(&robot.proxy, json!({})).await;
    assert_error(refused, 400, "QUOTA_EXCEEDED");
    let (account, proxy) = (robot.account.clone(), robot.proxy.clone());
    assert_error(robot.as_boss(Method::POST, &account, json!({})).await, 400, "QUOTA_EXCEEDED");
    let set = json!({"status": 429, "error_code": "RESOURCE_EXHAUSTED"});
    let answered = robot.local.control("/secret-limit", set).await;
    assert_eq!(answered, json!({"limit": 5, "status": 429, "error_code": "RESOURCE_EXHAUSTED"}));
    assert_error(robot.local.post(&proxy, json!({})).await, 429, "RESOURCE_EXHAUSTED");
    // Each principal has five of its own, and an expired one makes room.
    let boss = robot.local.state().await["principals"][2]["id"].to_string();
    let others = proxy.replace(&robot.id, &boss);
    assert_eq!(robot.local.post(&others, json!({})).await.0, 200);
    robot.local.advance_clock(60_000).await;
    robot.create(json!({})).await;
    assert_error(robot.local.post(&proxy, json!({})).await, 429, "RESOURCE_EXHAUSTED");
    assert!(!robot.listed().await.contains(&text(&first["id"])));
    robot.local.control("/secret-limit", json!({"limit": 6})).await;
    robot.create(json!({})).await;
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let robot = start().await;
    robot.local.control("/secret-limit", json!({"limit": 200})).await;
    let mut made = Vec::new();
    for _ in 0..101 {
        made.push(text(&robot.create(json!({})).await["id"]));
    }
    let (_, first) = robot.local.get(&robot.proxy).await;
    assert_eq!(secret_ids(&first), made[..100]);
    let next = text(&first["next_page_token"]);
    let page = async |query: String| robot.local.get(&format!("{}?{query}", robot.proxy)).await;
    let (_, last) = page(format!("page_token={next}")).await;
    assert_eq!((secret_ids(&last), last.get("next_page_token")), (made[100..].to_vec(), None));

    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let (_, body) = page(format!("page_size=40&page_token={token}")).await;
        seen.extend(secret_ids(&body));
        match body["next_page_token"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, made);
    // The first secret of the next page may be deleted meanwhile.
    robot.local.send(Method::DELETE, &format!("{}/{token}", robot.proxy), json!({})).await;
    assert_eq!(secret_ids(&page(format!("page_token={token}")).await.1), made[81..]);
    for wrong in ["page_token=x", "page_size=x", "page_size=-1"] {
        assert_error(page(wrong.to_owned()).await, 400, "INVALID_PARAMETER_VALUE");
    }
}

#[tokio::test]
async fn who_may_manage_secrets() {
    let robot = start().await;
    let token = text(&robot.sign_in("robot", "initial", "all-apis").await.1["access_token"]);
    let disabled = "This API is disabled for users without account admin status. Contact your administrator \
                    for more information.";
    let refused = robot.local.get_as(&token, &robot.account).await;
    assert_eq!(assert_error(refused, 403, "PERMISSION_DENIED"), disabled);
    assert_error(robot.local.get_as(&token, &robot.proxy).await, 403, "PERMISSION_DENIED");
    // The account takes no personal access token, the workspace does.
    assert_error(robot.local.get(&robot.account).await, 401, 401);
    assert_eq!(robot.local.get(&robot.proxy).await.0, 200);

    // Both APIs have the same secrets. The account admin is no admin of the workspace.
    let (status, made) = robot.as_boss(Method::POST, &robot.account, json!({})).await;
    assert_eq!(status, 200, "{made}");
    assert!(robot.works(&text(&made["secret"])).await);
    assert_eq!(robot.listed().await, [text(&made["id"])]);
    let refused = robot.as_boss(Method::GET, &robot.proxy, json!({})).await;
    assert_error(refused, 403, "PERMISSION_DENIED");
    let path = format!("{}/{}", robot.account, text(&made["id"]));
    assert_eq!(robot.as_boss(Method::DELETE, &path, json!({})).await.0, 200);
    robot.local.control("/principals/boss", json!({"admin": true, "account_admin": false})).await;
    assert_eq!(robot.as_boss(Method::GET, &robot.proxy, json!({})).await.0, 200);
    assert_error(robot.as_boss(Method::GET, &robot.account, json!({})).await, 403, "PERMISSION_DENIED");

    // A token without the scope of the API.
    let (scoped, _) = robot.local.mint(json!({"scopes": ["sql"]})).await;
    assert_error(robot.local.get_as(&scoped, &robot.proxy).await, 403, "PERMISSION_DENIED");
    let anonymous = robot.local.request(Method::GET, &robot.proxy);
    assert_error(answer(anonymous).await, 401, 401);
}

#[tokio::test]
async fn unknown_principals_are_named() {
    let robot = start().await;
    let user = robot.local.state().await["principals"][0]["id"].to_string();
    for unknown in ["1", "robot", "x", user.as_str()] {
        for path in [&robot.proxy, &robot.account] {
            let path = path.replace(&robot.id, unknown);
            let refused = robot.as_boss(Method::GET, &path, json!({})).await;
            if path.contains("accounts/servicePrincipals") {
                assert_error(refused, 403, "PERMISSION_DENIED");
            } else {
                assert!(assert_error(refused, 404, "RESOURCE_DOES_NOT_EXIST").contains(unknown));
            }
        }
        let refused = robot.local.post(&robot.proxy.replace(&robot.id, unknown), json!({})).await;
        assert!(assert_error(refused, 404, "RESOURCE_DOES_NOT_EXIST").contains(unknown));
    }
    let elsewhere = format!("/api/2.0/accounts/other/servicePrincipals/{}/credentials/secrets", robot.id);
    let refused = robot.as_boss(Method::GET, &elsewhere, json!({})).await;
    assert_error(refused, 404, "RESOURCE_DOES_NOT_EXIST");
    // Secrets of one principal are not those of another.
    let made = robot.create(json!({})).await;
    let boss = robot.local.state().await["principals"][2]["id"].to_string();
    let path = format!("{}/{}", robot.proxy.replace(&robot.id, &boss), text(&made["id"]));
    assert_error(robot.local.send(Method::DELETE, &path, json!({})).await, 404, "RESOURCE_DOES_NOT_EXIST");
}

#[tokio::test]
async fn access_tokens_keep_to_the_scopes_of_their_secret() {
    let robot = start().await;
    let made = robot.create(json!({"scopes": ["scim", "sql"]})).await;
    assert_eq!(made["scopes"], json!(["scim", "sql"]));
    let value = text(&made["secret"]);
    for (asked, granted) in [("all-apis", "scim sql"), ("sql", "sql"), ("scim+jobs", "scim")] {
        let (_, body) = robot.sign_in("robot", &value, asked).await;
        assert_eq!(body["scope"], granted);
    }
    let (status, body) = robot.sign_in("robot", &value, "authentication").await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_scope")));
    let token = text(&robot.sign_in("robot", &value, "all-apis").await.1["access_token"]);
    assert_eq!(robot.local.get_as(&token, ME).await.0, 200);
    assert_error(robot.local.get_as(&token, LIST).await, 403, "PERMISSION_DENIED");

    let everything = text(&robot.create(json!({"scopes": ["all-apis"]})).await["secret"]);
    assert_eq!(robot.sign_in("robot", &everything, "authentication").await.1["scope"], "authentication");
    let refused = robot.local.post(&robot.proxy, json!({"scopes": [""]})).await;
    assert_error(refused, 400, "INVALID_PARAMETER_VALUE");
}

#[tokio::test]
async fn a_deleted_principal_takes_its_secrets_with_it() {
    let robot = start().await;
    let value = text(&robot.create(json!({})).await["secret"]);
    let token = text(&robot.sign_in("robot", &value, "all-apis").await.1["access_token"]);
    robot.local.control(&format!("/service-principals/{}/delete", robot.id), json!({})).await;
    assert!(!robot.works(&value).await && !robot.works("initial").await);
    assert_error(robot.local.get_as(&token, ME).await, 403, 403);
    assert_error(robot.local.get(&robot.proxy).await, 404, "RESOURCE_DOES_NOT_EXIST");
    let new = json!({"application_id": "robot", "client_secret": "other"});
    let again = robot.local.control("/service-principals", new).await;
    assert_ne!(again["id"].to_string(), robot.id);
    assert!(!robot.works(&value).await && robot.works("other").await);
}

#[tokio::test]
async fn faults_state_and_log_know_secrets() {
    let robot = start().await;
    let fault = json!({"match": {"path": "/credentials/secrets"}, "action": {"status": 503, "work": true}});
    robot.local.control("/faults", fault).await;
    assert_eq!(robot.local.post(&robot.proxy, json!({"lifetime": "60s"})).await.0, 503);
    let made = robot.create(json!({"scopes": ["sql"]})).await;
    let value = text(&made["secret"]);
    robot.local.post(&robot.proxy, json!({"secret": "sent-secret", "lifetime": "x"})).await;

    let log = robot.local.requests().await;
    assert_eq!((&log[0]["status"], &log[0]["work_done"]), (&json!(503), &json!(true)));
    assert_eq!(log[0]["body"], json!({"lifetime": "60s"}));
    assert_eq!(log[2]["body"], json!({"secret": "REDACTED", "lifetime": "x"}));
    robot.local.advance_clock(DAY_MS).await;
    let state = robot.local.state().await;
    let (lost, kept) = (&state["secrets"][0], &state["secrets"][1]);
    assert_eq!((&lost["live"], &kept["live"]), (&json!(false), &json!(true)));
    assert_eq!((&kept["id"], &kept["principal"]), (&made["id"], &json!("robot")));
    assert_eq!(kept["principal_id"].to_string(), robot.id);
    assert_eq!((&kept["create_time"], &kept["expire_time"]), (&made["create_time"], &made["expire_time"]));
    assert_eq!((&kept["scopes"], &kept["deleted"]), (&json!(["sql"]), &json!(false)));
    assert_eq!(state["secret_limit"], 5);
    let seen = format!("{log:?}{state}");
    for secret in [value.as_str(), "sent-secret", "initial\""] {
        assert!(!seen.contains(secret), "{secret}");
    }
    robot.local.control("/reset", json!({})).await;
    assert_eq!(robot.local.state().await["secrets"], json!([]));
}
