//! Valid and invalid tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// Shared secret of the key set in [`crate::config`].
pub const SECRET: &str = "canary-secret-4f1d0c52a6e9487bb6c3";

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Claims of the deployed client's tokens.
pub fn claims() -> Value {
    json!({
        "user_id": "u-1", "tenant_id": "t-1", "email": "ada@example.org", "role": "member",
        "iat": now(), "exp": now() + 3600, "aud": "meetings", "iss": "our-app",
    })
}

/// The usual claims with some of them replaced; null removes one.
pub fn claims_with(changes: Value) -> Value {
    let (mut claims, Value::Object(changes)) = (claims(), changes) else {
        panic!("claims are an object")
    };
    for (name, value) in changes {
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(&name);
        } else {
            claims[name] = value;
        }
    }
    claims
}

/// Valid token.
pub fn good() -> String {
    sign(&claims())
}

/// Valid token of another user of the same tenant.
pub fn of_user(user: &str) -> String {
    sign(&claims_with(json!({"user_id": user})))
}

/// Signs claims with HS256 and [`SECRET`].
pub fn sign(claims: &Value) -> String {
    sign_with(&Header::new(Algorithm::HS256), claims, SECRET.as_bytes())
}

/// Signs claims with HS256, HS384 or HS512, any secret and header.
pub fn sign_with(header: &Header, claims: &Value, secret: &[u8]) -> String {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret))
        .expect("claims can be signed")
}

/// Token with any header and an invalid signature.
pub fn forged(header: &Value, signature: &[u8]) -> String {
    let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    format!(
        "{}.{}.{}",
        part(header),
        part(&claims()),
        BASE64_URL_SAFE_NO_PAD.encode(signature)
    )
}

/// Key pair, of which the gateway gets the public half.
pub struct KeyOfOurs {
    private: Vec<u8>,
    public: Vec<u8>,
    /// Public half in PEM.
    pub pem: String,
}

impl KeyOfOurs {
    /// New Ed25519 key.
    pub fn generate() -> Self {
        let key = Ed25519KeyPair::generate().expect("a key");
        let der = key.public_key().as_der().expect("a public key has a form");
        let private = key
            .to_pkcs8()
            .expect("a private key has a form")
            .as_ref()
            .to_vec();
        let body = BASE64_STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
        let public = key.public_key().as_ref().to_vec();
        Self {
            private,
            public,
            pem,
        }
    }

    /// Public half as a JWK of this name.
    pub fn jwk(&self, kid: &str) -> Value {
        let x = BASE64_URL_SAFE_NO_PAD.encode(&self.public);
        json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x})
    }

    /// Signs claims with EdDSA, as the key of this name.
    pub fn sign_as(&self, kid: &str, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(kid.to_owned());
        self.sign_with(&header, claims)
    }

    /// Signs claims with EdDSA.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&Header::new(Algorithm::EdDSA), claims)
    }

    fn sign_with(&self, header: &Header, claims: &Value) -> String {
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        let key = EncodingKey::from_ed_der(&self.private);
        jsonwebtoken::encode(header, claims, &key).expect("claims can be signed")
    }
}
