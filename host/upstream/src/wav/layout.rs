//! The folders that a recording is put in: a template such as `{tenant}/{date}/{meeting}`.
//!
//! Each folder is either written out, or one placeholder alone. So what a client chose becomes
//! exactly one folder, and no two values share one (see [`name::folder`]).

use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::name;
use crate::fact::{Fact, FactError};
use crate::link::StreamInfo;

/// Folders that a template may have, so that a path stays far below what systems allow.
const MAX_FOLDERS: usize = 12;
/// The folders of a recording where the configuration names none.
const DEFAULT: [Folder; 2] = [Folder::Place(Place::Tenant), Folder::Place(Place::Meeting)];

/// Folders below an upstream's own, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(Vec<Folder>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Folder {
    Literal(String),
    Place(Place),
}

/// What a folder is named after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The attribute `tenant_id` of a policy that verifies tokens.
    Tenant,
    /// The attribute `user_id` of a policy that verifies tokens.
    User,
    /// The day on which the recording began, in UTC.
    Date,
    /// The parameter `meeting_id` of the route's path; without one, the route's name.
    Meeting,
    /// The route's name.
    Route,
    /// `mic` or `sys`.
    Source,
    /// The session's id.
    Session,
    /// Anything else that is known of the connection.
    Fact(Fact),
}

const WORDS: [(&str, Place); 7] = [
    ("tenant", Place::Tenant),
    ("user", Place::User),
    ("date", Place::Date),
    ("meeting", Place::Meeting),
    ("route", Place::Route),
    ("source", Place::Source),
    ("session", Place::Session),
];

/// Why a text is no layout, and which part of it.
#[derive(Debug, PartialEq, Eq)]
pub struct LayoutError {
    /// The bytes of the text that are wrong.
    pub at: Range<usize>,
    /// What is wrong with them.
    pub flaw: Flaw,
}

/// What is wrong with a part of a layout.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// It begins with a slash.
    #[error("it is an absolute path")]
    Absolute,
    /// Two slashes in a row, or one at the end.
    #[error("a folder in it has no name")]
    Empty,
    /// It would climb, or stay.
    #[error("\"{0}\" leads to another folder")]
    Dots(String),
    /// Characters or names that not every file system takes as they are.
    #[error("\"{0}\" cannot be the name of a folder")]
    Name(String),
    /// A placeholder with something beside it.
    #[error("\"{0}\" has more in it than one placeholder")]
    Mixed(String),
    /// A brace that is not closed, or not opened.
    #[error("the braces of \"{0}\" do not match")]
    Braces(String),
    /// A placeholder that nothing fills.
    #[error("nothing is called {{{0}}}")]
    Unknown(String),
    /// A placeholder for a credential.
    #[error("{{{0}}} would put a secret into the name of a folder")]
    Secret(String),
    /// More folders than a path has room for.
    #[error("it has more than {MAX_FOLDERS} folders")]
    TooDeep,
}

impl Default for Layout {
    fn default() -> Self {
        Self(DEFAULT.to_vec())
    }
}

impl Layout {
    /// Reads a template.
    ///
    /// # Errors
    /// [`LayoutError`].
    pub fn parse(text: &str) -> Result<Self, LayoutError> {
        let flawed = |at, flaw| Err(LayoutError { at, flaw });
        if text.starts_with('/') {
            return flawed(0..1, Flaw::Absolute);
        }
        let mut folders = Vec::new();
        let mut start = 0;
        for part in text.split('/') {
            let at = start..start + part.len();
            start = at.end + 1;
            match folder(part) {
                Ok(folder) => folders.push(folder),
                Err(flaw) => return flawed(at, flaw),
            }
            if folders.len() > MAX_FOLDERS {
                return flawed(0..text.len(), Flaw::TooDeep);
            }
        }
        Ok(Self(folders))
    }

    /// Everything that a folder is named after.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.0.iter().filter_map(|folder| match folder {
            Folder::Literal(_) => None,
            Folder::Place(place) => Some(place),
        })
    }

    /// Words that may stand in braces alone.
    pub fn words() -> impl Iterator<Item = &'static str> {
        WORDS.iter().map(|(word, _)| *word)
    }

    /// The folder of one stream's recording, which began then, below `root`.
    pub(super) fn folder(&self, root: &Path, stream: &StreamInfo, began: Timestamp) -> PathBuf {
        let mut path = root.to_owned();
        for folder in &self.0 {
            match folder {
                Folder::Literal(name) => path.push(name),
                Folder::Place(place) => match place.value(stream, began) {
                    Some(value) => {
                        path.push(name::folder(&value, &stream.facts.presentable(&value)));
                    }
                    None => path.push(name::MISSING),
                },
            }
        }
        path
    }
}

impl Place {
    fn value(&self, stream: &StreamInfo, began: Timestamp) -> Option<String> {
        let facts = &stream.facts;
        match self {
            Self::Tenant => facts.said_by(&stream.identified_by, "tenant_id"),
            Self::User => facts.said_by(&stream.identified_by, "user_id"),
            Self::Date => Some(began.strftime("%Y-%m-%d").to_string()),
            Self::Meeting => Some(
                stream
                    .param("meeting_id")
                    .unwrap_or(&stream.route)
                    .to_owned(),
            ),
            Self::Route => Some(stream.route.clone()),
            Self::Source => stream.source.clone(),
            Self::Session => Some(stream.session_id.clone()),
            Self::Fact(fact) => fact.value(facts),
        }
    }
}

fn folder(part: &str) -> Result<Folder, Flaw> {
    let whole = || part.to_owned();
    if part.is_empty() {
        return Err(Flaw::Empty);
    }
    if matches!(part, "." | "..") {
        return Err(Flaw::Dots(whole()));
    }
    if !part.contains(['{', '}']) {
        return if name::is_literal(part) {
            Ok(Folder::Literal(whole()))
        } else {
            Err(Flaw::Name(whole()))
        };
    }
    let (before, rest) = part.split_once('{').ok_or_else(|| Flaw::Braces(whole()))?;
    let (name, after) = rest.split_once('}').ok_or_else(|| Flaw::Braces(whole()))?;
    if before.contains('}') || name.contains('{') {
        return Err(Flaw::Braces(whole()));
    }
    if !before.is_empty() || !after.is_empty() {
        return Err(Flaw::Mixed(whole()));
    }
    if let Some((_, place)) = WORDS.iter().find(|(word, _)| *word == name) {
        return Ok(Folder::Place(place.clone()));
    }
    match Fact::parse(name) {
        Ok(fact) => Ok(Folder::Place(Place::Fact(fact))),
        Err(FactError::Unknown) => Err(Flaw::Unknown(name.to_owned())),
        Err(FactError::Secret) => Err(Flaw::Secret(name.to_owned())),
    }
}

#[cfg(test)]
mod tests;
