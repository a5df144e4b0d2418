//! Resume tokens.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use base::credentials::RESUME_PREFIX;

/// Random bytes of a resume token: too many to guess.
const RANDOM: usize = 32;

/// Resume token. Only the client of its stream may see it.
pub(super) struct Token(String);

/// What the gateway keeps of a resume token: enough to recognize it, and not to present it. It needs
/// no salt, because a token is too random to guess.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct TokenDigest(String);

impl Token {
    /// New token, with a prefix by which logs recognize and hide it.
    pub(super) fn random() -> Self {
        let random = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM]>());
        Self(RESUME_PREFIX.to_owned() + &random)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn digest(&self) -> TokenDigest {
        TokenDigest::of(&self.0)
    }
}

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        Self(BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(token)))
    }

    /// The digest as text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
