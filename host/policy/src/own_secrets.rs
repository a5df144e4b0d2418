//! Values of a policy's configuration that are never shown.
//!
//! A guest gets them, because its operator named them for it. What it writes down of them is hidden
//! where the gateway shows a text of a guest: in its log, its refusals, its attributes, the reports
//! of its failures and the decision record. What is computed from a secret cannot be recognised.

use std::borrow::Cow;
use std::sync::Arc;

use crate::redact::{Redactor, Secrets};
use crate::verdict::{Failure, Verdict};
use base::rejection::Rejection;
use base::secret::Secret;

/// Minimum length of a secret, in bytes. A shorter one could be guessed, and hiding it everywhere
/// would take ordinary words with it.
pub const SHORTEST: usize = 8;
/// Maximum length of a secret, in bytes.
pub const LONGEST: usize = 8 * 1024;
/// Maximum length of all secrets of one policy together, in bytes.
pub const LONGEST_OF_ALL: usize = 16 * 1024;

/// Secrets that the operator gave to a policy. Most policies have none.
#[derive(Clone, Default)]
pub struct OwnSecrets(Option<Arc<Inner>>);

struct Inner {
    values: Vec<Secret>,
    redactor: Redactor,
}

impl PartialEq for OwnSecrets {
    fn eq(&self, other: &Self) -> bool {
        let values = |it: &Self| it.0.as_ref().map(|inner| inner.values.clone());
        values(self) == values(other)
    }
}

impl OwnSecrets {
    /// These secrets.
    #[must_use]
    pub(crate) fn of(values: Vec<Secret>) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let mut secrets = Secrets::default();
        for value in &values {
            add(value, &mut secrets);
        }
        Self(Some(Arc::new(Inner {
            values,
            redactor: secrets.settle(),
        })))
    }

    /// Adds them to those that a line of the record must not have.
    pub(crate) fn add_to(&self, secrets: &mut Secrets) {
        for value in self.0.iter().flat_map(|inner| &inner.values) {
            add(value, secrets);
        }
    }

    /// A text without them.
    #[must_use]
    pub(crate) fn hidden<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.0 {
            Some(inner) if inner.redactor.finds_one_in(text) => inner.redactor.hide(text).into(),
            _ => Cow::Borrowed(text),
        }
    }

    /// Hides them in a text.
    pub(crate) fn hide_in(&self, text: &mut String) {
        if let Cow::Owned(hidden) = self.hidden(text) {
            *text = hidden;
        }
    }

    /// Hides them in what a client is told.
    pub(crate) fn hide_in_rejection(&self, rejection: &mut Rejection) {
        self.hide_in(&mut rejection.code);
        self.hide_in(&mut rejection.message);
    }

    /// Hides them in the texts of a verdict.
    pub(crate) fn hide_in_verdict(&self, verdict: &mut Verdict) {
        match verdict {
            Verdict::Reject(rejection) | Verdict::KeysUnavailable(rejection) => {
                self.hide_in_rejection(rejection);
            }
            Verdict::Failed(failure) => self.hide_in_failure(failure),
            Verdict::Accept | Verdict::Unanswered(_) | Verdict::ClientFault(_) => {}
        }
    }

    /// Hides them in what is said of a failure.
    pub(crate) fn hide_in_failure(&self, failure: &mut Failure) {
        if let Failure::Trap(said) = failure {
            self.hide_in(said);
        }
    }
}

/// Adds a secret as it is, and as JSON has it: a guest gets its configuration as JSON.
fn add(value: &Secret, secrets: &mut Secrets) {
    let text = String::from_utf8_lossy(value.expose());
    secrets.add(&text);
    let json = serde_json::Value::from(&*text).to_string();
    secrets.add(json.trim_matches('"'));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> OwnSecrets {
        OwnSecrets::of(vec![Secret::new("sword\"fish-7")])
    }

    #[test]
    fn a_secret_is_hidden_as_it_is_as_json_and_where_it_is_cut() {
        for text in [
            "it is sword\"fish-7, they say",
            r#"it is "sword\"fish-7""#,
            "it is sword\"fis",
        ] {
            let hidden = secrets().hidden(text);
            assert!(
                !hidden.contains("fish") && !hidden.contains("sword"),
                "{hidden}"
            );
            assert!(hidden.starts_with("it is "), "{hidden}");
        }
    }

    #[test]
    fn a_text_without_a_secret_stays_as_it_is_however_long() {
        let text = "sword fish ".repeat(1000);
        assert!(matches!(secrets().hidden(&text), Cow::Borrowed(_)));
        assert!(matches!(
            OwnSecrets::default().hidden(&text),
            Cow::Borrowed(_)
        ));
    }
}
