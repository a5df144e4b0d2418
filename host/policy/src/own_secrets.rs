//! Values of a policy's configuration that are never shown.
//!
//! A guest gets them, because its operator named them for it. What it writes down of them is hidden
//! where the gateway shows a text of a guest. There are two ways:
//! - What clients see or the gateway acts on (refusals, notices, attributes, metrics) loses whole
//!   secrets only. If it lost parts, a client whose text a policy repeats could find a secret by its
//!   parts; and a text that is like a part by chance would be changed.
//! - What operators and authors see (the log, reports of failures, the decision record) loses parts
//!   of secrets too.
//!
//! What is computed from a secret cannot be recognised.

use std::borrow::Cow;
use std::sync::Arc;

use crate::redact::{Redactor, Secrets};
use crate::verdict::{Failure, Verdict};
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
    whole: Redactor,
    /// Parts too, or whole ones if there are too many parts.
    parts: Redactor,
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
        let mut forms: Vec<String> = values.iter().flat_map(forms).collect();
        forms.sort_unstable();
        forms.dedup();
        let mut parts = Secrets::default();
        forms.iter().for_each(|form| parts.add(form));
        let parts = match parts.settle() {
            Redactor::Everything => Redactor::of(forms.clone()),
            parts @ Redactor::Secrets(_) => parts,
        };
        Self(Some(Arc::new(Inner {
            values,
            whole: Redactor::of(forms),
            parts,
        })))
    }

    /// What hides them in the decision record, if there are any.
    pub(crate) fn redactor(&self) -> Option<&Redactor> {
        self.0.as_ref().map(|inner| &inner.parts)
    }

    /// A text for clients, or one that the gateway acts on, without whole secrets. Its first `most`
    /// bytes are used. It is hidden before anything else changes it: what is cut or cleaned is not
    /// recognised any more.
    #[must_use]
    pub(crate) fn told<'a>(&self, text: &'a str, most: usize) -> Cow<'a, str> {
        match &self.0 {
            Some(inner) => inner.whole.hide_whole(text, most),
            None => Cow::Borrowed(text),
        }
    }

    /// A text for operators and authors, without secrets and their parts.
    #[must_use]
    pub(crate) fn noted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.redactor() {
            Some(redactor) if redactor.finds_one_in(text) => redactor.hide(text).into(),
            _ => Cow::Borrowed(text),
        }
    }

    /// Hides them in a text for operators and authors.
    pub(crate) fn hide_in(&self, text: &mut String) {
        if let Cow::Owned(hidden) = self.noted(text) {
            *text = hidden;
        }
    }

    /// Hides them in what is said of a failure. The texts of a refusal have lost them already.
    pub(crate) fn hide_in_verdict(&self, verdict: &mut Verdict) {
        if let Verdict::Failed(failure) = verdict {
            self.hide_in_failure(failure);
        }
    }

    /// Hides them in what is said of a failure.
    pub(crate) fn hide_in_failure(&self, failure: &mut Failure) {
        if let Failure::Trap(said) = failure {
            self.hide_in(said);
        }
    }
}

/// A secret as it is, and as JSON has it: a guest gets its configuration as JSON.
fn forms(value: &Secret) -> [String; 2] {
    let text = String::from_utf8_lossy(value.expose());
    let json = serde_json::Value::from(&*text).to_string();
    let json = json
        .strip_prefix('"')
        .and_then(|json| json.strip_suffix('"'));
    [json.unwrap_or_default().to_owned(), text.into_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> OwnSecrets {
        OwnSecrets::of(vec![Secret::new("sword\"fish-7")])
    }

    #[test]
    fn a_secret_is_hidden_as_it_is_as_json_and_in_a_log_where_it_is_cut() {
        for text in ["it is sword\"fish-7, they say", r#"it is "sword\"fish-7""#] {
            for hidden in [secrets().told(text, 64), secrets().noted(text)] {
                assert!(!hidden.contains("fish"), "{hidden}");
                assert!(hidden.starts_with("it is "), "{hidden}");
            }
        }
        assert!(!secrets().noted("it is sword\"fis").contains("sword"));
    }

    #[test]
    fn a_client_learns_nothing_from_the_beginning_of_a_secret() {
        for guess in ["sword\"fi", "sword\"fish-", "sword\"fish-8"] {
            let told = format!("there is no {guess}");
            assert_eq!(secrets().told(&told, 64), told);
        }
    }

    #[test]
    fn a_secret_that_a_cut_would_part_is_hidden_whole() {
        let text = format!("{}sword\"fish-7 and more", "x".repeat(60));
        let told = secrets().told(&text, 64);
        assert!(told.starts_with(&"x".repeat(60)), "{told}");
        assert!(!told.contains("sword"), "{told}");
    }

    #[test]
    fn many_and_long_secrets_hide_themselves_and_nothing_else() {
        let lines: String = (0..600).map(|n| format!("line-{n:04}\n")).collect();
        let secrets = OwnSecrets::of(vec![
            Secret::new(lines.as_str()),
            Secret::new("k".repeat(LONGEST)),
        ]);
        for text in ["tenant-1", "line-0001"] {
            assert_eq!(secrets.told(text, 64), text);
            assert_eq!(secrets.noted(text), text);
        }
        assert!(!secrets.told(&lines, lines.len()).contains("line"));
        assert!(
            !secrets
                .noted(&format!("it is {}", "k".repeat(LONGEST)))
                .contains("kk")
        );
    }

    #[test]
    fn a_text_without_a_secret_stays_as_it_is_however_long() {
        let text = "sword fish ".repeat(1000);
        assert!(matches!(secrets().noted(&text), Cow::Borrowed(_)));
        assert!(matches!(secrets().told(&text, 10), Cow::Borrowed(_)));
        assert!(matches!(
            OwnSecrets::default().noted(&text),
            Cow::Borrowed(_)
        ));
    }
}
