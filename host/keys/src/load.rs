//! Reading keys: a shared secret, a public key in PEM, a JWK set (RFC 7517).
//!
//! Every key is tried out here, so that one that could never verify anything
//! is a mistake in the configuration and not a mystery at the first token.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

use crate::errors::KeyError;
use base::files::pem::{self, Block};

/// The algorithms that a key set may allow. Each belongs to one type of key,
/// so that no key can ever be used with an algorithm that it was not made for.
pub const ALGORITHMS: [Algorithm; 4] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

/// RFC 7518 section 3.2: an HS256 key is at least as long as its hash.
const SHORTEST_SECRET: usize = 32;

/// RFC 7518 section 3.3, and the most that the cryptography library takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A token is tried against so many keys of its algorithm and `kid` at the most: their number is
/// what one refusal costs.
pub(super) const MOST_TRIED: usize = 32;

/// A key that was tried out, with the one algorithm that it is for.
pub(super) struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let same = match (self.decoding.kind(), other.decoding.kind()) {
            (DecodingKeyKind::SecretOrDer(one), DecodingKeyKind::SecretOrDer(two)) => one == two,
            (
                DecodingKeyKind::RsaModulusExponent { n, e },
                DecodingKeyKind::RsaModulusExponent { n: n2, e: e2 },
            ) => n == n2 && e == e2,
            _ => false,
        };
        same && self.algorithm == other.algorithm
    }
}

/// A key of a JWK set.
#[derive(PartialEq)]
pub(super) struct NamedKey {
    /// Its `kid`.
    pub(super) id: Option<String>,
    pub(super) key: Key,
}

impl AsRef<Key> for Key {
    fn as_ref(&self) -> &Key {
        self
    }
}

impl AsRef<Key> for NamedKey {
    fn as_ref(&self) -> &Key {
        &self.key
    }
}

impl Key {
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this key made the signature.
    pub(super) fn signed(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(
            signature,
            message.as_bytes(),
            &self.decoding,
            self.algorithm,
        )
        .is_ok_and(|fits| fits)
    }

    /// Tries the key out.
    fn new(decoding: DecodingKey) -> Result<Self, Unfit> {
        let algorithm = match (decoding.family(), decoding.kind()) {
            (AlgorithmFamily::Hmac, DecodingKeyKind::SecretOrDer(secret)) => {
                if secret.len() < SHORTEST_SECRET {
                    return Err(Unfit::ShortSecret(secret.len()));
                }
                Algorithm::HS256
            }
            (AlgorithmFamily::Rsa, kind) => {
                let bits = 8 * match kind {
                    DecodingKeyKind::SecretOrDer(der) => rsa::PublicKey::from_der(der)
                        .map_err(|_| Unfit::Rsa)?
                        .modulus_len(),
                    DecodingKeyKind::RsaModulusExponent { n, e } => RsaPublicKeyComponents { n, e }
                        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                        .map(|_| n.iter().skip_while(|byte| **byte == 0).count())
                        .map_err(|_| Unfit::Rsa)?,
                };
                if !RSA_BITS.contains(&bits) {
                    return Err(Unfit::RsaSize(bits));
                }
                Algorithm::RS256
            }
            (AlgorithmFamily::Ec, DecodingKeyKind::SecretOrDer(point)) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| Unfit::Ec)?;
                Algorithm::ES256
            }
            (AlgorithmFamily::Ed, DecodingKeyKind::SecretOrDer(point)) => {
                ParsedPublicKey::new(&ED25519, point).map_err(|_| Unfit::Ed)?;
                Algorithm::EdDSA
            }
            (_, DecodingKeyKind::RsaModulusExponent { .. }) => return Err(Unfit::Rsa),
        };
        Ok(Self {
            algorithm,
            decoding,
        })
    }
}

/// Why a key that was read is of no use.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("the secret is {0} bytes long, and HS256 asks for at least {SHORTEST_SECRET}")]
    ShortSecret(usize),
    #[error("it is not a valid RSA public key")]
    Rsa,
    #[error("the RSA key has {0} bits, and RS256 asks for 2048 to 8192")]
    RsaSize(usize),
    #[error("it is not a valid public key on the curve P-256, which ES256 asks for")]
    Ec,
    #[error("it is not a valid Ed25519 public key")]
    Ed,
}

impl Unfit {
    const fn help(&self) -> &'static str {
        match self {
            Self::ShortSecret(_) => "make one with `openssl rand -base64 32`",
            Self::RsaSize(_) => "have the issuer make a larger key",
            Self::Rsa | Self::Ec | Self::Ed => "copy the public key from the issuer again",
        }
    }
}

/// Reads a shared secret, for HS256.
pub(super) fn secret(secret: &[u8], allowed: &[Algorithm]) -> Result<Key, KeyError> {
    let key = Key::new(DecodingKey::from_secret(secret))
        .map_err(|unfit| KeyError::new(unfit.to_string(), unfit.help()))?;
    check_allowed(key, allowed)
}

/// Keys that were read, and what an operator should know of them.
pub(super) struct Loaded<T> {
    pub(super) keys: Vec<T>,
    /// A sentence for each key that is not used, and for what is unusual.
    pub(super) remarks: Vec<String>,
}

/// Reads the public keys of a PEM file, for `RS256`, `ES256` or `EdDSA`. What stands beside them
/// is passed over: a file may hold the certificate of a key as well.
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

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// Reads a JWK set. A key of it that cannot be used (by its type, `alg`, `use` or `key_ops`, or
/// because it is weak or damaged) is passed over, as RFC 7517 section 5 asks: an issuer that
/// publishes a new kind of key must not lock out whoever has a good one.
pub(super) fn jwks(json: &str, allowed: &[Algorithm]) -> Result<Loaded<NamedKey>, KeyError> {
    let set: JwkSet = serde_json::from_str(json).map_err(|error| {
        // The error's own text may quote the input, which may hold a secret.
        let place = format!("line {}, column {}", error.line(), error.column());
        KeyError::new(
            format!("the JWK set is not one: see its {place}"),
            r#"give a JSON object of the form {"keys": [{"kty": "RSA", "kid": "…", …}]}"#,
        )
    })?;
    let mut loaded = Loaded {
        keys: Vec::<NamedKey>::new(),
        remarks: Vec::new(),
    };
    for (index, json) in set.keys.into_iter().enumerate() {
        let name = name(index, &json);
        match read_jwk(json, allowed) {
            Err(reason) => loaded.remarks.push(format!("{name} is not used: {reason}")),
            Ok(named) if loaded.keys.contains(&named) => {
                let remark = format!("{name} is not used: it is there twice");
                loaded.remarks.push(remark);
            }
            Ok(named) => {
                let twin = |other: &NamedKey| other.id.is_some() && other.id == named.id;
                if loaded.keys.iter().any(twin) {
                    let remark = format!(
                        "{name} has the `kid` of a key before it (RFC 7517 section 4.5); both are \
                         tried"
                    );
                    loaded.remarks.push(remark);
                }
                loaded.keys.push(named);
            }
        }
    }
    if loaded.keys.is_empty() {
        let mut reasons = loaded.remarks.join("; ");
        if !reasons.is_empty() {
            reasons = format!(" ({})", base::text::clip(&reasons, 1000));
        }
        return Err(KeyError::new(
            format!("no key of the JWK set can verify a token with one of {allowed:?}{reasons}"),
            "look at `kty`, `crv`, `alg`, `use` and `key_ops` of its keys, and at `algorithms` here",
        ));
    }
    Ok(bounded(loaded))
}

/// Says so where not every key of a type is tried.
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

/// What a report calls a key.
fn name(index: usize, json: &Value) -> String {
    match json.get("kid").and_then(Value::as_str) {
        Some(kid) => format!("key {index} (\"{}\")", base::text::clean(kid, 60)),
        None => format!("key {index}"),
    }
}

/// The key, or why it is not used.
fn read_jwk(json: Value, allowed: &[Algorithm]) -> Result<NamedKey, String> {
    let is_private = json.get("kty") != Some(&"oct".into()) && json.get("d").is_some();
    let member = |name: &str| {
        let value = json.get(name).and_then(Value::as_str);
        base::text::clean(value.unwrap_or("none"), 20)
    };
    let kind = format!("`kty` is {}, `crv` is {}", member("kty"), member("crv"));
    let jwk: Jwk = serde_json::from_value(json)
        .map_err(|_| "it is not a JSON Web Key, or lacks a member of its type".to_owned())?;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            Algorithm::EdDSA
        }
        _ => return Err(format!("its type or curve is not supported ({kind})")),
    };
    if is_private {
        let reason = "it has its private part, so that whoever has read it can make tokens: have \
                      the issuer replace it";
        return Err(reason.to_owned());
    }
    let common = &jwk.common;
    if !allowed.contains(&algorithm) {
        return Err(format!(
            "it is for {algorithm:?}, which `algorithms` does not list"
        ));
    }
    if common
        .key_algorithm
        .is_some_and(|alg| alg != KeyAlgorithm::from(algorithm))
    {
        return Err("its `alg` is another one than can be verified".to_owned());
    }
    if common
        .public_key_use
        .as_ref()
        .is_some_and(|r#use| *r#use != PublicKeyUse::Signature)
    {
        return Err("its `use` is not \"sig\"".to_owned());
    }
    if common
        .key_operations
        .as_ref()
        .is_some_and(|ops| !ops.contains(&KeyOperations::Verify))
    {
        return Err("its `key_ops` has no \"verify\"".to_owned());
    }
    let key = DecodingKey::from_jwk(&jwk)
        .map_err(|_| "it is not valid base64url".to_owned())
        .and_then(|decoding| Key::new(decoding).map_err(|unfit| unfit.to_string()))?;
    Ok(NamedKey {
        id: jwk.common.key_id,
        key,
    })
}
