//! Tables with free keys as JSON, which is how policies get them.

use std::collections::BTreeMap;

use serde_json::{Number, Value as Json};
use toml_span::value::{Key, Value, ValueInner};

use super::document::Document;
use super::section::Section;
use base::diagnostics::Place;

/// Table as JSON, with the places of what is in it.
#[derive(Default)]
pub struct JsonTable {
    /// The values by their keys.
    pub values: BTreeMap<String, Json>,
    /// Places of the keys.
    pub(crate) keys: BTreeMap<String, Place>,
    /// Places of the values and of what is in them, by JSON pointer.
    pub(crate) places: BTreeMap<String, Place>,
}

impl Section<'_> {
    /// The rest of the section as JSON. A number that JSON does not have is reported.
    #[must_use]
    pub fn into_json(self) -> JsonTable {
        let mut table = JsonTable::default();
        for (Key { name, span }, value) in self.table {
            let place = self.document.place(span);
            self.document.write(&self.title, &name, &place, &value);
            let json = self
                .document
                .json(value, &place, &step("", &name), &mut table.places);
            table.values.insert(name.to_string(), json);
            table.keys.insert(name.into_owned(), place);
        }
        table
    }
}

impl Document<'_> {
    /// A value as JSON. Its place, and those of what is in it, go to `places`.
    fn json(
        &self,
        mut value: Value<'_>,
        key: &Place,
        pointer: &str,
        places: &mut BTreeMap<String, Place>,
    ) -> Json {
        let place = self.place(value.span);
        let value = value.take();
        // A table reaches over many lines.
        let shown = match value {
            ValueInner::Table(_) => key,
            _ => &place,
        };
        places.insert(pointer.to_owned(), shown.clone());
        match value {
            ValueInner::String(text) => text.into_owned().into(),
            ValueInner::Integer(number) => number.into(),
            ValueInner::Float(number) => self.json_number(&place, number),
            ValueInner::Boolean(truth) => truth.into(),
            ValueInner::Array(entries) => {
                let entries = entries.into_iter().enumerate();
                let entries = entries.map(|(index, entry)| {
                    let (place, pointer) =
                        (self.place(entry.span), step(pointer, &index.to_string()));
                    self.json(entry, &place, &pointer, places)
                });
                entries.collect()
            }
            ValueInner::Table(table) => {
                let entries = table.into_iter().map(|(key, value)| {
                    let (place, pointer) = (self.place(key.span), step(pointer, &key.name));
                    let value = self.json(value, &place, &pointer, places);
                    (key.name.into_owned(), value)
                });
                Json::Object(entries.collect())
            }
        }
    }

    fn json_number(&self, place: &Place, number: f64) -> Json {
        Number::from_f64(number).map_or_else(
            || {
                let message = format!("{number} cannot be given to a policy");
                let help = "policies get their values as JSON, which has finite numbers only";
                self.error(place, message, help);
                Json::Null
            },
            Json::Number,
        )
    }
}

/// A JSON pointer (RFC 6901), one step further.
fn step(pointer: &str, to: &str) -> String {
    let to = to.replace('~', "~0").replace('/', "~1");
    format!("{pointer}/{to}")
}
