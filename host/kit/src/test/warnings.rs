//! What a test that passes may still not have asked: warnings about a policy and its cases.

use std::collections::BTreeSet;

use crate::fixture::Case;
use crate::subject::Subject;
use crate::trial::Trial;

/// Options that a policy has in any case, and those that it asked for.
pub(super) struct Options {
    there: BTreeSet<String>,
    asked: BTreeSet<String>,
}

impl Options {
    /// Options of the configuration file.
    pub(super) fn of(subject: &Subject) -> Self {
        let settings = &subject.settings;
        let overlays = settings.tenants.overlays.values();
        let overlays = overlays.flat_map(|overlay| overlay.config.keys());
        let options = settings.config.keys().chain(settings.secrets.keys());
        Self {
            there: options.chain(overlays).cloned().collect(),
            asked: BTreeSet::new(),
        }
    }

    /// Adds the options of a case, and those that the policy asked for in it.
    pub(super) fn tried(&mut self, case: &Case, trial: &Trial) {
        self.there.extend(case.config.keys().cloned());
        self.asked
            .extend(trial.looked.options.iter().map(String::clone));
    }

    /// One warning for each option that the policy read in no case.
    pub(super) fn warnings(&self, policy: &str) -> Vec<String> {
        let absent: Vec<_> = self.asked.difference(&self.there).collect();
        let asks = match absent.as_slice() {
            [] => String::new(),
            names => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                format!("; it asks for {}, which is not there", names.join(", "))
            }
        };
        let unread = self.there.difference(&self.asked);
        let warning = |option| {
            format!(
                "`{option}` of [policies.{policy}.config] is read in no case{asks}: correct its \
                 name, leave it out, or add a case that needs it"
            )
        };
        unread.map(warning).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_option_that_nobody_reads_is_told_with_what_is_asked_for_instead() {
        let options = Options {
            there: set(&["tenant", "limit"]),
            asked: set(&["tenants", "limit"]),
        };
        let warnings = options.warnings("mine");
        let [warning] = warnings.as_slice() else {
            panic!("{warnings:?}");
        };
        assert!(
            warning.starts_with("`tenant` of [policies.mine.config] is read in no case"),
            "{warning}"
        );
        assert!(warning.contains("it asks for `tenants`"), "{warning}");
    }

    #[test]
    fn an_option_that_is_read_is_none_to_warn_of() {
        let options = Options {
            there: set(&["tenants"]),
            asked: set(&["tenants", "optional"]),
        };
        assert_eq!(options.warnings("mine"), Vec::<String>::new());
    }
}
