//! OAuth, host metadata, and the stand-ins for token issuers.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use databricks_local_workspace::{Options, ServicePrincipal};
use reqwest::Method;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use serde_json::{Value, json};

use crate::{Answer, LIST, Local, ME, answer, assert_error, text};

const TOKEN: &str = "/oidc/v1/token";
const METADATA: &str = "/.well-known/databricks-config";

async fn with_client(id: &str, secret: &str) -> Local {
    let client = ServicePrincipal { client_id: id.into(), client_secret: secret.into() };
    Local::start_with(Options { service_principal: Some(client), ..Options::default() }).await
}

/// POSTs a form to the token endpoint, with what is in `basic` as Basic credentials.
async fn ask(local: &Local, path: &str, basic: Option<(&str, &str)>, form: &[(&str, &str)]) -> Answer {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    let mut request = local
        .request(Method::POST, path)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(body);
    if let Some((user, password)) = basic {
        request = request.basic_auth(user, Some(password));
    }
    answer(request).await
}

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

#[tokio::test]
async fn client_credentials_in_every_form() {
    let local = with_client("cid", "se:cret/+ %41=").await;
    let raw = ask(&local, TOKEN, Some(("cid", "se:cret/+ %41=")), &[GRANT]).await;
    assert_eq!(raw.0, 200, "{}", raw.1);
    let escaped = ask(&local, TOKEN, Some(("cid", "se%3Acret%2F%2B+%2541%3D")), &[GRANT]).await;
    assert_eq!(escaped.0, 200, "{}", escaped.1);
    let form = [GRANT, ("client_id", "cid"), ("client_secret", "se:cret/+ %41="), ("scope", "all-apis")];
    let (status, body) = ask(&local, TOKEN, None, &form).await;
    assert_eq!((status, &body["token_type"], &body["expires_in"]), (200, &json!("Bearer"), &json!(3600)));
    let (_, me) = local.get_as(&text(&body["access_token"]), ME).await;
    assert_eq!(me["userName"], "cid");

    for wrong in [Some(("cid", "secret")), Some(("nobody", "se:cret/+ %41=")), None] {
        let (status, body) = ask(&local, TOKEN, wrong, &[GRANT]).await;
        assert_eq!((status, &body["error"]), (401, &json!("invalid_client")));
    }
    // A user isn't a client, even one with a password.
    let (status, _) = ask(&local, TOKEN, Some(("admin@example.com", "x")), &[GRANT]).await;
    assert_eq!(status, 401);
    let (status, body) = ask(&local, TOKEN, Some(("cid", "x")), &[("grant_type", "password")]).await;
    assert_eq!((status, &body["error"]), (400, &json!("unsupported_grant_type")));
    let (status, body) = ask(&local, TOKEN, None, &[]).await;
    assert_eq!((status, &body["error"]), (400, &json!("invalid_request")));
}

#[tokio::test]
async fn access_tokens_expire_and_keep_to_their_scopes() {
    let local = with_client("cid", "s").await;
    local.control("/settings", json!({"access_token_seconds": 10})).await;
    let (_, body) =
        ask(&local, TOKEN, Some(("cid", "s")), &[GRANT, ("scope", "sql scim"), ("assume_group", "42")]).await;
    assert_eq!(body["expires_in"], 10);
    let token = text(&body["access_token"]);
    assert_eq!(local.get_as(&token, ME).await.0, 200);
    assert_error(local.get_as(&token, LIST).await, 403, "PERMISSION_DENIED");
    assert_eq!(local.state().await["access_tokens"][0]["assume_group"], "42");
    local.advance_clock(10_000).await;
    assert_eq!(assert_error(local.get_as(&token, ME).await, 403, 403), "Token is expired");
}

#[tokio::test]
async fn discovery_leads_to_the_token_endpoint() {
    let local = with_client("cid", "s").await;
    let account = &local.running.options().account_id;
    for path in ["/oidc".to_owned(), format!("/oidc/accounts/{account}")] {
        let (status, body) = local.get(&format!("{path}/.well-known/oauth-authorization-server")).await;
        assert_eq!(status, 200);
        let endpoint = text(&body["token_endpoint"]).replace(&local.running.url(), "");
        assert_eq!(endpoint, format!("{path}/v1/token"));
        assert!(body["authorization_endpoint"].is_string());
        assert_eq!(ask(&local, &endpoint, Some(("cid", "s")), &[GRANT]).await.0, 200);
    }
    let (status, _) = ask(&local, "/oidc/accounts/other/v1/token", Some(("cid", "s")), &[GRANT]).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn host_metadata_can_be_anything() {
    let local = Local::start().await;
    let url = local.running.url();
    let metadata = async || answer(local.request(Method::GET, METADATA)).await;
    let (_, body) = metadata().await;
    assert_eq!(body["workspace_id"], "1234567890123456");
    assert_eq!(body["oidc_endpoint"], format!("{url}/oidc"));

    local.control("/host-metadata", json!({"host_type": "unified"})).await;
    let (_, body) = metadata().await;
    assert_eq!((&body["host_type"], body.get("workspace_id")), (&json!("unified"), None));
    assert_eq!(body["oidc_endpoint"], format!("{url}/oidc/accounts/{{account_id}}"));

    local.control("/host-metadata", json!({"document": {"cloud": "azure"}})).await;
    assert_eq!(metadata().await, (200, json!({"cloud": "azure"})));
    local.control("/host-metadata", json!({"status": 404})).await;
    assert_error(metadata().await, 404, "ENDPOINT_NOT_FOUND");
    local.control("/host-metadata", json!({})).await;
    assert_eq!(metadata().await.1["host_type"], "workspace");
}

const EXCHANGE: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
const JWT: (&str, &str) = ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt");

#[tokio::test]
async fn registered_subject_tokens_are_exchanged() {
    let local = with_client("cid", "s").await;
    let exchange = async |token: &str, client: &str| {
        ask(&local, TOKEN, None, &[EXCHANGE, JWT, ("subject_token", token), ("client_id", client)]).await
    };
    assert_eq!(exchange("id-token", "cid").await.1["error"], "invalid_grant");
    local.control("/subject-tokens", json!({"token": "id-token"})).await;
    let (status, body) = exchange("id-token", "cid").await;
    assert_eq!(status, 200, "{body}");
    let token = text(&body["access_token"]);
    assert_eq!(local.get_as(&token, ME).await.1["userName"], "cid");
    // Without a client it is account-wide federation.
    assert_eq!(exchange("id-token", "").await.0, 200);
    assert_eq!(exchange("id-token", "nobody").await.1["error"], "invalid_client");

    local.control("/subject-tokens", json!({"token": "bound", "principal": "cid"})).await;
    assert_eq!(exchange("bound", "").await.0, 200);
    assert_eq!(exchange("bound", "other").await.1["error"], "invalid_grant");

    // header.{"aud":["a","b"]}.signature
    let with_audience = "e30.eyJhdWQiOlsiYSIsImIiXX0.e30";
    local.control("/subject-tokens", json!({"token": with_audience, "audience": "b"})).await;
    assert_eq!(exchange(with_audience, "").await.0, 200);
    local.control("/subject-tokens", json!({"token": with_audience, "audience": "c"})).await;
    assert_eq!(exchange(with_audience, "").await.1["error"], "invalid_grant");
    let no_type = ask(&local, TOKEN, None, &[EXCHANGE, ("subject_token", "id-token")]).await;
    assert_eq!(no_type.1["error"], "invalid_request");
}

#[tokio::test]
async fn github_id_tokens_need_an_accepted_audience() {
    let local = with_client("cid", "s").await;
    let id_token = async |audience: &str| -> String {
        let path = format!("/local/github-oidc?x=1&audience={audience}");
        let (status, body) = local.get_as("local-request-token", &path).await;
        assert_eq!(status, 200, "{body}");
        text(&body["value"])
    };
    let exchange = async |token: &str| {
        ask(&local, TOKEN, None, &[EXCHANGE, JWT, ("subject_token", token), ("client_id", "cid")]).await
    };
    let endpoint = local.url(TOKEN).replace(':', "%3A").replace('/', "%2F");
    let token = id_token(&endpoint).await;
    assert_eq!(exchange(&token).await.0, 200);
    assert_eq!(exchange(&id_token(&local.running.options().account_id).await).await.0, 200);
    assert_eq!(exchange(&id_token("elsewhere").await).await.1["error"], "invalid_grant");
    local.advance_clock(600_000).await;
    assert_eq!(exchange(&token).await.1["error"], "invalid_grant");
    let refused = local.get_as("wrong", "/local/github-oidc?x=1&audience=a").await;
    assert_error(refused, 401, "UNAUTHENTICATED");
}

#[tokio::test]
async fn other_token_issuers_have_stand_ins() {
    let local = with_client("cid", "s").await;
    let metadata =
        || local.request(Method::GET, "/local/metadata-service").header("X-Databricks-Host", local.url(""));
    assert_eq!(answer(metadata()).await.0, 400);
    let (_, body) = answer(metadata().header("X-Databricks-Metadata-Version", "1")).await;
    assert_eq!(local.get_as(&text(&body["access_token"]), ME).await.1["userName"], "admin@example.com");
    let now = local.state().await["now_ms"].as_i64().unwrap() / 1000;
    assert!((now + 3590..=now + 3600).contains(&body["expires_on"].as_i64().unwrap()));

    let path = "/local/azure-devops/org/project/_apis/distributedtask/hubs/build/plans/1/jobs/2/oidctoken?api-version=7";
    let (_, body) = answer(local.request(Method::POST, path).bearer_auth("local-request-token")).await;
    let form = [EXCHANGE, JWT, ("subject_token", body["oidcToken"].as_str().unwrap())];
    assert_eq!(ask(&local, TOKEN, None, &form).await.0, 200);

    let google = async |assertion: &str| -> Value {
        let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        ask(&local, "/local/google/token", None, &[grant, ("assertion", assertion)]).await.1
    };
    // {"target_audience":"x"} and {"scope":"x"}
    let body = google("e30.eyJ0YXJnZXRfYXVkaWVuY2UiOiJ4In0.e30").await;
    assert_eq!(local.get_as(&text(&body["id_token"]), LIST).await.0, 200);
    assert!(google("e30.eyJzY29wZSI6IngifQ.e30").await["access_token"].is_string());
    assert_eq!(google("nonsense").await["error_code"], "INVALID_PARAMETER_VALUE");
}

/// Checks the signature of a JWT with the key set that discovery leads to, and returns its claims.
async fn verified(local: &Local, jwt: &str) -> Value {
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let discovery = local.get("/oidc/.well-known/openid-configuration").await.1;
    let jwks = text(&discovery["jwks_uri"]).replace(&local.running.url(), "");
    let keys = local.get(&jwks).await.1;
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!(header["alg"], "RS256");
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let key = RsaPublicKeyComponents { n: decode(&text(&key["n"])), e: decode(&text(&key["e"])) };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decode(signature)).unwrap();
    serde_json::from_slice(&decode(claims)).unwrap()
}

#[tokio::test]
async fn access_and_id_tokens_are_signed_with_a_key_of_the_key_set() {
    let local = with_client("cid", "s").await;
    let (_, body) = ask(&local, TOKEN, Some(("cid", "s")), &[GRANT]).await;
    let claims = verified(&local, &text(&body["access_token"])).await;
    assert_eq!((&claims["sub"], &claims["iss"]), (&json!("cid"), &json!(local.url("/oidc"))));
    let github =
        local.request(Method::GET, "/local/github-oidc?audience=a").bearer_auth("local-request-token");
    let claims = verified(&local, &text(&answer(github).await.1["value"])).await;
    assert_eq!(claims["aud"], "a");

    let account = &local.running.options().account_id;
    let (_, keys) = local.get(&format!("/oidc/accounts/{account}/jwks.json")).await;
    assert_eq!(keys, local.get("/oidc/jwks.json").await.1);
    assert_eq!(keys["keys"][0].as_object().unwrap().len(), 6, "nothing of the private key: {keys}");
}

#[tokio::test]
async fn an_id_token_made_to_measure_is_exchanged_until_it_expires() {
    let local = with_client("cid", "s").await;
    let new = json!({"audience": "a", "subject": "repo:x", "issuer": "https://i", "principal": "cid", "lifetime_seconds": 60});
    let token = text(&local.control("/subject-tokens", new).await["token"]);
    let claims = verified(&local, &token).await;
    assert_eq!(
        (&claims["sub"], &claims["iss"], &claims["aud"]),
        (&json!("repo:x"), &json!("https://i"), &json!("a"))
    );
    let form = [EXCHANGE, JWT, ("subject_token", token.as_str())];
    let (_, body) = ask(&local, TOKEN, None, &form).await;
    assert_eq!(local.get_as(&text(&body["access_token"]), ME).await.1["userName"], "cid");
    local.advance_clock(60_000).await;
    assert_eq!(ask(&local, TOKEN, None, &form).await.1["error"], "invalid_grant");
}
