//! Token that a client sends while it streams, because its first one expires.

use std::sync::{Arc, PoisonError};

use super::Facts;

impl Facts {
    /// The same facts with another token, and without attributes: as if the client had just come
    /// with it.
    #[must_use]
    pub(crate) fn with_token(&self, token: Arc<str>) -> Self {
        let facts = self.with_attributes(Vec::new());
        facts.renew(token);
        facts
    }

    /// Puts a token in the place of the one that the client came with.
    pub(crate) fn renew(&self, token: Arc<str>) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    /// Token that took the place of the one that the client came with.
    pub(crate) fn renewed(&self) -> Option<Arc<str>> {
        let renewed = self.renewed.lock();
        renewed.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
