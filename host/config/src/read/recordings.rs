//! Options of an upstream's recordings: their folder, and how long they stay.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::Reader;
use crate::settings::{Config, Route};
use crate::toml::{Section, Spanned, nearest};
use base::diagnostics::Place;
use policy::settings::identifies;
use upstream::settings::Upstream;
use upstream::wav::Recordings;
use upstream::wav::layout::{Flaw, FolderName, Layout, LayoutError};
use upstream::wav::retention::RetentionLimits;

/// Options of recordings.
pub(super) const OF_RECORDINGS: [&str; 4] = ["folder", "path", "keep_for", "keep_total"];

impl Reader<'_> {
    /// Reads the options; `None` after a mistake that leaves no folder.
    pub(super) fn recordings(&mut self, section: &mut Section<'_>) -> Option<Recordings> {
        let folder = section.text("folder");
        let folder = folder.map_or_else(|| "recordings".into(), |folder| folder.value.into());
        let layout = match section.text("path") {
            Some(text) => self.layout(&text),
            None => Some(Layout::default()),
        };
        let total = section.size_or_none("keep_total", 0);
        let bounds = RetentionLimits {
            age: section.age("keep_for"),
            total: (total > 0).then_some(total),
        };
        Some(Recordings {
            folder,
            layout: layout?,
            bounds,
        })
    }

    fn layout(&mut self, text: &Spanned<String>) -> Option<Layout> {
        let LayoutError { at, flaw } = match Layout::parse(&text.value) {
            Ok(layout) => return Some(layout),
            Err(error) => error,
        };
        let words: Vec<String> = Layout::words().map(|word| format!("{{{word}}}")).collect();
        let known = format!(
            "there are {}, {{param.NAME}} of the route's path, {{query.NAME}} and {{POLICY.NAME}}, \
             which a policy left",
            words.join(", ")
        );
        let help = match &flaw {
            Flaw::Unknown(name) => match nearest(name, Layout::words()) {
                Some(near) => format!("did you mean {{{near}}}? {known}"),
                None => known,
            },
            Flaw::Mixed(_) => "give each placeholder a folder of its own, so that no two values \
                               share one: \"{tenant}/{date}\""
                .to_owned(),
            Flaw::Name(_) => "write up to 120 letters, digits, hyphens, dots and underscores, \
                              without a dot at either end"
                .to_owned(),
            Flaw::Absolute | Flaw::Empty | Flaw::Dots(_) => {
                "write folders below `folder`, with one slash between them: \
                 \"{tenant}/{date}/{meeting}\""
                    .to_owned()
            }
            Flaw::Braces(_) => "write a placeholder as {tenant}".to_owned(),
            Flaw::Secret(_) => "leave it out".to_owned(),
            Flaw::TooDeep => "leave some of them out".to_owned(),
        };
        let place = text.place.part(&text.value, at);
        self.error(&place, format!("`path` has a mistake: {flaw}"), help)
            .label("here");
        None
    }

    /// Checks that upstreams which share a folder agree about its recordings.
    pub(super) fn check_folders(
        &mut self,
        upstreams: &BTreeMap<String, Upstream>,
        places: &BTreeMap<String, Place>,
    ) {
        let recording = upstreams.iter().filter_map(|(name, upstream)| {
            let recordings = upstream.recordings()?;
            Some((name, plain(&recordings.folder), recordings))
        });
        let recording: Vec<_> = recording.collect();
        for (number, (name, folder, one)) in recording.iter().enumerate() {
            for (other_name, other_folder, other) in &recording[..number] {
                let is_same = folder == other_folder;
                let is_nested =
                    folder.starts_with(other_folder) || other_folder.starts_with(folder);
                let (message, help) = if is_same && one.layout != other.layout {
                    (
                        "record in one folder, each with another `path`: a tenant of one could be \
                         called like a folder of the other",
                        "write the same `path` for both, or give each a `folder` of its own",
                    )
                } else if is_nested && one.bounds != other.bounds {
                    (
                        "record in one folder, or one in a folder of the other, and keep their \
                         recordings differently: what one deletes may be the other's",
                        "write the same `keep_for` and `keep_total` for both, or give each a \
                         `folder` of its own, neither in the other",
                    )
                } else {
                    continue;
                };
                let message = format!("[upstreams.{other_name}] and [upstreams.{name}] {message}");
                self.error(&places[*name], message, help)
                    .also(&places[*other_name], "the other");
            }
        }
    }
}

impl Reader<'_> {
    /// Checks that a policy identifies the users and tenants that folders are named after.
    pub(super) fn check_known(&mut self, config: &Config, places: &BTreeMap<String, Place>) {
        for (name, upstream) in &config.upstreams {
            let Some(recordings) = upstream.recordings() else {
                continue;
            };
            let mut named = recordings.layout.places();
            let by_identity =
                named.any(|place| matches!(place, FolderName::Tenant | FolderName::User));
            if !by_identity || recordings.layout == Layout::default() {
                continue;
            }
            let nobody_knows = |route: &&Route| {
                let mut asked = route.admission();
                !asked.any(|policy| identifies(&config.policies, policy))
            };
            let routes = config.routes.iter();
            let mut routes = routes.filter(|(_, route)| route.upstream == *name);
            let Some((route, _)) = routes.find(|(_, route)| nobody_knows(route)) else {
                continue;
            };
            let message = format!(
                "`path` of [upstreams.{name}] names folders after the tenant or user, and \
                 [routes.{route}] asks no policy that verifies tokens: they are called `%none`"
            );
            let help = "leave {tenant} and {user} out, or name a policy that is granted `jwt` in \
                        the route";
            self.warning(&places[name], message, help)
                .label("never known");
        }
    }
}

/// Path without parts that change nothing, such as `.`.
fn plain(path: &Path) -> PathBuf {
    let parts = path.components();
    parts.filter(|part| *part != Component::CurDir).collect()
}
