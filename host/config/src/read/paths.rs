//! Path templates of all routes.

use std::collections::BTreeMap;

use matchit::InsertError;

use super::Reader;
use crate::toml::Spanned;
use base::diagnostics::Place;
use base::paths::template;

const SHAPE: &str = "write a path such as \"/ws/meetings/{meeting_id}\"";

/// Paths that the routes so far have taken.
#[derive(Default)]
pub(super) struct Paths {
    router: matchit::Router<()>,
    /// By their canonical form, which requests are compared with.
    taken: BTreeMap<String, TakenPath>,
}

struct TakenPath {
    /// Path as written in the file.
    path: String,
    route: String,
    place: Place,
}

impl Paths {
    /// Adds a path of a route, unless it is invalid or taken.
    pub(super) fn take(
        &mut self,
        reader: &mut Reader<'_>,
        route: &str,
        path: Spanned<String>,
    ) -> Option<String> {
        let Spanned { value: path, place } = path;
        if let Err((message, help)) = check(&path) {
            reader.error(&place, message, help).label("not a path");
            return None;
        }
        let template = template(&path);
        match self.router.insert(&template, ()) {
            Ok(()) => {
                let taken = TakenPath {
                    path: path.clone(),
                    route: route.to_owned(),
                    place,
                };
                self.taken.insert(template, taken);
                Some(path)
            }
            Err(InsertError::Conflict { with }) => {
                let taken = self.taken.get(&with);
                let other = taken.map_or(with.as_str(), |taken| taken.path.as_str());
                let message =
                    format!("the path \"{path}\" matches the same requests as \"{other}\"");
                let help = "change one of the two, so that it is clear which route a request means";
                let mut diagnostic = reader.error(&place, message, help);
                if let Some(taken) = taken {
                    diagnostic
                        .label("taken")
                        .also(&taken.place, format!("taken by {}", taken.route));
                }
                None
            }
            Err(error) => {
                reader
                    .error(&place, format!("\"{path}\" is not a path: {error}"), SHAPE)
                    .label("not a path");
                None
            }
        }
    }
}

/// Refuses paths that the router accepts and that cannot be meant.
fn check(path: &str) -> Result<(), (String, &'static str)> {
    if !path.starts_with('/') {
        return Err((
            format!("the path \"{path}\" does not start with a slash"),
            SHAPE,
        ));
    }
    if path.contains(['?', '#']) {
        let help = "leave out the query; policies and upstreams read it from the request";
        return Err((format!("\"{path}\" is more than a path"), help));
    }
    if path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err((format!("the path \"{path}\" has white space in it"), SHAPE));
    }
    // Browsers, and most other clients, remove these before they send a request (RFC 3986, section
    // 5.2.4).
    if path.split('/').any(is_dots) {
        let help = "leave `.` and `..` out: a client never sends them";
        return Err((format!("no client can request the path \"{path}\""), help));
    }
    if path.contains("{*") {
        let help = "name each segment: \"/files/{folder}/{file}\"";
        return Err((
            format!("the path \"{path}\" has a parameter for many segments"),
            help,
        ));
    }
    if path.contains("{{") || path.contains("}}") {
        return Err((format!("the path \"{path}\" has a brace too many"), SHAPE));
    }
    let outside: String = path
        .split('{')
        .enumerate()
        .map(|(number, part)| match part.split_once('}') {
            Some((_, literal)) if number > 0 => literal,
            _ if number > 0 => "{",
            _ => part,
        })
        .collect();
    if outside.contains(['{', '}']) {
        return Err((
            format!("\"{path}\" is not a path: its braces are not in pairs"),
            SHAPE,
        ));
    }
    let mut seen = Vec::new();
    for name in parameters(path) {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let help = "name parameters with letters, digits and underscores: {meeting_id}";
            return Err((
                format!("\"{name}\" in \"{path}\" is not the name of a parameter"),
                help,
            ));
        }
        if seen.contains(&name) {
            let help = "give each parameter a name of its own";
            return Err((
                format!("the path \"{path}\" has two parameters called `{name}`"),
                help,
            ));
        }
        seen.push(name);
    }
    Ok(())
}

fn is_dots(segment: &str) -> bool {
    let segment = segment.to_ascii_lowercase().replace("%2e", ".");
    matches!(segment.as_str(), "." | "..")
}

/// Names of the parameters in a path template.
pub(super) fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}
