//! File that is being read: where its values stand, and the mistakes found so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml_span::value::{Value, ValueInner};

use super::nearest::nearest;
use base::diagnostics::{Diagnostics, Place, Source};

/// File that is being read.
pub struct Document {
    source: Arc<Source>,
    /// Mistakes and warnings so far.
    pub diagnostics: Diagnostics,
    /// All options that were asked for, with the kinds of their sections.
    pub(crate) asked: BTreeSet<(&'static str, &'static str)>,
    /// All options in the file that were asked for, with their places, by the title of their
    /// section.
    pub(crate) written: BTreeMap<String, BTreeMap<&'static str, Place>>,
}

/// Value with its place in the file.
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Place,
}

impl Document {
    pub(super) fn new(subject: &'static str, name: &str, text: &str) -> Self {
        Self {
            source: Source::new(name, text),
            diagnostics: Diagnostics::of(subject),
            asked: BTreeSet::new(),
            written: BTreeMap::new(),
        }
    }

    pub(super) fn place(&self, span: impl Into<std::ops::Range<usize>>) -> Place {
        Place::new(&self.source, span.into())
    }

    /// Text, which may be empty.
    pub(super) fn any_text(&mut self, key: &str, value: &mut Value<'_>) -> Option<Spanned<String>> {
        let place = self.place(value.span);
        match value.take() {
            ValueInner::String(text) => Some(Spanned {
                value: text.into_owned(),
                place,
            }),
            other => {
                self.wrong_type(&place, key, "text", &other, "put it in quotes: \"…\"");
                None
            }
        }
    }

    /// Text that is not empty.
    pub(super) fn text(&mut self, key: &str, value: &mut Value<'_>) -> Option<Spanned<String>> {
        let text = self.any_text(key, value)?;
        if text.value.trim().is_empty() {
            let message = format!("`{key}` is empty");
            let help = "write a value between the quotes, or leave the key out";
            self.diagnostics
                .error(&text.place, message, help)
                .label("empty");
            return None;
        }
        Some(text)
    }

    /// Whole number in the range of a type.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        value: &mut Value<'_>,
    ) -> Option<Spanned<T>> {
        let place = self.place(value.span);
        match value.take() {
            ValueInner::Integer(number) => match T::try_from(number) {
                Ok(value) => return Some(Spanned { value, place }),
                Err(_) => self.out_of_range(&place, key, number),
            },
            other => self.wrong_type(&place, key, "a whole number", &other, NUMBER),
        }
        None
    }

    pub(super) fn out_of_range(&mut self, place: &Place, key: &str, number: i64) {
        let message = format!("`{key}` cannot be {number}");
        self.diagnostics
            .error(place, message, NUMBER)
            .label("out of range");
    }

    /// Choice that a text names.
    pub fn choose<T: Copy>(
        &mut self,
        key: &str,
        text: Spanned<String>,
        choices: &[(&str, T)],
    ) -> Option<Spanned<T>> {
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(Spanned {
                value: *value,
                place: text.place,
            });
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let message = format!("`{key}` does not know \"{}\"", text.value);
        let help = match nearest(&text.value, words.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("it knows: \"{}\"", words.join("\", \"")),
        };
        self.diagnostics
            .error(&text.place, message, help)
            .label("unknown");
        None
    }

    pub(super) fn wrong_type(
        &mut self,
        place: &Place,
        key: &str,
        wanted: &str,
        found: &ValueInner<'_>,
        help: &str,
    ) {
        let found = match found {
            ValueInner::String(_) => "text",
            ValueInner::Integer(_) | ValueInner::Float(_) => "a number",
            ValueInner::Boolean(_) => "true or false",
            ValueInner::Array(_) => "a list",
            ValueInner::Table(_) => "a table",
        };
        self.diagnostics
            .error(place, format!("`{key}` is {wanted}, not {found}"), help)
            .label(format!("{found}, where {wanted} belongs"));
    }
}

/// What to do about a value that is not a number, or not one in range.
const NUMBER: &str = "write a whole number without quotes, such as 100";
