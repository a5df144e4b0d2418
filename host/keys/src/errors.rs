//! What can be wrong with keys and tokens.

use serde::{Deserialize, Serialize};

/// Why a key set cannot be built. Key material is never part of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: {help}")]
pub struct KeyError {
    pub(crate) problem: String,
    pub(crate) help: String,
}

impl KeyError {
    /// `problem` says what is wrong, `help` what to do.
    pub(crate) fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            help: help.into(),
        }
    }
}

/// Why no token can be made with a key set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The set has public keys only.
    #[error(
        "this key set can verify tokens but not make them: it has no shared secret. \
         Use a key set with `generate = true` or `secret`, or ask whoever holds the private key"
    )]
    NoSecret,
    /// The cryptography library refused.
    #[error("the token could not be signed: {0}")]
    Signing(String),
}

/// Why a token is refused. The cases are those of the policy contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum TokenError {
    /// The client sent no token.
    #[error("token missing")]
    Missing,
    /// It is not a JWT, or one that has no `exp`, or names extensions that
    /// must be understood and are not.
    #[error("token malformed")]
    Malformed,
    /// The signature does not fit, or the algorithm is not the key's.
    #[error("token signature invalid")]
    BadSignature,
    /// `exp` is past, leeway included.
    #[error("token expired")]
    Expired,
    /// `nbf` lies ahead, leeway included.
    #[error("token not valid yet")]
    NotYetValid,
    /// `iss` is absent or not one that the key set allows.
    #[error("token issuer not accepted")]
    WrongIssuer,
    /// `aud` is absent or not one that the key set allows, or there although
    /// the key set allows none.
    #[error("token audience not accepted")]
    WrongAudience,
    /// The token names a key that the set does not have.
    #[error("token signed with an unknown key")]
    UnknownKey,
    /// The keys could not be had. Says nothing about the token.
    #[error("keys to verify tokens unavailable")]
    Unavailable,
}
