//! Users and service principals, and the settings of the workspace.

use reqwest::Method;
use serde_json::json;

use crate::{CREATE, Local, ME, answer, assert_error, text};

const ROBOTS: &str = "/api/2.0/preview/scim/v2/ServicePrincipals";
const USERS: &str = "/api/2.0/preview/scim/v2/Users";
const CONF: &str = "/api/2.0/workspace-conf";

#[tokio::test]
async fn a_service_principal_from_its_creation_to_its_end() {
    let local = Local::start().await;
    let (status, made) = local.post(ROBOTS, json!({"displayName": "robot", "active": true})).await;
    assert_eq!((status, &made["displayName"]), (201, &json!("robot")), "{made}");
    let (id, application_id) = (text(&made["id"]), text(&made["applicationId"]));
    let secrets = format!("/api/2.0/accounts/servicePrincipals/{id}/credentials/secrets");
    assert_eq!(local.post(&secrets, json!({})).await.0, 200);
    let obo = json!({"application_id": application_id});
    let (_, token) = local.post("/api/2.0/token-management/on-behalf-of/tokens", obo).await;
    let value = text(&token["token_value"]);
    assert_eq!(local.get_as(&value, ME).await.1["userName"], json!(application_id));

    for filter in [format!("applicationId eq \"{application_id}\""), "displayName eq ROBOT".into()] {
        let request = local.request(Method::GET, ROBOTS).query(&[("filter", filter)]);
        let (_, found) = answer(request.bearer_auth(local.token())).await;
        assert_eq!((&found["totalResults"], &found["Resources"][0]), (&json!(1), &made));
    }
    assert_eq!(local.get(&format!("{ROBOTS}?startIndex=2")).await.1["Resources"], json!([]));
    assert_eq!(local.get(&format!("{ROBOTS}/{id}")).await, (200, made));
    assert_eq!(local.get(&format!("{ROBOTS}?filter=displayName%20co%20x")).await.0, 400);
    let (status, refused) = local.post(ROBOTS, json!({"applicationId": application_id})).await;
    assert_eq!((status, &refused["scimType"]), (409, &json!("uniqueness")));

    // Whoever is no admin may read, and may change nothing.
    assert_eq!(local.get_as(&value, ROBOTS).await.0, 200);
    let refused = answer(local.request(Method::DELETE, &format!("{ROBOTS}/{id}")).bearer_auth(&value)).await;
    assert_error(refused, 403, "PERMISSION_DENIED");
    let delete = || local.request(Method::DELETE, &format!("{ROBOTS}/{id}")).bearer_auth(local.token());
    assert_eq!(delete().send().await.unwrap().status(), 204);
    let (status, refused) = answer(delete()).await;
    assert_eq!((status, &refused["status"]), (404, &json!("404")));
    assert!(text(&refused["detail"]).contains(&id), "{refused}");
    assert_eq!(local.get_as(&value, ME).await.0, 403);
}

#[tokio::test]
async fn users_of_the_workspace_and_of_the_account() {
    let local = Local::start().await;
    let (status, made) = local.post(USERS, json!({"userName": "second@example.com"})).await;
    assert_eq!((status, &made["emails"][0]["value"]), (201, &json!("second@example.com")));
    let (_, all) = local.get(USERS).await;
    assert_eq!(all["totalResults"], 2);
    let (_, me) = local.get(ME).await;
    assert_eq!(all["Resources"][0], me);
    let own = format!("{USERS}/{}", text(&me["id"]));
    let refused = local.request(Method::DELETE, &own).bearer_auth(local.token());
    assert_error(answer(refused).await, 403, "PERMISSION_DENIED");
    assert_eq!(local.post(USERS, json!({})).await.0, 400);
    // A user is not found as a service principal.
    assert_eq!(local.get(&format!("{ROBOTS}/{}", text(&me["id"]))).await.0, 404);

    let account = &local.running.options().account_id;
    let path = format!("/api/2.0/accounts/{account}/scim/v2/Users");
    assert_error(local.get(&path).await, 401, 401);
    let token = local.request(Method::GET, "/local/metadata-service");
    let token = token.header("X-Databricks-Metadata-Version", "1").header("X-Databricks-Host", "http://x");
    let token = text(&answer(token).await.1["access_token"]);
    assert_eq!(local.get_as(&token, &path).await.1["totalResults"], 2);
}

#[tokio::test]
async fn the_configuration_of_the_workspace_limits_tokens() {
    let local = Local::start().await;
    let both = format!("{CONF}?keys=maxTokenLifetimeDays,enableTokensConfig");
    let read = async || local.get(&both).await.1;
    assert_eq!(read().await, json!({"maxTokenLifetimeDays": "730", "enableTokensConfig": "true"}));
    let change = async |body| {
        let request = local.request(Method::PATCH, CONF).bearer_auth(local.token()).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(change(json!({"maxTokenLifetimeDays": "90"})).await, 204);
    let (status, refused) = local.post(CREATE, json!({"lifetime_seconds": 91 * 86_400})).await;
    assert_eq!(status, 400, "{refused}");
    local.mint(json!({"lifetime_seconds": 90 * 86_400})).await;
    assert_eq!(change(json!({"enableTokensConfig": "false", "maxTokenLifetimeDays": "0"})).await, 204);
    assert_error(local.post(CREATE, json!({})).await, 404, "FEATURE_DISABLED");
    assert_eq!(read().await, json!({"maxTokenLifetimeDays": "0", "enableTokensConfig": "false"}));

    assert_eq!(change(json!({"enableTokensConfig": "true", "maxTokenLifetimeDays": "long"})).await, 400);
    assert_eq!(change(json!({"enableTokensConfig": "true", "maxTokenLifetimeDays": "731"})).await, 400);
    assert_eq!(change(json!({"enableTokensConfig": "true", "enableIpAccessLists": "true"})).await, 400);
    assert_eq!(read().await["enableTokensConfig"], "false");
    let user = local.control("/users", json!({"user_name": "second@example.com"})).await;
    assert_error(local.get_as(&text(&user["token"]), &both).await, 403, "PERMISSION_DENIED");
}
