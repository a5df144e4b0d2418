//! Key sets that choose among others by the issuer of a token: `by_issuer`.

use std::collections::{BTreeMap, BTreeSet};

use crate::read::Reader;
use crate::read::names::report_missing;
use crate::toml::Section;
use keys::settings::{KeySet, KeySource};

/// Options that belong to the key sets to choose from.
const THEIRS: [&str; 4] = ["algorithms", "issuers", "audiences", "leeway"];

impl Reader<'_> {
    /// Reports options that a key set without keys has no use for.
    pub(super) fn without_own_options(&mut self, section: &mut Section<'_>) {
        for option in THEIRS {
            if section.has(option)
                && let Some(place) = section.take_out(option)
            {
                let message = format!("`{option}` has no meaning beside `by_issuer`");
                let help = "write it in each of the key sets that are named there";
                self.error(&place, message, help).label("no meaning here");
            }
        }
    }

    /// Checks that the issuer of a token leads to one key set at the most.
    pub(in crate::read) fn check_choices(
        &mut self,
        key_sets: &BTreeMap<String, KeySet>,
        declared: &BTreeSet<String>,
    ) {
        for (title, set) in key_sets {
            let KeySource::ByIssuer(names) = &set.source else {
                continue;
            };
            let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
            for name in names {
                let Some(other) = key_sets.get(name) else {
                    if !declared.contains(name) {
                        let kind = ("key set", "key_sets");
                        let mut diagnostics = self.toml.diagnostics();
                        report_missing(name, &set.place, kind, declared, &mut diagnostics);
                    }
                    continue;
                };
                let what = match (&other.source, &*other.issuers) {
                    (KeySource::ByIssuer(_), _) => Some("chooses among others itself".to_owned()),
                    (_, []) => Some("has no `issuers`, so that no token leads to it".to_owned()),
                    (_, issuers) => issuers.iter().find_map(|issuer| {
                        let before = seen.insert(issuer, name)?;
                        Some(format!("has the issuer \"{issuer}\", as `{before}` has"))
                    }),
                };
                if let Some(what) = what {
                    let message =
                        format!("[key_sets.{title}] cannot choose `{name}`, which {what}");
                    let help = "give each key set in `by_issuer` issuers of its own";
                    self.error(&set.place, message, help).label("no choice");
                }
            }
        }
    }
}
