//! Conversion of TOML to [`Config`]. It collects mistakes on the way.
//!
//! A bad value is reported and replaced by its default. A part that cannot be made is left out,
//! with every reference to it. So the rest of the file is read, and later stages see a
//! configuration as if the mistake had not been made.

use std::cell::RefMut;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::settings::{Config, Declared};
use crate::toml::{Asked, Document, Section, Sections};
use base::diagnostics::{Diagnostic, Diagnostics, Place};
use base::files::{self, Content};
use names::{Names, Rule};

mod admin;
mod clients;
mod cluster;
mod component;
mod decisions;
mod destination;
mod effects;
mod headers;
mod jetstream;
mod key_set;
mod limits;
mod list;
pub(crate) mod names;
mod paths;
mod policy;
mod policy_config;
mod policy_limits;
mod proxies;
mod recordings;
pub(crate) mod references;
mod route;
mod server;
mod signer;
#[cfg(test)]
mod tests;
mod traces;
mod trial;
mod upstream;
mod upstream_routes;
mod websocket;

/// Text of a configuration, and what its values refer to.
pub(super) struct ConfigText<'a> {
    /// Name of the file in reports.
    pub(super) name: &'a str,
    /// Text in TOML.
    pub(super) text: &'a str,
    /// Folder that relative paths start from.
    pub(super) folder: &'a Path,
    /// Looks up an environment variable.
    pub(super) environment: &'a dyn Fn(&str) -> Option<OsString>,
}

/// Everything that the reader asks for in this text.
pub(super) fn asked(origin: &ConfigText<'_>) -> Asked {
    let toml = Document::new("the configuration", origin.name, origin.text);
    if let Some(root) = Section::root(&toml) {
        Reader::new(origin, &toml).config(root);
    }
    toml.asked.take()
}

/// State of the reader.
struct Reader<'a> {
    origin: &'a ConfigText<'a>,
    toml: &'a Document<'a>,
    /// All files that were read or checked, with their content if it was read.
    files: BTreeMap<PathBuf, Option<Content>>,
}

/// Reads a configuration.
///
/// # Errors
/// If the text is not TOML.
pub(super) fn read(origin: &ConfigText<'_>) -> Result<(Config, Diagnostics), Diagnostics> {
    let toml = Document::new("the configuration", origin.name, origin.text);
    let config = Section::root(&toml).map(|root| Reader::new(origin, &toml).config(root));
    let diagnostics = toml.into_diagnostics();
    match config {
        Some(config) => Ok((config, diagnostics)),
        None => Err(diagnostics),
    }
}

impl<'a> Reader<'a> {
    fn new(origin: &'a ConfigText<'a>, toml: &'a Document<'a>) -> Self {
        Self {
            origin,
            toml,
            files: BTreeMap::new(),
        }
    }

    fn config(&mut self, mut root: Section<'_>) -> Config {
        let data_dir = match root.text("data_dir") {
            Some(folder) => self.relative(&folder.value),
            None => self.relative("data"),
        };
        let credentials = root.text("registry_credentials");
        let credentials = credentials.and_then(|file| self.credentials(&file));
        let realms = self.realms(&mut root);
        let server = root.section_or_empty("server", "server", "[server]");
        let server = self.server(server);
        let decisions = root.section_or_empty("decisions", "decisions", "[decisions]");
        let decisions = self.decisions(decisions);
        let traces = root.section_or_empty("traces", "traces", "[traces]");
        let traces = self.traces(traces);
        let cluster = root.section_or_empty("cluster", "cluster", "[cluster]");
        let cluster = self.cluster(cluster);
        let key_sets = root.named("key_sets", "key_sets.NAME");
        let lists = root.named("lists", "lists.NAME");
        let signers = root.named("signers", "signers.NAME");
        let destinations = root.named("destinations", "destinations.NAME");
        let policies = root.named("policies", "policies.NAME");
        let upstreams = root.named("upstreams", "upstreams.NAME");
        let routes = root.named("routes", "routes.NAME");
        self.check_names(&key_sets, Rule::Name);
        if lists.is_empty() {
            list::known(&root);
        }
        self.check_names(&lists, Rule::Name);
        if signers.is_empty() {
            signer::known(&root);
        }
        self.check_names(&signers, Rule::Name);
        if destinations.is_empty() {
            self.know_destinations(&root);
        }
        self.check_names(&destinations, Rule::Name);
        self.check_names(&policies, Rule::Policy);
        self.check_names(&upstreams, Rule::Name);
        self.check_names(&routes, Rule::Name);
        let place = root.place.clone();
        root.finish();
        if routes.is_empty() {
            self.error(
                &place,
                "there are no routes, so there is nothing to serve",
                "add a [routes.NAME] section with `paths` and an `upstream`",
            );
        }

        let names = Names {
            policies: policies.keys().cloned().collect(),
            upstreams: upstreams.keys().cloned().collect(),
            destinations: destinations.keys().cloned().collect(),
        };
        let declared_key_sets: BTreeSet<String> = key_sets.keys().cloned().collect();
        let declared_lists: BTreeSet<String> = lists.keys().cloned().collect();
        let lists = self.each(lists, Self::list);
        let key_sets = self.each(key_sets, Self::key_set);
        self.check_choices(&key_sets, &declared_key_sets);
        let signatures = self.signers(signers);
        let mut policies = self.each(policies, Self::policy);
        policy_config::identify_tenants(&mut policies);
        self.ask_for_signatures(&mut policies, &signatures);
        let destinations = self.each(destinations, Self::destination);
        self.check_destinations_of(&names.destinations, &policies);
        let places: BTreeMap<String, Place> = upstreams
            .iter()
            .map(|(name, section)| (name.clone(), section.place.clone()))
            .collect();
        let upstreams = self.each(upstreams, Self::upstream);
        let mut routes = self.routes(routes, &names);
        self.check_trials(&names.policies, &policies, &routes);
        let mut told = Vec::new();
        for (name, upstream) in &upstreams {
            let place = &places[name];
            told.extend(self.check_backend(name, upstream, place, &routes));
            self.check_handshakes(name, upstream, place, &routes);
            told.extend(self.check_identity(name, upstream, place, &policies, &routes));
        }
        self.check_folders(&upstreams, &places);
        for route in routes.values_mut() {
            route.on_connect.retain(|name| policies.contains_key(name));
            for chain in [
                &mut route.on_handshake,
                &mut route.on_frames,
                &mut route.on_close,
            ] {
                chain.retain(|name| policies.contains_key(name));
            }
        }
        let config = Config {
            data_dir,
            credentials: credentials.unwrap_or_default(),
            realms,
            server,
            decisions,
            traces,
            cluster,
            key_sets,
            lists,
            signatures,
            destinations,
            policies,
            upstreams,
            routes,
            declared: Declared {
                key_sets: declared_key_sets,
                lists: declared_lists,
                destinations: names.destinations,
                policies: names.policies,
            },
            upstream_attributes: told,
            files: std::mem::take(&mut self.files),
            options: self.toml.options(),
        };
        self.check_cluster(&config, &places);
        // A configuration with mistakes gets no warnings about options without effect.
        if self.toml.diagnostics().is_empty() {
            self.check_effects(&config, &places);
        }
        let routes = config.routes.into_iter();
        let routes = routes.filter(|(_, route)| config.upstreams.contains_key(&route.upstream));
        Config {
            routes: routes.collect(),
            ..config
        }
    }

    /// Reads each section of a kind. Those that cannot be made are left out.
    fn each<'de, T>(
        &mut self,
        sections: Sections<'de>,
        read: impl Fn(&mut Self, Section<'de>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        sections
            .into_iter()
            .filter_map(|(name, section)| Some((name, read(self, section)?)))
            .collect()
    }

    fn error(
        &self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> RefMut<'a, Diagnostic> {
        self.toml.error(place, message, help)
    }

    fn warning(
        &self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> RefMut<'a, Diagnostic> {
        RefMut::map(self.toml.diagnostics(), |all| {
            all.warning(place, message, help)
        })
    }

    /// Path, relative to the folder of the configuration file.
    fn relative(&self, path: &str) -> PathBuf {
        self.origin.folder.join(path)
    }

    /// [`Reader::relative`] for a file whose content matters. It is watched for changes.
    fn file(&mut self, path: &str) -> PathBuf {
        let file = self.relative(path);
        self.files.entry(file.clone()).or_default();
        file
    }

    /// Path and content of a file.
    fn read_file(&mut self, path: &str) -> (PathBuf, std::io::Result<Vec<u8>>) {
        let file = self.relative(path);
        let (bytes, content) = files::read(&file);
        self.files.insert(file.clone(), Some(content));
        (file, bytes)
    }
}
