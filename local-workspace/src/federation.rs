//! Token federation: policies of service principals and of the account say whose id tokens the token endpoint
//! exchanges.
//!
//! Real workspaces fetch an issuer's keys. This one fetches nothing: a policy has the keys in it, or its issuer is one
//! that is imitated here, which signs with the workspace's own key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ApiError;
use crate::signing::key_set;
use crate::state::{Principal, State};

/// What an id token must have.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcPolicy {
    pub(crate) issuer: String,
    /// One of them must be in `aud`; if there are none, the account id must be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) audiences: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// `sub` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject_claim: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jwks_uri: Option<String>,
    /// The keys, as the text of a key set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jwks_json: Option<String>,
}

/// A policy of a service principal, or of the account.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Policy {
    pub(crate) id: String,
    pub(crate) uid: String,
    /// Numeric id of the service principal; `None` for a policy of the account.
    pub(crate) principal: Option<u64>,
    pub(crate) description: Option<String>,
    pub(crate) oidc: OidcPolicy,
    pub(crate) create_ms: i64,
    pub(crate) update_ms: i64,
}

impl OidcPolicy {
    /// Refuses what is wrong for a policy of a service principal, or of the account.
    pub(crate) fn check(&self, of_principal: bool) -> Result<(), ApiError> {
        let wrong = |problem: &str| Err(ApiError::invalid_parameter(format!("oidc_policy.{problem}")));
        let subject = self.subject.as_deref().is_some_and(|subject| !subject.is_empty());
        if self.issuer.is_empty() {
            return wrong("issuer: must not be empty");
        }
        if of_principal && !subject {
            return wrong("subject: must be specified for the policy of a service principal");
        }
        if !of_principal && subject {
            return wrong("subject: must not be specified for the policy of an account");
        }
        if self.audiences.iter().any(String::is_empty) {
            return wrong("audiences: an audience must not be empty");
        }
        if let Some(text) = &self.jwks_json
            && !serde_json::from_str::<Value>(text).is_ok_and(|keys| keys["keys"].is_array())
        {
            return wrong("jwks_json: must be a key set");
        }
        Ok(())
    }

    fn subject_of<'a>(&self, claims: &'a Value) -> Option<&'a str> {
        claims[self.subject_claim.as_deref().unwrap_or("sub")].as_str()
    }

    fn keys(&self) -> Value {
        match &self.jwks_json {
            Some(text) => serde_json::from_str(text).unwrap_or_default(),
            None => key_set(),
        }
    }
}

/// A JWT whose signature is not checked yet.
struct Jwt<'a> {
    header: Value,
    claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let json = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { header: json(header)?, claims: json(claims)?, signed, signature })
    }

    fn is_signed_by_one_of(&self, keys: &Value) -> bool {
        let id = &self.header["kid"];
        let fits = |key: &&Value| id.is_null() || key["kid"].is_null() || key["kid"] == *id;
        keys["keys"].as_array().into_iter().flatten().filter(fits).any(|key| self.is_signed_by(key))
    }

    /// The header names the algorithm, and the key has to be one for it.
    fn is_signed_by(&self, key: &Value) -> bool {
        let field = |name: &str| key[name].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let signed = self.signed.as_bytes();
        match (self.header["alg"].as_str(), key["kty"].as_str()) {
            (Some("RS256"), Some("RSA")) => {
                let (Some(n), Some(e)) = (field("n"), field("e")) else { return false };
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, &self.signature).is_ok()
            }
            (Some("ES256"), Some("EC")) => {
                let (Some(x), Some(y)) = (field("x"), field("y")) else { return false };
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(signed, &self.signature)
                    .is_ok()
            }
            _ => false,
        }
    }
}

impl State {
    /// The principal that an id token stands for according to one of the policies, or why it stands for nobody.
    ///
    /// With a client, the policies of that service principal count. Without one, those of the account do, and the
    /// token's subject is the user name or the application id.
    pub(crate) fn federated(&self, token: &str, client_id: Option<&str>) -> Result<&Principal, &'static str> {
        let jwt = Jwt::parse(token).ok_or("The subject_token is not trusted")?;
        let client = client_id.and_then(|id| self.service_principal_named(id)).map(|client| client.id);
        if client_id.is_some() && client.is_none() {
            return Err("The subject_token is not trusted");
        }
        let mut why = "No federation policy fits the issuer of the subject_token";
        let of_issuer =
            |policy: &&Policy| policy.principal == client && jwt.claims["iss"] == policy.oidc.issuer;
        for policy in self.federation_policies.iter().filter(of_issuer) {
            match self.fits(&policy.oidc, &jwt) {
                Ok(subject) => {
                    let found = match client {
                        Some(client) => self.principal(client),
                        None => self.principal_named(subject),
                    };
                    return found.ok_or("The subject of the subject_token is nobody's name");
                }
                Err(problem) => why = problem,
            }
        }
        Err(why)
    }

    fn fits<'a>(&self, policy: &OidcPolicy, jwt: &'a Jwt<'_>) -> Result<&'a str, &'static str> {
        let claims = &jwt.claims;
        if !jwt.is_signed_by_one_of(&policy.keys()) {
            return Err("The signature of the subject_token is wrong");
        }
        let now = self.now_ms().div_euclid(1000);
        let time = |name: &str| claims[name].as_f64();
        // A double holds every second until long after the end of the calendar.
        #[expect(clippy::cast_precision_loss)]
        let now = now as f64;
        if time("exp").is_none_or(|expiry| expiry <= now) {
            return Err("The subject_token is expired");
        }
        if time("nbf").is_some_and(|start| start > now) {
            return Err("The subject_token is not valid yet");
        }
        let account = std::slice::from_ref(&self.account_id);
        let accepted = if policy.audiences.is_empty() { account } else { &policy.audiences };
        let is_accepted = |audience: &Value| accepted.iter().any(|accepted| audience == accepted);
        let audience = match &claims["aud"] {
            Value::Array(audiences) => audiences.iter().any(is_accepted),
            audience => is_accepted(audience),
        };
        if !audience {
            return Err("The audience of the subject_token is not accepted");
        }
        let subject = policy.subject_of(claims).ok_or("The subject_token has no subject")?;
        if policy.subject.as_deref().is_some_and(|wanted| wanted != subject) {
            return Err("The subject of the subject_token is not accepted");
        }
        Ok(subject)
    }
}
