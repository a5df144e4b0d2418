//! Keys that can verify a signature.

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};

/// Minimum length of a secret, in bytes: that of the hash of HS256 (RFC 7518 section 3.2).
const SHORTEST_SECRET: usize = 32;

/// Allowed sizes of an RSA key, in bits: the minimum of RFC 7518 section 3.3, and the maximum of
/// the cryptography library.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Verified key, with the one algorithm that it is for.
pub(crate) struct Key {
    pub(super) algorithm: Algorithm,
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

impl AsRef<Key> for Key {
    fn as_ref(&self) -> &Key {
        self
    }
}

impl Key {
    pub(crate) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this key made the signature.
    pub(crate) fn signed(&self, message: &str, signature: &str) -> bool {
        jsonwebtoken::crypto::verify(
            signature,
            message.as_bytes(),
            &self.decoding,
            self.algorithm,
        )
        .is_ok_and(|fits| fits)
    }

    /// Checks that the key is valid and strong enough.
    pub(super) fn new(decoding: DecodingKey) -> Result<Self, Unfit> {
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

/// Reason why a key that was read cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
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
    /// Instruction for the operator.
    pub(super) const fn help(&self) -> &'static str {
        match self {
            Self::ShortSecret(_) => "make one with `openssl rand -base64 32`",
            Self::RsaSize(_) => "have the issuer make a larger key",
            Self::Rsa | Self::Ec | Self::Ed => "copy the public key from the issuer again",
        }
    }
}
