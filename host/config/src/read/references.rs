//! Whether something that an option refers to is there, as far as the file alone can tell.

use std::collections::BTreeSet;

use base::diagnostics::{Diagnostics, Place};

use super::names::report_missing;
use super::paths::parameters;
use crate::settings::Route;

/// A name that a section of the file refers to.
pub struct Reference<'a> {
    /// The section, as reports call it: `[policies.auth]`.
    pub title: &'a str,
    /// The name of the thing that it refers to.
    pub name: &'a str,
    /// Where that name stands in the file.
    pub place: &'a Place,
}

impl Reference<'_> {
    /// Reports a key set that the file does not declare.
    pub fn check_key_set(&self, declared: &BTreeSet<String>, diagnostics: &mut Diagnostics) {
        if !declared.contains(self.name) {
            let kind = ("key set", "key_sets");
            report_missing(self.name, self.place, kind, declared, diagnostics);
        }
    }

    /// Reports a list that the file does not declare.
    pub fn check_list(&self, declared: &BTreeSet<String>, diagnostics: &mut Diagnostics) {
        if !declared.contains(self.name) {
            let kind = ("list", "lists");
            report_missing(self.name, self.place, kind, declared, diagnostics);
        }
    }

    /// Reports a destination that the file does not declare, or that is not among those which the
    /// policy may ask.
    pub fn check_destination(
        &self,
        declared: &BTreeSet<String>,
        allowed: &[String],
        diagnostics: &mut Diagnostics,
    ) {
        let (title, name) = (self.title, self.name);
        if !declared.contains(name) {
            let kind = ("destination", "destinations");
            report_missing(name, self.place, kind, declared, diagnostics);
        } else if !allowed.iter().any(|allowed| allowed == name) {
            let message = format!("{title} may not ask the destination \"{name}\"");
            let help = format!("if it may, add \"{name}\" to `destinations` in {title}");
            diagnostics
                .error(self.place, message, help)
                .label("not allowed");
        }
    }

    /// Reports a path parameter that a path of the route `name` does not have.
    pub fn check_parameter(&self, name: &str, route: &Route, diagnostics: &mut Diagnostics) {
        let (title, wanted) = (self.title, self.name);
        let lacks = |path: &&String| !parameters(path).any(|name| name == wanted);
        if let Some(path) = route.paths.iter().find(lacks) {
            let message = format!(
                "{title} needs the path parameter `{wanted}`, and [routes.{name}] has a path without it"
            );
            let help = format!("name a parameter that \"{path}\" has, or put {{{wanted}}} into it");
            diagnostics
                .error(self.place, message, help)
                .label("no such parameter");
        }
    }

    /// Reports an attribute whose policy the route `name` does not ask `earlier`. Where it should
    /// is in `where_to`, as the middle of a sentence.
    pub fn check_attribute(
        &self,
        name: &str,
        earlier: &[&str],
        where_to: &str,
        diagnostics: &mut Diagnostics,
    ) {
        let (title, wanted) = (self.title, self.name);
        let owner = wanted.split('.').next().unwrap_or_default();
        if !earlier.contains(&owner) {
            let message = format!(
                "{title} needs `{wanted}`, and in [routes.{name}] no policy \"{owner}\" is asked before it"
            );
            let help = format!("put \"{owner}\" {where_to} the route's `on_connect`");
            diagnostics
                .error(self.place, message, help)
                .label("nobody sets this");
        }
    }
}
