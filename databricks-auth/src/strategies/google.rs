//! What the strategies for Google Cloud share: a service account signs in to a workspace with an ID token, which
//! says who it is, and an access token, with which the workspace may act for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Credentials, Outcome};
use crate::config::Cloud;
use crate::error::AuthError;
use crate::settings::Settings;
use crate::token_cache::{self, Cache, Token};
use crate::token_request::{self, TokenAnswer};
use crate::transport::authorization;
use crate::transport::sensitive;

/// Scope for the use of all of Google Cloud.
pub(super) const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Scope for the use of virtual machines.
pub(super) const COMPUTE: &str = "https://www.googleapis.com/auth/compute";

const ACCESS_HEADER: HeaderName = HeaderName::from_static("x-databricks-gcp-sa-access-token");

/// How long requests go without an access token after one could not be had.
const ACCESS_TOKEN_PAUSE: Duration = Duration::from_secs(60);

/// A service account, however its tokens are obtained.
#[async_trait]
pub(super) trait Account: Send + Sync + 'static {
    /// Gets a token that says who the account is, for `audience`.
    async fn id_token(&self, audience: &str) -> Result<Token, AuthError>;
    /// Gets a token for acting as the account.
    async fn access_token(&self) -> Result<Token, AuthError>;
}

/// Why a workspace is not one of Google Cloud, if it is not.
pub(super) fn not_google(settings: &Settings) -> Option<String> {
    let host = settings.config.host.as_ref().map_or("the host", |host| &host.url);
    (settings.metadata.cloud != Cloud::Gcp)
        .then(|| format!("{host} is not on Google Cloud; if it is, set databricks:cloud to GCP"))
}

/// Signs in as an account.
pub(super) fn sign_in(settings: &Settings, account: impl Account) -> Result<Outcome, AuthError> {
    let account = Arc::new(account);
    let id = IdTokens { account: Arc::clone(&account), audience: settings.host()?.to_owned() };
    Ok(Outcome::Ready(Arc::new(Signed {
        id: Cache::new(id, Arc::clone(&settings.clock)),
        access: Cache::new(AccessTokens(account), Arc::clone(&settings.clock)),
        clock: Arc::clone(&settings.clock),
        paused: Mutex::default(),
    })))
}

/// The headers of a workspace on Google Cloud.
struct Signed<A> {
    id: Cache<IdTokens<A>>,
    access: Cache<AccessTokens<A>>,
    clock: Arc<dyn crate::clock::Clock>,
    /// Until when no access token is requested.
    paused: Mutex<Option<SystemTime>>,
}

#[async_trait]
impl<A: Account> Credentials for Signed<A> {
    async fn headers(&self) -> Result<HeaderMap, AuthError> {
        let token = self.id.token().await?;
        let mut headers = authorization(&token.kind, token.value.expose_secret())?;
        if let Some(token) = self.access_token().await {
            headers.insert(ACCESS_HEADER, sensitive(token.value.expose_secret())?);
        }
        Ok(headers)
    }

    fn renew(&self, refused: &HeaderMap) -> bool {
        self.id.drop_token(refused.get(AUTHORIZATION));
        self.access.drop_token(refused.get(ACCESS_HEADER));
        true
    }
}

impl<A: Account> Signed<A> {
    /// The access token. Few APIs need it, so requests go out without it where it cannot be had.
    async fn access_token(&self) -> Option<Arc<Token>> {
        let paused = || self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        if paused().is_some_and(|until| self.clock.now() < until) {
            return None;
        }
        match self.access.token().await {
            Ok(token) => Some(token),
            Err(error) => {
                tracing::warn!(%error, "going without an access token of the Google service account");
                *paused() = Some(self.clock.now() + ACCESS_TOKEN_PAUSE);
                None
            }
        }
    }
}

struct IdTokens<A> {
    account: Arc<A>,
    audience: String,
}

#[async_trait]
impl<A: Account> token_cache::Source for IdTokens<A> {
    async fn fetch(&self) -> Result<Token, AuthError> {
        self.account.id_token(&self.audience).await
    }
}

struct AccessTokens<A>(Arc<A>);

#[async_trait]
impl<A: Account> token_cache::Source for AccessTokens<A> {
    async fn fetch(&self) -> Result<Token, AuthError> {
        self.0.access_token().await
    }
}

/// The key of a service account, as Google hands it out.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    private_key: SecretString,
    #[serde(default)]
    token_uri: String,
}

/// A service account whose key is known.
pub(super) struct Key {
    email: String,
    id: String,
    token_url: String,
    pair: RsaKeyPair,
}

impl Key {
    /// Reads a key file. No error quotes it.
    pub(super) fn parse(settings: &Settings, json: &str) -> Result<Key, AuthError> {
        let file: KeyFile = serde_json::from_str(json).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            AuthError(format!("not the JSON key of a Google service account (line {line}, column {column})"))
        })?;
        if file.kind != "service_account" {
            return Err(AuthError(
                "not the key of a Google service account: its type is not service_account".to_owned(),
            ));
        }
        let unusable = || {
            AuthError("the private key of the Google service account is not an RSA key in PKCS#8".to_owned())
        };
        let mut der = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.expose_secret().as_bytes())
            .map_err(|_| unusable())?;
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der());
        der.zeroize();
        let token_url =
            if file.token_uri.is_empty() { settings.services.google_token.clone() } else { file.token_uri };
        Ok(Key {
            email: file.client_email,
            id: file.private_key_id,
            token_url,
            pair: pair.map_err(|_| unusable())?,
        })
    }

    /// Gets an access token.
    pub(super) async fn access_token(&self, settings: &Settings, scopes: &str) -> Result<Token, AuthError> {
        let answer: TokenAnswer = self.exchange(settings, "scope", scopes).await?;
        answer.token(&self.what(), settings)
    }

    /// Gets an ID token.
    pub(super) async fn id_token(&self, settings: &Settings, audience: &str) -> Result<Token, AuthError> {
        let answer: IdAnswer = self.exchange(settings, "target_audience", audience).await?;
        id_token(&self.what(), settings, answer.id_token)
    }

    fn what(&self) -> String {
        format!("token request to {}", self.token_url)
    }

    /// Requests a token with a JWT that the key signs.
    async fn exchange<T: DeserializeOwned>(
        &self,
        settings: &Settings,
        claim: &str,
        value: &str,
    ) -> Result<T, AuthError> {
        let now = settings.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = json!({
            "iss": self.email,
            "aud": self.token_url,
            "iat": now,
            "exp": now + 3600,
            claim: value,
        });
        let form = token_request::form(&[
            ("assertion", &self.sign(&claims)?),
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ]);
        let request = || token_request::post_form(settings, &self.token_url, &form);
        token_request::send(settings, &self.what(), request).await
    }

    fn sign(&self, claims: &Json) -> Result<Zeroizing<String>, AuthError> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.id });
        let part = |json: &Json| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let mut jwt = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), jwt.as_bytes(), &mut signature)
            .map_err(|_| AuthError("the key of the Google service account cannot sign".to_owned()))?;
        jwt.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(&signature, &mut jwt);
        Ok(Zeroizing::new(jwt))
    }
}

#[derive(Deserialize)]
struct IdAnswer {
    id_token: SecretString,
}

/// Makes a token of an ID token, which states its own expiry. Where it cannot be read, the token lasts the hour that
/// Google promises.
pub(super) fn id_token(what: &str, settings: &Settings, value: SecretString) -> Result<Token, AuthError> {
    #[derive(Deserialize)]
    struct Claims {
        exp: token_request::Seconds,
    }
    let claims = value.expose_secret().split('.').nth(1).and_then(|part| {
        let part = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?);
        serde_json::from_slice::<Claims>(&part).ok()
    });
    let expires = match claims {
        Some(claims) => SystemTime::UNIX_EPOCH + claims.exp.duration(),
        None => settings.clock.now() + Duration::from_secs(3600),
    };
    Token::new(what, value, "", Some(expires))
}

#[cfg(test)]
pub(super) mod tests {
    use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;
    use crate::env::Env;
    use crate::strategies::testing::{Answer, Clock, Server, settings, start};

    pub(in super::super) const EMAIL: &str = "robot@project.iam.gserviceaccount.com";

    /// A key file whose tokens come from `token_uri`.
    pub(in super::super) fn key_file(token_uri: &str) -> String {
        json!({
            "type": "service_account",
            "client_email": EMAIL,
            "private_key_id": "key-1",
            "private_key": include_str!("testdata/test-only-rsa-key.pem"),
            "token_uri": token_uri,
        })
        .to_string()
    }

    /// The claims in the JWT of a token request, after a check of its signature.
    pub(in super::super) fn claims(body: &str) -> Json {
        let jwt = form_urlencoded::parse(body.as_bytes())
            .find_map(|(name, value)| (name == "assertion").then(|| value.into_owned()))
            .unwrap();
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let pem = include_bytes!("testdata/test-only-rsa-key.pem");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
            .verify(signed.as_bytes(), &BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap())
            .unwrap();
        let part = |part: &str| -> Json {
            serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        let (header, claims) = signed.split_once('.').unwrap();
        assert_eq!(part(header), json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" }));
        part(claims)
    }

    #[tokio::test]
    async fn an_id_token_that_does_not_say_when_it_expires_lives_for_an_hour() {
        let settings = settings(&[], Env::default(), Clock::still()).await;
        for (token, seconds) in [("opaque".to_owned(), 3600), (some_id_token(1_800_000_007), 7)] {
            let token = id_token("request", &settings, token.into()).unwrap();
            assert_eq!(token.expires, Some(start() + Duration::from_secs(seconds)));
        }
    }

    #[tokio::test]
    async fn a_refused_key_is_reported_with_the_address_that_refused_it() {
        let server = Server::start(|_, _| Answer::status(400)).await;
        let url = format!("{}/token", server.url);
        let settings = settings(&[], Env::default(), Clock::still()).await;
        let key = Key::parse(&settings, &key_file(&url)).unwrap();
        let error = key.access_token(&settings, "scope").await.err().unwrap().to_string();
        assert!(error.starts_with(&format!("token request to {url}: 400 ")), "{error}");
    }

    /// An ID token like Google's, which states its expiry.
    pub(in super::super) fn some_id_token(expires: u64) -> String {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(json!({ "exp": expires }).to_string());
        format!("e30.{claims}.c2ln")
    }
}
