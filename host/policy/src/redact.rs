//! What may not be recorded. It hides too much rather than too little.
//!
//! Values of credentials are left out by their names; and whatever they are
//! is looked for in every other text of the line, so that a guest that was
//! granted credentials cannot write them down by another way. What looks like
//! a token is hidden wherever it stands.
//!
//! A client chooses how many credentials it sends, and everybody's lines are
//! made by one thread. So they are bounded in number and bytes, and all of
//! them are looked for in one pass. Where a client sends more, its texts are
//! hidden whole.

use std::borrow::Cow;
use std::collections::HashSet;

use aho_corasick::automaton::Automaton as _;
use aho_corasick::nfa::noncontiguous::NFA;
use aho_corasick::{Anchored, MatchKind};
use serde_json::Value;

use base::credentials::{self, HIDDEN, is_sensitive};

/// A secret that is shorter is hidden under its own name only: hidden
/// everywhere, it would take ordinary words with it.
const SHORTEST: usize = 8;
/// Bytes of one text in a line.
const LONGEST: usize = 4096;
/// Secrets that are looked for in one line, and bytes in all of them.
const MAX_SECRETS: usize = 512;
const MAX_SECRET_BYTES: usize = 32 * 1024;

/// The secrets of one connection.
#[derive(Default)]
pub struct Secrets {
    parts: HashSet<String>,
    bytes: usize,
    too_many: bool,
}

impl Secrets {
    /// Hides this wherever it stands, and the parts that it is made of.
    pub fn add(&mut self, secret: &str) {
        // `Bearer …`, `Basic …`, `a=…; b=…`, and the three parts of a JWT.
        let parts = secret.split(|c: char| c.is_whitespace() || matches!(c, '=' | ';' | ',' | '.'));
        for part in parts.chain([secret.trim()]) {
            if part.len() < SHORTEST || self.parts.contains(part) {
                continue;
            }
            self.bytes += part.len();
            if self.too_many || self.parts.len() >= MAX_SECRETS || self.bytes > MAX_SECRET_BYTES {
                self.too_many = true;
                return;
            }
            self.parts.insert(part.to_owned());
        }
    }

    /// What hides them.
    #[must_use]
    pub fn settle(self) -> Redactor {
        if self.too_many {
            return Redactor::Everything;
        }
        Redactor::of(self.parts.into_iter().collect())
    }
}

impl Redactor {
    /// Hides exactly these.
    pub(crate) fn of(secrets: Vec<String>) -> Self {
        let longest = secrets.iter().map(String::len).max().unwrap_or_default();
        let mut builder = NFA::builder();
        // The bounds above are far below what an automaton can have.
        match builder.match_kind(MatchKind::Standard).build(&secrets) {
            Ok(automaton) => Self::Secrets(Box::new(Search {
                automaton,
                secrets,
                longest,
            })),
            Err(_) => Self::Everything,
        }
    }
}

/// Hides the secrets of one connection.
pub enum Redactor {
    /// These.
    Secrets(Box<Search>),
    /// Every text, because there are more secrets than are looked for.
    Everything,
}

/// What finds secrets in a text.
pub struct Search {
    /// Finds all of them in one pass.
    automaton: NFA,
    secrets: Vec<String>,
    /// Bytes of the longest.
    longest: usize,
}

impl Redactor {
    /// A text without them, cut to a bound.
    ///
    /// It is looked through only as far as a secret can reach that begins
    /// within the bound, so that a long text costs no more than a short one,
    /// and no secret is cut in two.
    #[must_use]
    pub fn hide(&self, text: &str) -> String {
        let Self::Secrets(search) = self else {
            return HIDDEN.to_owned();
        };
        let reach = LONGEST + search.longest.max(64);
        let looked_at = &text[..text.floor_char_boundary(reach)];
        let mut ranges: Vec<_> = credentials::tokens(looked_at).collect();
        ranges.extend(search.found(looked_at));
        ranges.extend(search.cut(looked_at));
        let end = text.floor_char_boundary(LONGEST);
        if end < text.len() {
            ranges.retain(|range| range.start < end);
            ranges.push(end..looked_at.len());
        }
        credentials::hidden(looked_at, ranges)
    }

    /// A text without its own secrets, of which only the first `most` bytes are of interest. Only a
    /// whole secret is hidden: that the beginning of one is not tells nobody whether a guess is right.
    /// The text stays as it is if there is none in it.
    pub(crate) fn hide_whole<'a>(&self, text: &'a str, most: usize) -> Cow<'a, str> {
        let Self::Secrets(search) = self else {
            return Cow::Borrowed(HIDDEN);
        };
        let reach = most.saturating_add(search.longest);
        let looked_at = &text[..text.floor_char_boundary(reach)];
        let found = search.found(looked_at);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(credentials::hidden(looked_at, found))
    }

    /// A text that may be JSON, without them and without what is called like one. JSON stays as it is
    /// where there is nothing to hide, so that whoever reads it gets it again.
    pub(crate) fn hide_in_json(&self, text: &mut String) {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            *text = self.hide(text);
            return;
        };
        // Of two members of one name, the value has one, and a secret may be in the other.
        if members(&value) != members_written(text) {
            HIDDEN.clone_into(text);
            return;
        }
        let mut hidden = value.clone();
        self.hide_in(&mut hidden);
        if hidden != value || self.is_in(text) {
            *text = self.hide(&hidden.to_string());
        }
    }

    /// Whether one of its own secrets stands in a text, as far as [`Redactor::hide`] shows it, or
    /// begins at its end. Tokens of others do not count.
    #[must_use]
    pub(crate) fn finds_one_in(&self, text: &str) -> bool {
        let Self::Secrets(search) = self else {
            return true;
        };
        let text = &text[..text.floor_char_boundary(LONGEST + search.longest)];
        !search.found(text).is_empty() || search.cut(text).is_some()
    }

    /// Whether a secret stands in a text.
    fn is_in(&self, text: &str) -> bool {
        let Self::Secrets(search) = self else {
            return true;
        };
        credentials::tokens(text).next().is_some() || !search.found(text).is_empty()
    }

    /// A JSON value without them, and without what is called like one.
    pub(crate) fn hide_in(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.hide(text),
            Value::Array(values) if is_pair_of_secret(values) => {
                values[1] = Value::String(HIDDEN.to_owned());
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.hide_in(value)),
            Value::Object(members) => {
                let taken = std::mem::take(members);
                members.extend(taken.into_iter().map(|(name, mut value)| {
                    if is_sensitive(&name) {
                        value = Value::String(HIDDEN.to_owned());
                    } else {
                        self.hide_in(&mut value);
                    }
                    (self.hide(&name), value)
                }));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Number of members of all objects in a value.
fn members(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(members).sum(),
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Number of members that stand in valid JSON: each has a colon outside of strings.
fn members_written(json: &str) -> usize {
    let mut count = 0;
    let mut in_string = false;
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => drop(bytes.next()),
            b'"' => in_string = !in_string,
            b':' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

impl Search {
    /// Where a secret stands. Secrets may overlap: of those that end at one
    /// byte, the longest counts.
    fn found(&self, text: &str) -> Vec<std::ops::Range<usize>> {
        let automaton = &self.automaton;
        let Ok(mut state) = automaton.start_state(Anchored::No) else {
            return Vec::new();
        };
        let mut ranges: Vec<std::ops::Range<usize>> = Vec::new();
        for (at, byte) in text.bytes().enumerate() {
            state = automaton.next_state(Anchored::No, state, byte);
            if automaton.is_match(state) {
                // A state's own secret comes before those that are its ends.
                let length = automaton.pattern_len(automaton.match_pattern(state, 0));
                let mut range = at + 1 - length..at + 1;
                while let Some(last) = ranges.pop_if(|last| last.end >= range.start) {
                    range.start = range.start.min(last.start);
                }
                ranges.push(range);
            }
        }
        ranges
    }

    /// The beginning of a secret at the end of a text, which was cut off before
    /// it came here.
    fn cut(&self, text: &str) -> Option<std::ops::Range<usize>> {
        let starts = self.secrets.iter().filter_map(|secret| {
            let beginning = secret.get(..secret.ceil_char_boundary(SHORTEST))?;
            let from = text.ceil_char_boundary(text.len().saturating_sub(secret.len()));
            let tail = &text[from..];
            let mut places = tail.match_indices(beginning);
            places.find_map(|(at, _)| secret.starts_with(&tail[at..]).then_some(from + at))
        });
        starts.min().map(|start| start..text.len())
    }
}

/// Whether this is a name with its value, as attributes are written.
fn is_pair_of_secret(values: &[Value]) -> bool {
    matches!(values, [Value::String(name), _] if is_sensitive(name))
}

#[cfg(test)]
mod tests;
