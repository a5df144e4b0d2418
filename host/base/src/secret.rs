//! Secret bytes, which are never printed.

use std::fmt;

/// Shared secret. It has no `Display`, and its `Debug` hides even its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Minimum length, in bytes, of a secret for HS256 (RFC 7518, section 3.2).
    pub const SHORTEST: usize = 32;

    /// Wraps the bytes as they are.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes. The name makes every use of the secret easy to find.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_says_nothing_about_the_bytes() {
        assert_eq!(format!("{:?}", Secret::new("abc")), "Secret(..)");
        assert_eq!(format!("{:#?}", Secret::new("abc")), "Secret(..)");
    }
}
