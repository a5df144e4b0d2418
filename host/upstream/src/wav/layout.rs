//! Folders of a recording: a template such as `{tenant}/{date}/{meeting}`.
//!
//! Each folder is either literal or exactly one placeholder. So a client's value becomes exactly
//! one folder, and no two values share one (see `name::folder`).

use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::name;
use crate::fact::{Fact, FactError};
use crate::link::StreamInfo;

/// Maximum number of folders of a template. Paths stay far below the limits of file systems.
const MAX_FOLDERS: usize = 12;
/// Default folders of a recording.
const DEFAULT: [Folder; 2] = [
    Folder::Place(FolderName::Tenant),
    Folder::Place(FolderName::Meeting),
];

/// Folders below the upstream's own, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(Vec<Folder>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Folder {
    Literal(String),
    Place(FolderName),
}

/// Value that names a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FolderName {
    /// Attribute `tenant_id` of a policy that verifies tokens.
    Tenant,
    /// Attribute `user_id` of a policy that verifies tokens.
    User,
    /// Day on which the recording began, in UTC.
    Date,
    /// Parameter `meeting_id` of the route's path, or the route's name if there is none.
    Meeting,
    /// Name of the route.
    Route,
    /// `mic` or `sys`.
    Source,
    /// Session id.
    Session,
    /// Any other fact about the connection.
    Fact(Fact),
}

const WORDS: [(&str, FolderName); 7] = [
    ("tenant", FolderName::Tenant),
    ("user", FolderName::User),
    ("date", FolderName::Date),
    ("meeting", FolderName::Meeting),
    ("route", FolderName::Route),
    ("source", FolderName::Source),
    ("session", FolderName::Session),
];

/// Error in a template.
#[derive(Debug, PartialEq, Eq)]
pub struct LayoutError {
    /// Position of the error in the text, in bytes.
    pub at: Range<usize>,
    /// Kind of error.
    pub flaw: Flaw,
}

/// Kind of error in a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The template begins with a slash.
    #[error("it is an absolute path")]
    Absolute,
    /// It has two slashes in a row, or one at the end.
    #[error("a folder in it has no name")]
    Empty,
    /// It has `.` or `..` as a folder.
    #[error("\"{0}\" leads to another folder")]
    Dots(String),
    /// It has a name that not every file system allows.
    #[error("\"{0}\" cannot be the name of a folder")]
    Name(String),
    /// It has other text beside a placeholder.
    #[error("\"{0}\" has other text beside its placeholder")]
    Mixed(String),
    /// It has a brace without its pair.
    #[error("the braces of \"{0}\" do not match")]
    Braces(String),
    /// It has an unknown placeholder.
    #[error("there is no placeholder {{{0}}}")]
    Unknown(String),
    /// It has a placeholder for a credential.
    #[error("{{{0}}} would put a secret into the name of a folder")]
    Secret(String),
    /// It has too many folders.
    #[error("it has more than {MAX_FOLDERS} folders")]
    TooDeep,
}

impl Default for Layout {
    fn default() -> Self {
        Self(DEFAULT.to_vec())
    }
}

impl Layout {
    /// Parses a template.
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

    /// All values that name folders.
    pub fn places(&self) -> impl Iterator<Item = &FolderName> {
        self.0.iter().filter_map(|folder| match folder {
            Folder::Literal(_) => None,
            Folder::Place(place) => Some(place),
        })
    }

    /// Placeholders without a dot.
    pub fn words() -> impl Iterator<Item = &'static str> {
        WORDS.iter().map(|(word, _)| *word)
    }

    /// Folder of a stream's recording that began at this time, below `root`.
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

impl FolderName {
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
        Ok(fact) => Ok(Folder::Place(FolderName::Fact(fact))),
        Err(FactError::Unknown) => Err(Flaw::Unknown(name.to_owned())),
        Err(FactError::Secret) => Err(Flaw::Secret(name.to_owned())),
    }
}

#[cfg(test)]
mod tests;
