//! Table of a file, read key by key.

use std::collections::BTreeMap;

use toml_span::value::{Key, Table, Value, ValueInner};

use super::document::{Document, Spanned};
use super::nearest::nearest;
use base::diagnostics::Place;

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
    /// Title in reports: `[policies.auth]`.
    pub(crate) title: String,
    /// Last part of the title: `auth`.
    pub(crate) name: String,
    /// Place of its name in the file.
    pub place: Place,
    /// Kind of section: `policies.NAME`.
    kind: &'static str,
    /// What was not taken yet.
    pub(super) table: Table<'de>,
    known: Vec<&'static str>,
}

impl<'de> Section<'de> {
    pub(super) fn new(kind: &'static str, title: &str, place: Place, table: Table<'de>) -> Self {
        Self {
            table,
            ..Self::empty(kind, title, place)
        }
    }

    /// Section that is absent in the file, so that every key has its default.
    pub(crate) fn empty(kind: &'static str, title: &str, place: Place) -> Self {
        Self {
            title: title.to_owned(),
            name: String::new(),
            place,
            kind,
            table: Table::new(),
            known: Vec::new(),
        }
    }

    /// Takes a value of any type, with the place of its key.
    pub(crate) fn take(
        &mut self,
        document: &mut Document,
        key: &'static str,
    ) -> Option<(Place, Value<'de>)> {
        self.known.push(key);
        document.asked.insert((self.kind, key));
        let (found, value) = self.table.remove_entry(key)?;
        let place = document.place(found.span);
        let written = document.written.entry(self.title.clone()).or_default();
        written.insert(key, place.clone());
        Some((place, value))
    }

    /// Place of a key that was not taken yet, or of the section if the key is absent.
    pub(crate) fn place_of(&self, document: &Document, key: &str) -> Place {
        match self.table.get_key_value(key) {
            Some((key, _)) => document.place(key.span),
            None => self.place.clone(),
        }
    }

    /// Whether the file has a key that was not taken yet.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Takes a text. An empty one is a mistake.
    pub fn text(&mut self, document: &mut Document, key: &'static str) -> Option<Spanned<String>> {
        let (_, mut value) = self.take(document, key)?;
        document.text(key, &mut value)
    }

    /// Takes a text that may be empty.
    pub fn any_text(
        &mut self,
        document: &mut Document,
        key: &'static str,
    ) -> Option<Spanned<String>> {
        let (_, mut value) = self.take(document, key)?;
        document.any_text(key, &mut value)
    }

    /// Takes a text. An absent one is a mistake.
    pub fn required(
        &mut self,
        document: &mut Document,
        key: &'static str,
        help: &str,
    ) -> Option<Spanned<String>> {
        self.demand(document, key, help);
        self.text(document, key)
    }

    /// Reports a key that is absent.
    pub fn demand(&self, document: &mut Document, key: &str, help: &str) {
        if !self.has(key) {
            let message = format!("{} has no `{key}`", self.title);
            document.diagnostics.error(&self.place, message, help);
        }
    }

    /// Takes a whole number in the range of a type.
    pub fn number<T: TryFrom<i64>>(
        &mut self,
        document: &mut Document,
        key: &'static str,
    ) -> Option<T> {
        let (_, mut value) = self.take(document, key)?;
        document.number(key, &mut value).map(|number| number.value)
    }

    /// Takes one of a few words.
    pub fn choice<T: Copy>(
        &mut self,
        document: &mut Document,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<Spanned<T>> {
        let text = self.text(document, key)?;
        document.choose(key, text, choices)
    }

    /// Takes `true` or `false`.
    pub fn truth(&mut self, document: &mut Document, key: &'static str) -> Option<bool> {
        let (_, mut value) = self.take(document, key)?;
        let place = document.place(value.span);
        match value.take() {
            ValueInner::Boolean(truth) => Some(truth),
            other => {
                let help = "write true or false, without quotes";
                document.wrong_type(&place, key, "true or false", &other, help);
                None
            }
        }
    }

    /// Takes a table inside of this one. Any other value is reported.
    pub fn section(
        &mut self,
        document: &mut Document,
        key: &'static str,
        kind: &'static str,
        title: &str,
    ) -> Option<Section<'de>> {
        let (place, mut value) = self.take(document, key)?;
        section_of(document, key, title, kind, place, &mut value)
    }

    /// Takes the tables of a kind: `[policies.auth]` and others.
    pub(crate) fn named(
        &mut self,
        document: &mut Document,
        key: &'static str,
        kind: &'static str,
    ) -> Sections<'de> {
        let mut sections = Sections::new();
        let Some(outer) = self.section(document, key, "", &format!("[{kind}]")) else {
            return sections;
        };
        for (Key { name, span }, mut value) in outer.table {
            let place = document.place(span);
            let title = format!("[{key}.{name}]");
            if let Some(section) = section_of(document, &name, &title, kind, place, &mut value) {
                sections.insert(name.into_owned(), section);
            }
        }
        sections
    }

    /// Takes what is either a text or a table.
    pub fn text_or_section(
        &mut self,
        document: &mut Document,
        key: &'static str,
        title: &'static str,
    ) -> Option<TextOrSection<'de>> {
        let value = self.table.get(key);
        if value.is_some_and(|value| value.as_table().is_some()) {
            let section = self.section(document, key, title, title);
            return section.map(TextOrSection::Section);
        }
        self.text(document, key).map(TextOrSection::Text)
    }

    /// Takes a table of texts, which may be empty. Other values are reported and left out.
    pub fn texts_by_name(
        &mut self,
        document: &mut Document,
        key: &'static str,
        title: &'static str,
    ) -> BTreeMap<String, String> {
        self.by_name(document, key, title, Document::any_text)
    }

    /// Takes a table of whole numbers. Other values are reported and left out.
    pub fn numbers_by_name(
        &mut self,
        document: &mut Document,
        key: &'static str,
        title: &'static str,
    ) -> BTreeMap<String, i64> {
        self.by_name(document, key, title, Document::number)
    }

    fn by_name<T>(
        &mut self,
        document: &mut Document,
        key: &'static str,
        title: &'static str,
        read: fn(&mut Document, &str, &mut Value<'de>) -> Option<Spanned<T>>,
    ) -> BTreeMap<String, T> {
        let section = self.section(document, key, title, title);
        let table = section.map(|section| section.table).unwrap_or_default();
        let entries = table.into_iter().filter_map(|(key, mut value)| {
            let read = read(document, &key.name, &mut value)?;
            Some((key.name.into_owned(), read.value))
        });
        entries.collect()
    }

    /// Reports the keys that are left, because they are unknown.
    pub fn finish(self, document: &mut Document) {
        for Key { name, span } in self.table.into_keys() {
            let place = document.place(span);
            let mut known = self.known.clone();
            known.sort_unstable();
            let near = nearest(&name, known.iter().copied());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("{} knows: {}", self.title, known.join(", ")),
            };
            let message = format!("{} has no option `{name}`", self.title);
            document
                .diagnostics
                .error(&place, message, help)
                .label("unknown");
        }
    }
}

/// A section, if the value is a table.
pub(super) fn section_of<'de>(
    document: &mut Document,
    key: &str,
    title: &str,
    kind: &'static str,
    place: Place,
    value: &mut Value<'de>,
) -> Option<Section<'de>> {
    match value.take() {
        ValueInner::Table(table) => Some(Section {
            name: key.to_owned(),
            ..Section::new(kind, title, place, table)
        }),
        other => {
            let help = format!("write it as a section: {title}");
            document.wrong_type(&place, key, "a section", &other, &help);
            None
        }
    }
}
