mod claims;
mod file;
mod generated;
mod kid;
mod load;
mod provider;
mod signature;

use serde_json::{Value, json};

use super::TokenError;
use super::fixtures::*;
use crate::settings::KeySource;
use crate::{ALGORITHMS, KeySet};

fn claims() -> Value {
    json!({"exp": NOW + 60, "user_id": "u1"})
}

fn verdict(set: &KeySet, token: &str) -> Result<(), TokenError> {
    set.verify_at(token, NOW).map(|_| ())
}

fn pem_set(issuer: &Issuer) -> KeySet {
    build(KeySource::Pem(issuer.pem.clone().into_bytes()), &ALGORITHMS).unwrap()
}

/// One key of each type, each with a name, and one RSA key more.
fn mixed_set() -> KeySet {
    let keys = [
        RSA.jwk(&json!({"kid": "rsa"})),
        OTHER_RSA.jwk(&json!({"kid": "other"})),
        EC.jwk(&json!({"kid": "ec"})),
        ED.jwk(&json!({"kid": "ed"})),
    ];
    build(jwks(&keys), &ALGORITHMS).unwrap()
}
