//! Table of a file, read key by key.

use std::cell::RefMut;
use std::collections::BTreeMap;

use toml_span::value::{Key, Table, Value, ValueInner};

use super::document::{Document, Spanned};
use super::nearest::nearest;
use super::shape::{Shape, words};
use base::diagnostics::{Diagnostic, Place};

/// Sections of one kind by name: `[policies.auth]`, `[policies.duplicate]`.
pub(crate) type Sections<'de> = BTreeMap<String, Section<'de>>;

/// Text, or a table.
pub enum TextOrSection<'de> {
    /// A text.
    Text(Spanned<String>),
    /// A table.
    Section(Section<'de>),
}

/// Table whose keys are taken out one by one. A key that is left in the end is unknown.
pub struct Section<'de> {
    pub(super) document: &'de Document<'de>,
    /// Title in reports: `[policies.auth]`.
    pub(crate) title: String,
    /// Last part of the title: `auth`.
    pub(crate) name: String,
    /// Place of its name in the file.
    pub place: Place,
    /// Kind of section: `policies.NAME`.
    pub(super) kind: &'static str,
    /// What was not taken yet.
    pub(super) table: Table<'de>,
    known: Vec<&'static str>,
}

impl<'de> Section<'de> {
    fn new(
        document: &'de Document<'de>,
        kind: &'static str,
        title: &str,
        place: Place,
        table: Table<'de>,
    ) -> Self {
        document.begin(kind);
        Self {
            document,
            title: title.to_owned(),
            name: String::new(),
            place,
            kind,
            table,
            known: Vec::new(),
        }
    }

    /// The file as a whole; `None` if it is not TOML.
    #[must_use]
    pub fn root(document: &'de Document<'de>) -> Option<Self> {
        let mut root = match toml_span::parse(document.text) {
            Ok(root) => root,
            Err(error) => {
                document.not_toml(&error);
                return None;
            }
        };
        let ValueInner::Table(table) = root.take() else {
            return None;
        };
        let place = document.place(0..0);
        Some(Self::new(document, "", "the file", place, table))
    }

    /// Takes a value of any type, with the place of its key.
    pub(super) fn take(&mut self, key: &'static str, shape: Shape) -> Option<(Place, Value<'de>)> {
        self.known.push(key);
        self.document.ask(self.kind, key, shape);
        let (found, value) = self.table.remove_entry(key)?;
        let place = self.document.place(found.span);
        self.document.write(&self.title, key, &place, &value);
        Some((place, value))
    }

    /// Takes an option that has no meaning here, with the place of its key.
    pub(crate) fn take_out(&mut self, key: &'static str) -> Option<Place> {
        self.take(key, Shape::Anything).map(|(place, _)| place)
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        shape: Shape,
        read: impl FnOnce(&Document<'de>, &str, &mut Value<'de>) -> Option<T>,
    ) -> Option<T> {
        let (_, mut value) = self.take(key, shape)?;
        read(self.document, key, &mut value)
    }

    /// Reports a mistake that the types of its values do not show.
    pub fn error(
        &self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> RefMut<'_, Diagnostic> {
        self.document.error(place, message, help)
    }

    /// Place of a key that was not taken yet, or of the section if the key is absent.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        match self.table.get_key_value(key) {
            Some((key, _)) => self.document.place(key.span),
            None => self.place.clone(),
        }
    }

    /// Whether the file has a key that was not taken yet.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Takes a text. An empty one is a mistake.
    pub fn text(&mut self, key: &'static str) -> Option<Spanned<String>> {
        self.read(key, Shape::Text, Document::text)
    }

    /// Takes a text that may be empty.
    pub fn any_text(&mut self, key: &'static str) -> Option<Spanned<String>> {
        self.read(key, Shape::AnyText, Document::any_text)
    }

    /// Takes a text. An absent one is a mistake.
    pub fn required(&mut self, key: &'static str, help: &str) -> Option<Spanned<String>> {
        self.demand(key, help);
        self.text(key)
    }

    /// Reports a key that is absent.
    pub fn demand(&self, key: &str, help: &str) {
        self.document.demand(self.kind, key);
        if !self.has(key) {
            let message = format!("{} has no `{key}`", self.title);
            self.document.error(&self.place, message, help);
        }
    }

    /// Takes a whole number in the range of a type.
    pub fn number<T: TryFrom<i64>>(&mut self, key: &'static str) -> Option<T> {
        Some(
            self.read(key, Shape::Whole { least: 0 }, Document::number)?
                .value,
        )
    }

    /// Takes one of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<Spanned<T>> {
        self.document
            .ask(self.kind, key, Shape::Word(words(choices)));
        let text = self.text(key)?;
        self.document.choose(key, text, choices)
    }

    /// Takes a list of a few words, without repeated ones.
    pub(crate) fn choices<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Vec<Spanned<T>> {
        self.document
            .ask(self.kind, key, Shape::Words(words(choices)));
        let named = self.distinct(key).into_iter();
        named
            .filter_map(|name| self.document.choose(key, name, choices))
            .collect()
    }

    /// Takes `true` or `false`.
    pub fn truth(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, Shape::Truth, Document::truth)
    }

    /// Takes a table inside of this one. Any other value is reported.
    pub fn section(
        &mut self,
        key: &'static str,
        kind: &'static str,
        title: &str,
    ) -> Option<Section<'de>> {
        let (place, value) = self.take(key, Shape::Section(kind))?;
        self.nested(key, title, kind, place, value)
    }

    /// Takes a table inside of this one. An absent one is empty, so that each key has its default.
    pub(crate) fn section_or_empty(
        &mut self,
        key: &'static str,
        kind: &'static str,
        title: &str,
    ) -> Section<'de> {
        let absent = Self::new(self.document, kind, title, Place::nowhere(), Table::new());
        self.section(key, kind, title).unwrap_or(absent)
    }

    /// An empty section of a kind, for options that are to be known where the file has none of it.
    pub(crate) fn none(&self, kind: &'static str) -> Section<'de> {
        Self::new(self.document, kind, "", Place::nowhere(), Table::new())
    }

    /// Takes the tables of a kind: `[policies.auth]` and others.
    pub(crate) fn named(&mut self, key: &'static str, kind: &'static str) -> Sections<'de> {
        let mut sections = Sections::new();
        self.document.ask(self.kind, key, Shape::Named(kind));
        let Some(outer) = self.section(key, "", &format!("[{kind}]")) else {
            return sections;
        };
        for (Key { name, span }, value) in outer.table {
            let place = self.document.place(span);
            let title = format!("[{key}.{name}]");
            if let Some(section) = self.nested(&name, &title, kind, place, value) {
                sections.insert(name.into_owned(), section);
            }
        }
        sections
    }

    /// Takes what is either a text or a table.
    pub fn text_or_section(
        &mut self,
        key: &'static str,
        title: &'static str,
    ) -> Option<TextOrSection<'de>> {
        let value = self.table.get(key);
        if value.is_some_and(|value| value.as_table().is_some()) {
            let section = self.section(key, title, title);
            return section.map(TextOrSection::Section);
        }
        self.text(key).map(TextOrSection::Text)
    }

    /// Reports the keys that are left, because they are unknown.
    pub fn finish(self) {
        for Key { name, span } in self.table.into_keys() {
            let place = self.document.place(span);
            let mut known = self.known.clone();
            known.sort_unstable();
            let near = nearest(&name, known.iter().copied());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("{} knows: {}", self.title, known.join(", ")),
            };
            let message = format!("{} has no option `{name}`", self.title);
            self.document.error(&place, message, help).label("unknown");
        }
    }

    /// A section in this one, if the value is a table.
    pub(super) fn nested(
        &self,
        key: &str,
        title: &str,
        kind: &'static str,
        place: Place,
        value: Value<'de>,
    ) -> Option<Section<'de>> {
        nested(self.document, key, title, kind, place, value)
    }
}

pub(super) fn nested<'de>(
    document: &'de Document<'de>,
    key: &str,
    title: &str,
    kind: &'static str,
    place: Place,
    mut value: Value<'de>,
) -> Option<Section<'de>> {
    match value.take() {
        ValueInner::Table(table) => Some(Section {
            name: key.to_owned(),
            ..Section::new(document, kind, title, place, table)
        }),
        other => {
            let help = format!("write it as a section: {title}");
            document.wrong_type(&place, key, "a section", &other, &help);
            None
        }
    }
}
