//! File that is being read: where its values stand, and the mistakes found so far.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use toml_span::value::{Value, ValueInner};

use super::nearest::nearest;
use super::shape::Shape;
use crate::diff::Options;
use base::diagnostics::{Diagnostic, Diagnostics, Place, Source};

/// File that is being read. All its sections report to it.
pub struct Document<'a> {
    pub(super) text: &'a str,
    source: Arc<Source>,
    diagnostics: RefCell<Diagnostics>,
    /// All options that were asked for.
    pub(crate) asked: RefCell<Asked>,
    /// All options in the file that were asked for, by the title of their section.
    written: RefCell<BTreeMap<String, BTreeMap<String, Written>>>,
}

/// Options that a reader asks for, with the kinds of their sections.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// What their values look like.
    pub(crate) shapes: BTreeMap<(&'static str, &'static str), Shape>,
    /// Those that must be there, with the number of sections that demanded them.
    demanded: BTreeMap<(&'static str, String), usize>,
    /// Numbers of sections, by kind.
    sections: BTreeMap<&'static str, usize>,
}

impl Asked {
    /// Options that every section of this kind demands.
    pub(crate) fn demanded(&self, kind: &'static str) -> impl Iterator<Item = &String> {
        let all = self.sections.get(kind);
        let demanded = self.demanded.iter();
        demanded
            .filter(move |((of, _), times)| *of == kind && Some(*times) == all)
            .map(|((_, key), _)| key)
    }
}

/// An option in the file.
struct Written {
    place: Place,
    /// Digest of its value; `None` for a table, whose own options are here too.
    digest: Option<u64>,
}

/// Value with its place in the file.
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Place,
}

impl<'a> Document<'a> {
    /// A file that is not read yet. `subject` is what reports call it as a whole ("the
    /// configuration"), and `name` is its path.
    #[must_use]
    pub fn new(subject: &'static str, name: &str, text: &'a str) -> Self {
        Self {
            text,
            source: Source::new(name, text),
            diagnostics: RefCell::new(Diagnostics::of(subject)),
            asked: RefCell::default(),
            written: RefCell::default(),
        }
    }

    /// Mistakes and warnings, when everything was read.
    #[must_use]
    pub fn into_diagnostics(self) -> Diagnostics {
        self.diagnostics.into_inner()
    }

    /// Mistakes and warnings so far.
    pub(crate) fn diagnostics(&self) -> RefMut<'_, Diagnostics> {
        self.diagnostics.borrow_mut()
    }

    pub(crate) fn error(
        &self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> RefMut<'_, Diagnostic> {
        RefMut::map(self.diagnostics(), |all| all.error(place, message, help))
    }

    /// Place of an option that was taken from a section, if the file has it.
    pub(crate) fn written(&self, title: &str, key: &str) -> Option<Place> {
        let written = self.written.borrow();
        Some(written.get(title)?.get(key)?.place.clone())
    }

    /// Options in the file, with digests of their values.
    pub(crate) fn options(&self) -> Options {
        let written = self.written.borrow();
        let sections = written.iter().map(|(title, options)| {
            let options = options.iter();
            let digests = options.filter_map(|(key, written)| Some((key.clone(), written.digest?)));
            (title.clone(), digests.collect())
        });
        Options(sections.collect())
    }

    /// Notes that an option was asked for. The shape that says most stays.
    pub(super) fn ask(&self, kind: &'static str, key: &'static str, shape: Shape) {
        let mut asked = self.asked.borrow_mut();
        let known = asked.shapes.entry((kind, key)).or_insert(Shape::Anything);
        if *known < shape {
            *known = shape;
        }
    }

    /// Notes that an option must be there.
    pub(super) fn demand(&self, kind: &'static str, key: &str) {
        let mut asked = self.asked.borrow_mut();
        *asked.demanded.entry((kind, key.to_owned())).or_default() += 1;
    }

    /// Notes that a section of this kind is read.
    pub(super) fn begin(&self, kind: &'static str) {
        *self.asked.borrow_mut().sections.entry(kind).or_default() += 1;
    }

    /// Notes that an option was taken.
    pub(super) fn write(&self, title: &str, key: &str, place: &Place, value: &Value<'_>) {
        let digest = value.as_table().is_none().then(|| {
            let text = self.text.get(value.span.start..value.span.end);
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish()
        });
        let mut written = self.written.borrow_mut();
        let section = written.entry(title.to_owned()).or_default();
        let place = place.clone();
        section.insert(key.to_owned(), Written { place, digest });
    }

    pub(super) fn place(&self, span: impl Into<std::ops::Range<usize>>) -> Place {
        Place::new(&self.source, span.into())
    }

    /// Text, which may be empty.
    pub(super) fn any_text(&self, key: &str, value: &mut Value<'_>) -> Option<Spanned<String>> {
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
    pub(super) fn text(&self, key: &str, value: &mut Value<'_>) -> Option<Spanned<String>> {
        let text = self.any_text(key, value)?;
        if text.value.trim().is_empty() {
            let message = format!("`{key}` is empty");
            let help = "write a value between the quotes, or leave the key out";
            self.error(&text.place, message, help).label("empty");
            return None;
        }
        Some(text)
    }

    /// Whole number in the range of a type.
    pub(super) fn number<T: TryFrom<i64>>(
        &self,
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

    pub(super) fn out_of_range(&self, place: &Place, key: &str, number: i64) {
        let message = format!("`{key}` cannot be {number}");
        self.error(place, message, NUMBER).label("out of range");
    }

    /// `true` or `false`.
    pub(super) fn truth(&self, key: &str, value: &mut Value<'_>) -> Option<bool> {
        let place = self.place(value.span);
        match value.take() {
            ValueInner::Boolean(truth) => Some(truth),
            other => {
                let help = "write true or false, without quotes";
                self.wrong_type(&place, key, "true or false", &other, help);
                None
            }
        }
    }

    /// Choice that a text names.
    pub(crate) fn choose<T: Copy>(
        &self,
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
        self.error(&text.place, message, help).label("unknown");
        None
    }

    pub(super) fn wrong_type(
        &self,
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
        self.error(place, format!("`{key}` is {wanted}, not {found}"), help)
            .label(format!("{found}, where {wanted} belongs"));
    }
}

/// What to do about a value that is not a number, or not one in range.
const NUMBER: &str = "write a whole number without quotes, such as 100";
