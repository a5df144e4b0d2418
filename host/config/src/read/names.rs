//! Names of sections, and references to them.

use std::collections::{BTreeMap, BTreeSet};

use super::section::Section;
use super::{Reader, Spanned};
use base::diagnostics::{Diagnostics, Place};

/// Sections of one kind by name: `[policies.auth]`, `[policies.duplicate]`.
pub(super) type Sections<'de> = BTreeMap<String, Section<'de>>;

/// Names that a route may refer to.
pub(super) struct Names {
    pub(super) policies: BTreeSet<String>,
    pub(super) upstreams: BTreeSet<String>,
}

/// Rule for names.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Lowercase letters, digits, hyphens and underscores, because a name is used in file names,
    /// log fields and metrics.
    Name,
    /// The same without underscores, because attributes are called `policy.attribute`.
    Policy,
}

/// Prefixes of facts: `param.meeting_id`. No policy may have such a name, because its attributes
/// (`auth.user_id`) could then pose as parts of the URL.
pub const FACTS: [&str; 3] = ["param", "query", "header"];

impl Reader<'_> {
    pub(super) fn check_name(&mut self, name: &str, place: &Place, rule: Rule) {
        let (allowed, also) = match rule {
            Rule::Name => ("lowercase letters, digits, hyphens and underscores", "-_"),
            Rule::Policy => ("lowercase letters, digits and hyphens", "-"),
        };
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || also.contains(c);
        if name.is_empty() || !name.chars().all(fits) {
            let help = format!("use {allowed}");
            self.error(
                place,
                format!("\"{name}\" cannot be used as a name here"),
                help,
            );
        }
        if matches!(rule, Rule::Policy) && FACTS.contains(&name) {
            let message = format!("a policy cannot be called \"{name}\"");
            let help = format!(
                "take another name: what it leaves for later policies would look like `{name}.NAME`, \
                 which comes from the client"
            );
            self.error(place, message, help);
        }
    }

    /// Reports a reference to a name that does not exist.
    pub(super) fn check_reference(
        &mut self,
        reference: &Spanned<String>,
        kind: &str,
        section: &str,
        declared: &BTreeSet<String>,
    ) {
        let Spanned { value: name, place } = reference;
        if !declared.contains(name) {
            report_missing(
                name,
                place,
                (kind, section),
                declared,
                &mut self.diagnostics,
            );
        }
    }
}

/// Reports a name that no section has. `kind` is what has such a name, and the first part of the
/// section's title.
pub(super) fn report_missing(
    name: &str,
    place: &Place,
    (kind, section): (&str, &str),
    declared: &BTreeSet<String>,
    diagnostics: &mut Diagnostics,
) {
    let help = match nearest(name, declared.iter().map(String::as_str)) {
        Some(near) => {
            format!("did you mean \"{near}\"? If not, add a section [{section}.{name}]")
        }
        None => format!("add a section [{section}.{name}], or correct the name"),
    };
    diagnostics
        .error(place, format!("there is no {kind} called \"{name}\""), help)
        .label(format!("no [{section}.{name}]"));
}

/// Known word that is most similar to `word`.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let known = ["timeout", "queue_timeout", "grants"];
        assert_eq!(nearest("timeuot", known), Some("timeout"));
        assert_eq!(nearest("time_out", known), Some("timeout"));
        assert_eq!(nearest("grant", known), Some("grants"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("x", known), None);
    }
}
