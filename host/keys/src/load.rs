//! Loading of keys: a shared secret, public keys in PEM, or a JWK set (RFC 7517).
//!
//! Every key is tried here. So a key that could never verify anything is reported as a mistake in
//! the configuration, before the first token comes.

use jsonwebtoken::{Algorithm, DecodingKey};

use crate::errors::KeyError;
use base::files::pem::{self, Block};

mod jwks;
mod key;

pub(super) use jwks::{NamedKey, jwks};
pub(super) use key::Key;

/// Algorithms that a key set may allow. Each belongs to one type of key, so that no key is ever
/// used with an algorithm that it was not made for.
pub const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

/// Maximum number of keys that a token is tried against. It bounds the cost of a refusal.
pub(super) const MOST_TRIED: usize = 32;

/// Reads a shared secret for HS256.
pub(super) fn secret(secret: &[u8], allowed: &[Algorithm]) -> Result<Key, KeyError> {
    let key = Key::new(DecodingKey::from_secret(secret))
        .map_err(|unfit| KeyError::new(unfit.to_string(), unfit.help()))?;
    check_allowed(key, allowed)
}

/// Keys that were read, with warnings for the operator.
pub(super) struct Loaded<T> {
    pub(super) keys: Vec<T>,
    /// A sentence for each key that is not used, and for what is unusual.
    pub(super) remarks: Vec<String>,
}

/// Reads the public keys of a PEM file, for `RS256`, `ES256` or `EdDSA`. Other blocks, such as the
/// certificate of a key, are skipped.
pub(super) fn pem(text: &[u8], allowed: &[Algorithm]) -> Result<Loaded<Key>, KeyError> {
    let blocks = pem::blocks(&String::from_utf8_lossy(text));
    if blocks.is_empty() {
        return Err(KeyError::new(
            "the public key is not in PEM",
            "give a block that starts with -----BEGIN PUBLIC KEY-----",
        ));
    }
    let mut loaded = Loaded {
        keys: Vec::new(),
        remarks: Vec::new(),
    };
    let mut first = None;
    for (index, block) in blocks.into_iter().enumerate() {
        match pem_key(block, allowed) {
            Ok(key) => loaded.keys.push(key),
            Err(error) => {
                loaded
                    .remarks
                    .push(format!("block {index} is not used: {}", error.problem));
                first.get_or_insert(error);
            }
        }
    }
    match first {
        Some(error) if loaded.keys.is_empty() => Err(error),
        _ => Ok(bounded(loaded)),
    }
}

fn pem_key(block: Block, allowed: &[Algorithm]) -> Result<Key, KeyError> {
    let label = block.label;
    if !matches!(label.as_str(), "PUBLIC KEY" | "RSA PUBLIC KEY") {
        let help = match label.as_str() {
            "CERTIFICATE" => "take the key out of it with `openssl x509 -pubkey -noout -in FILE`",
            _ if label.ends_with("PRIVATE KEY") => {
                "a private key belongs to the issuer alone: give its public half, `openssl pkey -pubout -in FILE`"
            }
            _ => "give a PEM block that starts with -----BEGIN PUBLIC KEY-----",
        };
        return Err(KeyError::new(
            format!("the PEM block is a {label}, not a public key"),
            help,
        ));
    }
    let der = block.der.map_err(|error| {
        KeyError::new(
            format!("the PEM block is a {label}, and {error}"),
            "copy the public key from the issuer again",
        )
    })?;
    let text = ::pem::encode(&::pem::Pem::new(label, der));
    let decoding = DecodingKey::from_rsa_pem(text.as_bytes())
        .or_else(|_| DecodingKey::from_ec_pem(text.as_bytes()))
        .or_else(|_| DecodingKey::from_ed_pem(text.as_bytes()))
        .map_err(|_| {
            KeyError::new(
                "the PEM block holds no key of a type that is supported",
                "use RSA (RS256), EC on the curve P-256 (ES256) or Ed25519 (EdDSA)",
            )
        })?;
    let key = Key::new(decoding)
        .map_err(|unfit| KeyError::new(format!("the PEM key: {unfit}"), unfit.help()))?;
    check_allowed(key, allowed)
}

fn check_allowed(key: Key, allowed: &[Algorithm]) -> Result<Key, KeyError> {
    if allowed.contains(&key.algorithm) {
        return Ok(key);
    }
    let needed = key.algorithm;
    Err(KeyError::new(
        format!("the key is for {needed:?}, which `algorithms` does not list"),
        format!("set algorithms = [\"{needed:?}\"], or give a key of another type"),
    ))
}

/// Adds a warning if not all keys of one algorithm are tried.
fn bounded<T: AsRef<Key>>(mut loaded: Loaded<T>) -> Loaded<T> {
    for algorithm in ALGORITHMS {
        let of_one = |key: &&T| (*key).as_ref().algorithm == algorithm;
        let count = loaded.keys.iter().filter(of_one).count();
        if count > MOST_TRIED {
            loaded.remarks.push(format!(
                "there are {count} keys for {algorithm:?}, and a token that does not name its key is \
                 tried against the first {MOST_TRIED} of them alone"
            ));
        }
    }
    loaded
}
