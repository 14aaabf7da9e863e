//! Id tokens of other issuers, exchanged according to federation policies with whose keys their signatures are checked.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use databricks_local_workspace::{Options, ServicePrincipal};
use reqwest::Method;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::{Answer, Local, ME, answer, assert_error, text};

const ISSUER: &str = "https://idp.example.com";

/// An issuer that the workspace knows only by its policies.
struct Issuer(EcdsaKeyPair);

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self(pair.unwrap())
    }

    /// Its key set, as the text that a policy has.
    fn key_set(&self) -> String {
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({"keys": [{"kty": "EC", "crv": "P-256", "x": base64(x), "y": base64(y)}]}).to_string()
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "typ": "JWT"});
        let signed =
            format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", base64(signature.as_ref()))
    }
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A workspace with the service principal `cid`, an access token of an account admin, and a way to exchange tokens.
struct Federation {
    local: Local,
    admin: String,
    base: String,
}

impl Federation {
    async fn start() -> Self {
        let client = ServicePrincipal { client_id: "cid".into(), client_secret: "s".into() };
        let local =
            Local::start_with(Options { service_principal: Some(client), ..Options::default() }).await;
        local
            .control(
                "/service-principals",
                json!({"application_id": "root", "client_secret": "r", "account_admin": true}),
            )
            .await;
        let form = "grant_type=client_credentials&client_id=root&client_secret=r";
        let (_, body) = answer(local.request(Method::POST, "/oidc/v1/token").body(form)).await;
        let base = format!("/api/2.0/accounts/{}", local.running.options().account_id);
        Self { admin: text(&body["access_token"]), local, base }
    }

    async fn id_of(&self, name: &str) -> String {
        let state = self.local.state().await;
        let found = state["principals"].as_array().unwrap().iter().find(|it| it["user_name"] == name);
        found.unwrap()["id"].to_string()
    }

    async fn policies_of(&self, name: &str) -> String {
        format!("{}/servicePrincipals/{}/federationPolicies", self.base, self.id_of(name).await)
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Answer {
        answer(self.local.request(method, path).bearer_auth(&self.admin).json(&body)).await
    }

    /// Whom the token stands for, or why it is refused.
    async fn exchange(&self, token: &str, client: &str) -> String {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
            .append_pair("subject_token", token)
            .append_pair("client_id", client)
            .finish();
        let (status, body) = answer(self.local.request(Method::POST, "/oidc/v1/token").body(form)).await;
        if status != 200 {
            assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")), "{body}");
            return text(&body["error_description"]);
        }
        text(&self.local.get_as(&text(&body["access_token"]), ME).await.1["userName"])
    }

    async fn seconds(&self) -> i64 {
        self.local.state().await["now_ms"].as_i64().unwrap() / 1000
    }
}

#[tokio::test]
async fn a_policy_of_a_principal_takes_what_its_issuer_signed() {
    let it = Federation::start().await;
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let policies = it.policies_of("cid").await;
    let policy = json!({
        "description": "the nightly job",
        "oidc_policy": {
            "issuer": ISSUER, "audiences": ["databricks"], "subject": "job:1", "jwks_json": issuer.key_set(),
        },
    });
    let now = it.seconds().await;
    let claims = json!({"iss": ISSUER, "aud": ["x", "databricks"], "sub": "job:1", "exp": now + 600});
    let token = issuer.sign(&claims);
    assert!(it.exchange(&token, "cid").await.starts_with("No federation policy"));

    let (status, made) = it.send(Method::POST, &policies, policy).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(it.exchange(&token, "cid").await, "cid");
    // Neither for another principal nor for the account.
    assert!(it.exchange(&token, "root").await.starts_with("No federation policy"));
    assert!(it.exchange(&token, "").await.starts_with("No federation policy"));
    assert_eq!(it.exchange(&token, "nobody").await, "The subject_token is not trusted");

    let changed = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    for (claims, refusal) in [
        (
            changed("iss", json!("https://elsewhere")),
            "No federation policy fits the issuer of the subject_token",
        ),
        (changed("sub", json!("job:2")), "The subject of the subject_token is not accepted"),
        (changed("aud", json!("x")), "The audience of the subject_token is not accepted"),
        (changed("exp", json!(now)), "The subject_token is expired"),
        (changed("exp", Value::Null), "The subject_token is expired"),
        (changed("nbf", json!(now + 300)), "The subject_token is not valid yet"),
    ] {
        assert_eq!(it.exchange(&issuer.sign(&claims), "cid").await, refusal, "{claims}");
    }
    it.local.advance_clock(600_000).await;
    assert_eq!(it.exchange(&token, "cid").await, "The subject_token is expired");

    // Signed by somebody else, changed afterwards, or not signed at all.
    let claims = changed("exp", json!(now + 6000));
    let wrong = "The signature of the subject_token is wrong";
    assert_eq!(it.exchange(&other.sign(&claims), "cid").await, wrong);
    let token = issuer.sign(&claims);
    let (_, signature) = token.rsplit_once('.').unwrap();
    let forged = other.sign(&changed("exp", json!(now + 60_000)));
    let (signed, _) = forged.rsplit_once('.').unwrap();
    assert_eq!(it.exchange(&format!("{signed}.{signature}"), "cid").await, wrong);
    let body = base64(claims.to_string().as_bytes());
    let unsigned = format!("{}.{body}.", base64(br#"{"alg":"none"}"#));
    assert_eq!(it.exchange(&unsigned, "cid").await, wrong);
    assert_eq!(it.exchange(&token, "cid").await, "cid");
}

#[tokio::test]
async fn a_policy_without_keys_takes_what_this_workspace_signed() {
    let it = Federation::start().await;
    let issuer = it.local.url("/oidc");
    let workspace = it.local.running.options().workspace_id.clone();
    let policy = json!({"oidc_policy": {"issuer": issuer, "audiences": [workspace], "subject": "root"}});
    let policies = it.policies_of("cid").await;
    assert_eq!(it.send(Method::POST, &policies, policy).await.0, 200);
    // An access token of one principal, signed with RS256, is exchanged for one of another.
    assert_eq!(it.exchange(&it.admin, "cid").await, "cid");
    let foreign = Issuer::new().sign(&json!({
        "iss": issuer, "aud": workspace, "sub": "root", "exp": it.seconds().await + 600,
    }));
    assert_eq!(it.exchange(&foreign, "cid").await, "The signature of the subject_token is wrong");
}

#[tokio::test]
async fn a_policy_of_the_account_takes_the_subject_for_a_name() {
    let it = Federation::start().await;
    let issuer = Issuer::new();
    let oidc = json!({"issuer": ISSUER, "subject_claim": "email", "jwks_json": issuer.key_set()});
    it.local.control("/federation-policies", json!({"oidc_policy": oidc})).await;
    let account = &it.local.running.options().account_id;
    let token = async |email: &str| {
        let claims = json!({"iss": ISSUER, "aud": account, "email": email, "exp": it.seconds().await + 600});
        issuer.sign(&claims)
    };
    assert_eq!(it.exchange(&token("admin@example.com").await, "").await, "admin@example.com");
    assert_eq!(it.exchange(&token("cid").await, "").await, "cid");
    let nobody = "The subject of the subject_token is nobody's name";
    assert_eq!(it.exchange(&token("nobody").await, "").await, nobody);
    assert_eq!(it.exchange("no-jwt", "").await, "The subject_token is not trusted");
}

#[tokio::test]
async fn policies_are_made_listed_changed_and_deleted_by_account_admins() {
    let it = Federation::start().await;
    let (own, accounts) = (it.policies_of("cid").await, format!("{}/federationPolicies", it.base));
    let policy = json!({"oidc_policy": {"issuer": ISSUER, "subject": "a"}});
    let (_, made) = it.send(Method::POST, &format!("{own}?policy_id=ci/main"), policy.clone()).await;
    let account = &it.local.running.options().account_id;
    let id = it.id_of("cid").await;
    assert_eq!(made["name"], format!("accounts/{account}/servicePrincipals/{id}/federationPolicies/ci/main"));
    assert_eq!(made["service_principal_id"].to_string(), id);
    assert_eq!(made["uid"].as_str().map(str::len), Some(36), "{made}");
    let one = format!("{own}/ci/main");
    assert_eq!(it.send(Method::GET, &one, json!({})).await, (200, made.clone()));
    assert_eq!(it.send(Method::GET, &own, json!({})).await.1, json!({"policies": [made]}));
    assert_eq!(it.send(Method::GET, &accounts, json!({})).await.1, json!({}));

    let again = it.send(Method::POST, &format!("{own}?policy_id=ci/main"), policy).await;
    assert_error(again, 409, "ALREADY_EXISTS");
    for (path, wrong) in [
        (&own, json!({"issuer": ISSUER})),
        (&own, json!({"issuer": "", "subject": "a"})),
        (&own, json!({"issuer": ISSUER, "subject": "a", "jwks_json": "{}"})),
        (&own, json!({"issuer": ISSUER, "subject": "a", "unknown": 1})),
        (&accounts, json!({"issuer": ISSUER, "subject": "a"})),
    ] {
        let refused = it.send(Method::POST, path, json!({"oidc_policy": wrong})).await;
        assert_error(refused, 400, "INVALID_PARAMETER_VALUE");
    }
    let wrong = it
        .send(Method::POST, &format!("{accounts}?policy_id=Upper"), json!({"oidc_policy": {"issuer": "i"}}))
        .await;
    assert_error(wrong, 400, "INVALID_PARAMETER_VALUE");

    let new = json!({"description": "new", "oidc_policy": {"audiences": ["b"]}});
    let (_, changed) = it.send(Method::PATCH, &one, new.clone()).await;
    assert_eq!(changed["oidc_policy"], json!({"issuer": ISSUER, "subject": "a", "audiences": ["b"]}));
    assert_eq!(changed["description"], "new");
    let mask = format!("{one}?update_mask=oidc_policy.audiences");
    let (_, changed) = it.send(Method::PATCH, &mask, json!({"oidc_policy": {"subject": "unmasked"}})).await;
    assert_eq!(changed["oidc_policy"], json!({"issuer": ISSUER, "subject": "a"}));
    let refused = it.send(Method::PATCH, &format!("{one}?update_mask=name"), new.clone()).await;
    assert_error(refused, 400, "INVALID_PARAMETER_VALUE");
    // The new policy takes the place of all of it, and lacks an issuer.
    let refused = it.send(Method::PATCH, &format!("{one}?update_mask=*"), new).await;
    assert_error(refused, 400, "INVALID_PARAMETER_VALUE");

    // Personal access tokens reach no account API, and only account admins reach policies.
    assert_error(it.local.get(&own).await, 401, 401);
    let form = "grant_type=client_credentials&client_id=cid&client_secret=s";
    let (_, body) = answer(it.local.request(Method::POST, "/oidc/v1/token").body(form)).await;
    assert_error(it.local.get_as(&text(&body["access_token"]), &own).await, 403, "PERMISSION_DENIED");

    assert_eq!(it.send(Method::DELETE, &one, json!({})).await.0, 200);
    assert_error(it.send(Method::GET, &one, json!({})).await, 404, "NOT_FOUND");
    assert_error(it.send(Method::DELETE, &one, json!({})).await, 404, "NOT_FOUND");
}

#[tokio::test]
async fn policies_are_in_snapshots_and_go_with_their_principal() {
    let it = Federation::start().await;
    let issuer = Issuer::new();
    let oidc = json!({"issuer": ISSUER, "subject": "a", "audiences": ["b"], "jwks_json": issuer.key_set()});
    it.local.control("/federation-policies", json!({"principal": "cid", "oidc_policy": oidc})).await;
    assert_eq!(it.local.state().await["federation_policies"][0]["principal"], "cid");
    let token = issuer.sign(&json!({"iss": ISSUER, "aud": "b", "sub": "a", "exp": it.seconds().await + 600}));
    assert_eq!(it.exchange(&token, "cid").await, "cid");
    let (_, snapshot) = answer(it.local.request(Method::GET, "/local/control/snapshot")).await;
    it.local.control("/service-principals/cid/delete", json!({})).await;
    assert_eq!(it.local.state().await["federation_policies"], json!([]));
    let put = it.local.request(Method::PUT, "/local/control/snapshot").json(&snapshot);
    assert_eq!(answer(put).await.0, 200);
    assert_eq!(it.exchange(&token, "cid").await, "cid");
}

#[tokio::test]
async fn a_token_names_the_issuer_that_it_was_asked_from() {
    let it = Federation::start().await;
    let account = format!("/oidc/accounts/{}", it.local.running.options().account_id);
    for issuer in ["/oidc", &account] {
        let (_, discovered) = it.local.get(&format!("{issuer}/.well-known/openid-configuration")).await;
        let form = "grant_type=client_credentials&client_id=cid&client_secret=s";
        let (_, body) =
            answer(it.local.request(Method::POST, &format!("{issuer}/v1/token")).body(form)).await;
        let token = text(&body["access_token"]);
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["iss"], discovered["issuer"]);
    }
}
