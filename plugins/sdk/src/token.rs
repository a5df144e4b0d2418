use std::fmt;

use crate::host::jwt;
use crate::{Connection, Rejection};

/// Reason why a token could not be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The client sent no token.
    Missing,
    /// The token is not a JWT.
    Malformed,
    /// The signature is invalid, or the algorithm is not the key's.
    BadSignature,
    /// The token has expired.
    Expired,
    /// The token is not valid yet.
    NotYetValid,
    /// The issuer is absent, or the key set does not allow it.
    WrongIssuer,
    /// The audience is absent, or the key set does not allow it.
    WrongAudience,
    /// The key set has no key that fits the token's header.
    UnknownKey,
    /// The keys are unavailable. This says nothing about the token.
    Unavailable,
    /// The token is invalid for a reason that only later gateways know.
    Invalid,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no token",
            Self::Malformed => "token malformed",
            Self::BadSignature => "bad signature",
            Self::Expired => "token expired",
            Self::NotYetValid => "token not yet valid",
            Self::WrongIssuer => "wrong issuer",
            Self::WrongAudience => "wrong audience",
            Self::UnknownKey => "unknown key",
            Self::Unavailable => "auth keys are unavailable",
            Self::Invalid => "token not accepted",
        })
    }
}

impl std::error::Error for TokenError {}

impl From<TokenError> for Rejection {
    /// A fault of the token becomes `auth_failed`. Unavailable keys are not the client's fault: the
    /// gateway uses a close code of its own for them, whatever a policy decides.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unavailable => Self::new("auth_unavailable", error.to_string()).retryable(),
            fault => Self::auth_failed(format!("auth failed: {fault}")),
        }
    }
}

impl From<jwt::Error> for TokenError {
    fn from(error: jwt::Error) -> Self {
        match error {
            jwt::Error::Missing => Self::Missing,
            jwt::Error::Malformed => Self::Malformed,
            jwt::Error::BadSignature => Self::BadSignature,
            jwt::Error::Expired => Self::Expired,
            jwt::Error::NotYetValid => Self::NotYetValid,
            jwt::Error::WrongIssuer => Self::WrongIssuer,
            jwt::Error::WrongAudience => Self::WrongAudience,
            jwt::Error::UnknownKey => Self::UnknownKey,
            jwt::Error::Unavailable => Self::Unavailable,
            jwt::Error::Invalid => Self::Invalid,
        }
    }
}

/// Claims of a token that the gateway has verified.
pub struct Claims(jwt::Claims);

impl Claims {
    /// Claim by its JSON pointer: a string as it is, anything else as JSON text. `None` if it is
    /// absent or null.
    pub fn get(&self, pointer: &str) -> Option<String> {
        self.0.get(pointer)
    }

    /// Claim by its name, at the top level of the token.
    pub fn claim(&self, name: &str) -> Option<String> {
        self.get(&pointer(name))
    }

    /// All claims, as a JSON object.
    pub fn json(&self) -> String {
        self.0.json()
    }

    /// Expiry of the token, in seconds since 1970.
    pub fn expires_at(&self) -> Option<u64> {
        self.0.expires_at()
    }
}

impl Connection<'_> {
    /// Verifies the client's token with a key set that the operator named. The policy sees neither
    /// the keys nor the token.
    pub fn verify_token(&self, key_set: &str) -> Result<Claims, TokenError> {
        jwt::verify(self.facts, key_set)
            .map(Claims)
            .map_err(Into::into)
    }
}

/// JSON pointer to a name at the top level of an object. Names may contain slashes, as those of
/// namespaced claims do.
pub fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::{TokenError, pointer};
    use crate::Rejection;

    #[test]
    fn a_claim_with_a_slash_in_its_name_is_one_step() {
        assert_eq!(pointer("user_id"), "/user_id");
        assert_eq!(
            pointer("https://a.example/~role"),
            "/https:~1~1a.example~1~0role"
        );
    }

    #[test]
    fn a_fault_of_the_token_is_final() {
        let refusal = Rejection::from(TokenError::Expired);
        assert_eq!(
            refusal,
            Rejection::auth_failed("auth failed: token expired")
        );
        assert!(!refusal.is_retryable());
    }

    #[test]
    fn keys_that_cannot_be_had_are_not_the_clients_fault() {
        let refusal = Rejection::from(TokenError::Unavailable);
        assert_eq!(refusal.message(), "auth keys are unavailable");
        assert_ne!(refusal.code(), "auth_failed");
        assert!(refusal.is_retryable());
    }
}
