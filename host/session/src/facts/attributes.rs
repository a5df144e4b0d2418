//! Attributes: facts that policies set.

use std::sync::{MutexGuard, PoisonError};

use super::{Facts, lookup};

/// Maximum number of attributes of one connection, over all its policies. Together with
/// `MAX_ATTRIBUTE_BYTES` it bounds the memory that guests can use.
pub const MAX_ATTRIBUTES: usize = 64;
/// Maximum length of one attribute's name and value, in bytes.
pub(super) const MAX_ATTRIBUTE_BYTES: usize = 8 * 1024;

/// Reason why an attribute was not stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// There are [`MAX_ATTRIBUTES`] attributes already.
    #[error("a connection holds {MAX_ATTRIBUTES} attributes at the most")]
    TooMany,
    /// It is larger than `MAX_ATTRIBUTE_BYTES`.
    #[error("an attribute's name and value are {MAX_ATTRIBUTE_BYTES} bytes at the most")]
    TooLarge,
}

impl Facts {
    /// Attribute by its full name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<String> {
        lookup(&self.lock(), name).map(str::to_owned)
    }

    /// All attributes by full name, in the order in which they were set.
    #[must_use]
    pub fn attributes(&self) -> Vec<(String, String)> {
        self.lock().clone()
    }

    /// All attributes that these policies set, by full name, sorted by name.
    #[must_use]
    pub fn attributes_of(&self, policies: &[String]) -> Vec<(String, String)> {
        let mut attributes = self.attributes();
        attributes.retain(|(name, _)| {
            let policy = name.split('.').next();
            policies.iter().any(|named| Some(named.as_str()) == policy)
        });
        attributes.sort_unstable();
        attributes
    }

    /// Attribute of this name from the first of these policies that has set it.
    #[must_use]
    pub fn said_by(&self, policies: &[String], name: &str) -> Option<String> {
        let mut policies = policies.iter();
        policies.find_map(|policy| self.attribute(&format!("{policy}.{name}")))
    }

    /// Attribute of this name that was set first, by any of these policies. What a later one sets
    /// does not change it.
    #[must_use]
    pub fn said_first(&self, policies: &[String], name: &str) -> Option<String> {
        let attributes = self.lock();
        let mut attributes = attributes.iter();
        let is_it = |full: &str| {
            let said = full.split_once('.');
            said.is_some_and(|(policy, said)| said == name && policies.iter().any(|p| p == policy))
        };
        attributes
            .find(|(full, _)| is_it(full))
            .map(|(_, value)| value.clone())
    }

    /// Sets `<policy>.<name>`, and replaces an earlier value.
    ///
    /// # Errors
    /// If a limit is reached. Nothing is stored then.
    pub fn set_attribute(
        &self,
        policy: &str,
        name: &str,
        value: String,
    ) -> Result<(), AttributeError> {
        let full = format!("{policy}.{name}");
        if full.len() + value.len() > MAX_ATTRIBUTE_BYTES {
            return Err(AttributeError::TooLarge);
        }
        let mut attributes = self.lock();
        if let Some((_, old)) = attributes.iter_mut().find(|(key, _)| *key == full) {
            *old = value;
        } else if attributes.len() < MAX_ATTRIBUTES {
            attributes.push((full, value));
        } else {
            return Err(AttributeError::TooMany);
        }
        Ok(())
    }

    /// Restores earlier attributes after a call that failed.
    pub fn restore_attributes(&self, attributes: Vec<(String, String)>) {
        *self.lock() = attributes;
    }

    // A panic under the lock cannot leave a pair half written, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.attributes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
