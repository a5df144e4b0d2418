//! Names of sections, and references to them.

use std::collections::BTreeSet;

use super::Reader;
use crate::toml::{Sections, Spanned, nearest};
use base::diagnostics::{Diagnostics, Place};

/// Names that a route may refer to.
pub(super) struct Names {
    pub(super) policies: BTreeSet<String>,
    pub(super) upstreams: BTreeSet<String>,
    pub(super) destinations: BTreeSet<String>,
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
    /// Checks the names of sections of one kind.
    pub(super) fn check_names(&mut self, sections: &Sections<'_>, rule: Rule) {
        for (name, section) in sections {
            self.check_name(name, &section.place, rule);
        }
    }

    fn check_name(&mut self, name: &str, place: &Place, rule: Rule) {
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
                &mut self.toml.diagnostics(),
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
