//! Errors about keys and tokens.

use serde::{Deserialize, Serialize};

/// Reason why a key set cannot be built. It never contains key material.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}: {help}")]
pub struct KeyError {
    pub(crate) problem: String,
    pub(crate) help: String,
}

impl KeyError {
    /// `problem` says what is wrong, `help` says what to do.
    pub(crate) fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            help: help.into(),
        }
    }
}

/// Reason why a key set cannot make a token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The set has only public keys.
    #[error(
        "this key set cannot make tokens: it has no shared secret. \
         Use a key set with `generate = true` or `secret`, or ask the issuer, who has the private key"
    )]
    NoSecret,
    /// The cryptography library failed.
    #[error("the token could not be signed: {0}")]
    Signing(String),
}

/// Reason to refuse a token. The cases are those of the policy contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum TokenError {
    /// The client sent no token.
    #[error("token missing")]
    Missing,
    /// The token is not a JWT, has no `exp`, or requires extensions that the gateway does not
    /// support.
    #[error("token malformed")]
    Malformed,
    /// The signature is invalid, or the algorithm is not the key's.
    #[error("token signature invalid")]
    BadSignature,
    /// `exp` is in the past, leeway included.
    #[error("token expired")]
    Expired,
    /// `nbf` is in the future, leeway included.
    #[error("token not valid yet")]
    NotYetValid,
    /// `iss` is absent, or the key set does not allow it.
    #[error("token issuer not accepted")]
    WrongIssuer,
    /// `aud` is absent, or the key set does not allow it.
    #[error("token audience not accepted")]
    WrongAudience,
    /// The token names a key that the set does not have.
    #[error("token signed with an unknown key")]
    UnknownKey,
    /// The keys are unavailable. This says nothing about the token.
    #[error("keys to verify tokens unavailable")]
    Unavailable,
}
