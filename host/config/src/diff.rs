//! What differs between two configurations, option by option.

use std::collections::BTreeMap;

/// Options of a file with a digest of each value, by section. It holds no value, so no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(pub(crate) BTreeMap<String, BTreeMap<String, u64>>);

/// What differs between two configurations: `[routes.a] paths`, or `[routes.a]` where the whole
/// section does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionsDiff {
    /// What only the new one has.
    pub added: Vec<String>,
    /// What only the old one has.
    pub removed: Vec<String>,
    /// What both have, with another value.
    pub changed: Vec<String>,
}

impl Options {
    /// What `new` has that this has not, and so on. A value that is written in another way counts
    /// as changed.
    #[must_use]
    pub fn differences(&self, new: &Self) -> OptionsDiff {
        let mut diff = OptionsDiff {
            added: new.beyond(self),
            removed: self.beyond(new),
            changed: Vec::new(),
        };
        for (title, options) in &self.0 {
            let Some(now) = new.0.get(title) else {
                continue;
            };
            for (key, value) in options {
                if now.get(key).is_some_and(|now| now != value) {
                    diff.changed.push(format!("{title} {key}"));
                }
            }
        }
        diff
    }

    /// Digest of the value of an option, if the file has it.
    #[must_use]
    pub fn value(&self, title: &str, key: &str) -> Option<u64> {
        self.0.get(title)?.get(key).copied()
    }

    /// What this has, and `other` has not.
    fn beyond(&self, other: &Self) -> Vec<String> {
        let mut beyond = Vec::new();
        for (title, options) in &self.0 {
            match other.0.get(title) {
                None => beyond.push(title.clone()),
                Some(there) => {
                    let only_here = options.keys().filter(|key| !there.contains_key(*key));
                    beyond.extend(only_here.map(|key| format!("{title} {key}")));
                }
            }
        }
        beyond
    }
}
