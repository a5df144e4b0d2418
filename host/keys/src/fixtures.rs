//! Keys and tokens for tests. Every key is made when the tests run.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    reason = "for tests alone"
)]

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::encoding::{Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::KeySet;
use crate::settings;
use crate::settings::KeySource;
use base::diagnostics::Place;
use base::secret::Secret;

/// The time at which tests verify, in seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

/// An issuer's key pair.
pub struct Issuer {
    pub algorithm: Algorithm,
    pub signing: EncodingKey,
    /// The public half, in PEM.
    pub pem: String,
}

impl Issuer {
    fn new(algorithm: Algorithm, private: &[u8], public: &[u8]) -> Self {
        let signing = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_der(private),
            Algorithm::EdDSA => EncodingKey::from_ed_der(private),
            _ => EncodingKey::from_ec_der(private),
        };
        Self {
            algorithm,
            signing,
            pem: pem("PUBLIC KEY", public),
        }
    }

    /// The public half as a JWK, with `members` added.
    pub fn jwk(&self, members: &Value) -> Value {
        crate::key_set::install_provider();
        let mut jwk = json!(Jwk::from_encoding_key(&self.signing, self.algorithm).unwrap());
        jwk.as_object_mut().unwrap().remove("alg");
        jwk.as_object_mut()
            .unwrap()
            .extend(members.as_object().unwrap().clone());
        jwk
    }

    pub fn token(&self, header: &Value, claims: &Value) -> String {
        let mut full = json!({"alg": self.algorithm, "typ": "JWT"});
        full.as_object_mut()
            .unwrap()
            .extend(header.as_object().unwrap().clone());
        sign(
            &full.to_string(),
            &claims.to_string(),
            &self.signing,
            self.algorithm,
        )
    }
}

pub static RSA: LazyLock<Issuer> = LazyLock::new(|| rsa(KeySize::Rsa2048));
pub static OTHER_RSA: LazyLock<Issuer> = LazyLock::new(|| rsa(KeySize::Rsa2048));

fn rsa(size: KeySize) -> Issuer {
    let pair = RsaKeyPair::generate(size).unwrap();
    // jsonwebtoken takes an RSA private key as PKCS#1, which is what PKCS#8
    // wraps: 26 bytes of wrapping for a key of this size.
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    Issuer::new(Algorithm::RS256, &pkcs8.as_ref()[26..], public.as_ref())
}

pub static EC: LazyLock<Issuer> = LazyLock::new(|| {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    Issuer::new(Algorithm::ES256, pkcs8.as_ref(), public.as_ref())
});

pub static ED: LazyLock<Issuer> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::generate().unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    Issuer::new(Algorithm::EdDSA, pkcs8.as_ref(), public.as_ref())
});

/// A public key on a curve that is not supported.
pub fn p384_pem() -> String {
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    pem("PUBLIC KEY", public.as_ref())
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<_> = body
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

pub const SECRET: &[u8] = b"correct horse battery staple, twice over";

/// A token signed with [`SECRET`].
pub fn hs256(header: &str, claims: &str) -> String {
    sign(
        header,
        claims,
        &EncodingKey::from_secret(SECRET),
        Algorithm::HS256,
    )
}

/// Signs any two texts, JSON or not.
pub fn sign(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    crate::key_set::install_provider();
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

pub fn settings(source: KeySource, algorithms: &[Algorithm]) -> settings::KeySet {
    settings::KeySet {
        source,
        file: None,
        algorithms: algorithms.to_vec(),
        issuers: Vec::new(),
        audiences: Vec::new(),
        leeway: Duration::from_secs(30),
        place: Place::nowhere(),
    }
}

/// A key set that needs no folder.
pub fn build(source: KeySource, algorithms: &[Algorithm]) -> Result<KeySet, crate::KeyError> {
    KeySet::build(
        "test",
        &settings(source, algorithms),
        Path::new("/nonexistent"),
    )
}

pub fn secret_set() -> KeySet {
    build(KeySource::Secret(Secret::new(SECRET)), &[Algorithm::HS256]).unwrap()
}

pub fn jwks(keys: &[Value]) -> KeySource {
    KeySource::Jwks(json!({ "keys": keys }).to_string())
}
