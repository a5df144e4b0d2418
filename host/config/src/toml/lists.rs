//! Lists in a section.

use toml_span::value::{Value, ValueInner};

use super::document::Spanned;
use super::section::Section;
use super::shape::Shape;

impl<'de> Section<'de> {
    /// Takes a list of texts; empty if the key is absent. Other entries are reported and left out.
    pub fn texts(&mut self, key: &'static str) -> Vec<Spanned<String>> {
        let Some((_, mut value)) = self.take(key, Shape::Texts) else {
            return Vec::new();
        };
        let place = self.document.place(value.span);
        match value.take() {
            ValueInner::Array(entries) => entries
                .into_iter()
                .filter_map(|mut entry| self.document.text(key, &mut entry))
                .collect(),
            other => {
                let help = "put it in brackets: [\"…\", \"…\"]";
                self.document
                    .wrong_type(&place, key, "a list of texts", &other, help);
                Vec::new()
            }
        }
    }

    /// Takes a text, or a list of texts that must not be empty. Returns nothing if the key is
    /// absent.
    pub(crate) fn one_or_more(&mut self, key: &'static str) -> Vec<Spanned<String>> {
        self.document.ask(self.kind, key, Shape::OneOrMore);
        match self.table.get(key).map(Value::as_array) {
            Some(Some(list)) if list.is_empty() => {
                let place = self.place_of(key);
                let help = "write at least one, such as \"127.0.0.1:8080\", or leave the key out";
                self.document
                    .error(&place, format!("`{key}` is empty"), help)
                    .label("empty");
                self.texts(key)
            }
            Some(Some(_)) => self.texts(key),
            _ => self.text(key).into_iter().collect(),
        }
    }

    /// [`Section::texts`], without repeated entries.
    pub(crate) fn distinct(&mut self, key: &'static str) -> Vec<Spanned<String>> {
        let mut distinct: Vec<Spanned<String>> = Vec::new();
        for entry in self.texts(key) {
            match distinct.iter().find(|earlier| earlier.value == entry.value) {
                Some(earlier) => {
                    let message = format!("`{key}` names \"{}\" twice", entry.value);
                    self.document
                        .error(&entry.place, message, "keep one of the two")
                        .label("again here")
                        .also(&earlier.place, "first here");
                }
                None => distinct.push(entry),
            }
        }
        distinct
    }

    /// Takes a list of tables: `[[case]]` and others, or tables in braces. Other entries are
    /// reported and left out.
    pub fn tables(&mut self, key: &'static str, title: &'static str) -> Vec<Section<'de>> {
        let Some((place, mut value)) = self.take(key, Shape::Tables) else {
            return Vec::new();
        };
        match value.take() {
            ValueInner::Array(entries) => entries
                .into_iter()
                .filter_map(|entry| {
                    let place = self.document.place(entry.span).first_line();
                    self.nested(key, title, title, place, entry)
                })
                .collect(),
            other => {
                let help = format!("write it as sections, {title}, or in brackets: [{{ … }}]");
                self.document
                    .wrong_type(&place, key, "a list of sections", &other, &help);
                Vec::new()
            }
        }
    }
}
