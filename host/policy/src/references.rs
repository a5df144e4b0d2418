//! What a policy's options refer to, as the policy declares it while it validates its configuration.
//!
//! A policy knows what its options mean, and the gateway knows what its configuration has. So the
//! policy declares, and whoever knows the whole configuration checks.

use base::text;

/// Calls by which one policy may declare something.
const MAX_CALLS: usize = 256;
/// Bytes of all texts of one such call.
const MAX_BYTES: usize = 1024;

/// Everything that one policy declared.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct References {
    /// What its options name.
    pub named: Vec<Reference>,
    /// Attributes that it may leave, by their short names. Empty: it did not say.
    pub leaves: Vec<String>,
    /// Options that have no effect.
    pub ineffective: Vec<Ineffective>,
    /// Further ones, each with the tenant whose configuration has it.
    pub ineffective_for: Vec<(String, Ineffective)>,
    calls: usize,
}

/// A thing that an option names.
#[derive(Debug, PartialEq, Eq)]
pub struct Reference {
    /// What kind of thing it is.
    pub kind: ReferenceKind,
    /// JSON pointer to the option, in the policy's configuration.
    pub pointer: String,
    /// Its name.
    pub name: String,
    /// The tenant whose configuration has it, where it is not that of all.
    pub tenant: Option<String>,
}

/// The kinds of things that an option can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceKind {
    /// A key set.
    KeySet,
    /// A parameter of the path.
    Param,
    /// An attribute of an earlier policy, by its full name.
    Attribute,
    /// A list.
    List,
    /// A destination.
    Destination,
}

/// An option that has no effect.
#[derive(Debug, PartialEq, Eq)]
pub struct Ineffective {
    /// JSON pointer to the option, in the policy's configuration.
    pub pointer: String,
    /// Why that is so.
    pub why: String,
    /// What to do.
    pub help: String,
}

/// Why a declaration was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    /// The policy declared too many things.
    #[error("it declared more than {MAX_CALLS} references")]
    TooMany,
    /// The texts of one are too long.
    #[error("it declared a reference with more than {MAX_BYTES} bytes of text")]
    TooLong,
}

impl References {
    pub(crate) fn refer(&mut self, reference: &Reference) -> Result<(), ReferenceError> {
        self.admit(&[&reference.pointer, &reference.name])?;
        let reference = Reference {
            kind: reference.kind,
            pointer: printable(&reference.pointer),
            name: printable(&reference.name),
            tenant: reference.tenant.clone(),
        };
        if !self.named.contains(&reference) {
            self.named.push(reference);
        }
        Ok(())
    }

    pub(crate) fn leave(&mut self, name: &str) -> Result<(), ReferenceError> {
        self.admit(&[name])?;
        let name = printable(name);
        if !self.leaves.contains(&name) {
            self.leaves.push(name);
        }
        Ok(())
    }

    pub(crate) fn have_no_effect(&mut self, option: &Ineffective) -> Result<(), ReferenceError> {
        self.admit(&[&option.pointer, &option.why, &option.help])?;
        self.ineffective.push(Ineffective {
            pointer: printable(&option.pointer),
            why: printable(&option.why),
            help: printable(&option.help),
        });
        Ok(())
    }

    /// Adds what the policy declared with the configuration of a tenant, where that differs.
    pub(crate) fn append(&mut self, tenant: &str, declared: Self) {
        for reference in declared.named {
            let Reference {
                kind,
                pointer,
                name,
                ..
            } = &reference;
            let is_there = self.named.iter().any(|there| {
                there.kind == *kind && there.pointer == *pointer && there.name == *name
            });
            if !is_there {
                self.named.push(Reference {
                    tenant: Some(tenant.to_owned()),
                    ..reference
                });
            }
        }
        for option in declared.ineffective {
            if !self.ineffective.contains(&option) {
                self.ineffective_for.push((tenant.to_owned(), option));
            }
        }
        for name in declared.leaves {
            if !self.leaves.contains(&name) {
                self.leaves.push(name);
            }
        }
    }

    /// Counts a declaration with these texts, if there is room for it.
    fn admit(&mut self, texts: &[&str]) -> Result<(), ReferenceError> {
        if texts.iter().map(|text| text.len()).sum::<usize>() > MAX_BYTES {
            return Err(ReferenceError::TooLong);
        }
        if self.calls >= MAX_CALLS {
            return Err(ReferenceError::TooMany);
        }
        self.calls += 1;
        Ok(())
    }
}

/// A guest's text as a report may show it: without control characters, which terminals obey.
fn printable(text: &str) -> String {
    text::clean(text, MAX_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_no_part_of_a_declaration() {
        let mut references = References::default();
        let option = Ineffective {
            pointer: "/a\u{1b}[2J".to_owned(),
            why: "why\u{7}".to_owned(),
            help: "help\r".to_owned(),
        };
        assert_eq!(references.have_no_effect(&option), Ok(()));
        assert_eq!(references.leave("name\u{9b}31m"), Ok(()));
        let named = Reference {
            kind: ReferenceKind::KeySet,
            pointer: "/key_set\u{0}".to_owned(),
            name: "main\n".to_owned(),
            tenant: None,
        };
        assert_eq!(references.refer(&named), Ok(()));
        let shown = format!("{references:?}");
        assert_eq!(shown.matches('\u{fffd}').count(), 6, "{shown}");
    }

    #[test]
    fn what_only_a_tenants_options_declare_is_kept_with_the_tenant() {
        let declared = |pointers: &[&str]| {
            let mut references = References::default();
            for pointer in pointers {
                let option = Ineffective {
                    pointer: (*pointer).to_owned(),
                    why: "why".to_owned(),
                    help: "help".to_owned(),
                };
                assert_eq!(references.have_no_effect(&option), Ok(()));
            }
            references
        };
        let mut references = declared(&["/for_all"]);
        references.append("acme", declared(&["/for_all", "/own"]));
        let pointers = references.ineffective.iter().map(|option| &option.pointer);
        assert_eq!(pointers.collect::<Vec<_>>(), ["/for_all"]);
        let own = references.ineffective_for.iter();
        let own = own.map(|(tenant, option)| (tenant.as_str(), option.pointer.as_str()));
        assert_eq!(own.collect::<Vec<_>>(), [("acme", "/own")]);
    }

    #[test]
    fn so_many_declarations_are_taken_and_no_more() {
        let mut references = References::default();
        for _ in 0..MAX_CALLS {
            assert_eq!(references.admit(&["/key_set", "main"]), Ok(()));
        }
        assert_eq!(
            references.admit(&["/key_set", "main"]),
            Err(ReferenceError::TooMany)
        );
    }

    #[test]
    fn the_texts_of_a_declaration_are_bounded_together() {
        let mut references = References::default();
        let half = "x".repeat(MAX_BYTES / 2);
        assert_eq!(references.admit(&[&half, &half]), Ok(()));
        assert_eq!(
            references.admit(&[&half, &half, "x"]),
            Err(ReferenceError::TooLong)
        );
    }
}
