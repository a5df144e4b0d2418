//! Tables whose keys are free names.

use std::collections::BTreeMap;

use toml_span::value::{Key, Value};

use super::document::{Document, Spanned};
use super::section::{Section, Sections, nested};

impl<'de> Section<'de> {
    /// Takes a table of texts, which may be empty. Other values are reported and left out.
    pub fn texts_by_name(
        &mut self,
        key: &'static str,
        title: &'static str,
    ) -> BTreeMap<String, String> {
        self.by_name(key, title, Document::any_text)
    }

    /// Takes a table of whole numbers. Other values are reported and left out.
    pub fn numbers_by_name(
        &mut self,
        key: &'static str,
        title: &'static str,
    ) -> BTreeMap<String, i64> {
        self.by_name(key, title, Document::number)
    }

    /// Takes a table of texts, none of which is empty, with their places. `title` is that of the
    /// table.
    pub(crate) fn places_by_name(
        &mut self,
        key: &'static str,
        title: &str,
    ) -> BTreeMap<String, Spanned<String>> {
        let Some(section) = self.section(key, "", title) else {
            return BTreeMap::new();
        };
        let entries = section.table.into_iter().filter_map(|(key, mut value)| {
            let place = self.document.place(key.span);
            self.document.write(title, &key.name, &place, &value);
            let text = self.document.text(&key.name, &mut value)?;
            Some((key.name.into_owned(), text))
        });
        entries.collect()
    }

    /// The tables in this one, by their keys. Other values are reported and left out.
    pub(crate) fn into_sections(self) -> Sections<'de> {
        let outer = self.title.trim_end_matches(']').to_owned();
        let mut sections = Sections::new();
        for (Key { name, span }, value) in self.table {
            let place = self.document.place(span);
            let title = format!("{outer}.{}]", base::text::toml_key(&name));
            let kind = self.kind;
            let document = self.document;
            if let Some(section) = nested(document, &name, &title, kind, place, value) {
                sections.insert(name.into_owned(), section);
            }
        }
        sections
    }

    fn by_name<T>(
        &mut self,
        key: &'static str,
        title: &'static str,
        read: fn(&Document<'de>, &str, &mut Value<'de>) -> Option<Spanned<T>>,
    ) -> BTreeMap<String, T> {
        let section = self.section(key, title, title);
        let table = section.map(|section| section.table).unwrap_or_default();
        let entries = table.into_iter().filter_map(|(key, mut value)| {
            let read = read(self.document, &key.name, &mut value)?;
            Some((key.name.into_owned(), read.value))
        });
        entries.collect()
    }
}
