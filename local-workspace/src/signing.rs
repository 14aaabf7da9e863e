//! Signatures of access and id tokens, and the key set to check them with.
//!
//! The key is the same in every copy of this program, so none has to be generated at the start, and it proves nothing
//! to anybody: the workspace itself knows its tokens by their hash alone.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The key, and its id according to RFC 7638.
struct Key {
    pair: RsaKeyPair,
    public: PublicKeyComponents<Vec<u8>>,
    id: String,
}

static KEY: LazyLock<Key> = LazyLock::new(|| {
    let pair = RsaKeyPair::from_pkcs8(include_bytes!("signing_key.der")).expect("the built-in key is one");
    let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
    let thumbprint = format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64(&public.e), base64(&public.n));
    Key { pair, id: base64(&Sha256::digest(thumbprint)), public }
});

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A JWT with these claims, signed with RS256.
pub(crate) fn jwt(claims: &Value) -> String {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": KEY.id});
    let signed =
        format!("{}.{}", base64(header.to_string().as_bytes()), base64(claims.to_string().as_bytes()));
    let mut signature = vec![0; KEY.pair.public().modulus_len()];
    KEY.pair
        .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .expect("the buffer has the length of the modulus");
    format!("{signed}.{}", base64(&signature))
}

/// The key set of RFC 7517.
pub(crate) fn key_set() -> Value {
    json!({"keys": [{
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": KEY.id,
        "n": base64(&KEY.public.n),
        "e": base64(&KEY.public.e),
    }]})
}
