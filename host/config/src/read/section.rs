//! Table of the file, read key by key.

use toml_span::value::{Key, Table, Value, ValueInner};

use super::names::{Rule, Sections, nearest};
use super::{Reader, Spanned};
use base::diagnostics::Place;

/// Table whose keys are taken out one by one. A key that is left in the end is unknown.
pub(super) struct Section<'de> {
    /// Title in reports: `[policies.auth]`.
    pub(super) title: String,
    /// Last part of the title: `auth`.
    pub(super) name: String,
    /// Place of its name in the file.
    pub(super) place: Place,
    /// Kind of section: `policies.NAME`.
    kind: &'static str,
    table: Table<'de>,
    known: Vec<&'static str>,
}

impl<'de> Section<'de> {
    /// `None` if the value is not a table.
    pub(super) fn new(
        kind: &'static str,
        title: &str,
        place: Place,
        value: ValueInner<'de>,
    ) -> Option<Self> {
        let ValueInner::Table(table) = value else {
            return None;
        };
        Some(Self {
            table,
            ..Self::empty(kind, title, place)
        })
    }

    /// Section that is absent in the file, so that every key has its default.
    pub(super) fn empty(kind: &'static str, title: &str, place: Place) -> Self {
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
    pub(super) fn take(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Option<(Place, Value<'de>)> {
        self.known.push(key);
        reader.asked.insert((self.kind, key));
        let (found, value) = self.table.remove_entry(key)?;
        let place = reader.place(found.span);
        let written = reader.written.entry(self.title.clone()).or_default();
        written.insert(key, place.clone());
        Some((place, value))
    }

    /// Place of a key that was not taken yet, or of the section if the key is absent.
    pub(super) fn place_of(&self, reader: &Reader<'_>, key: &str) -> Place {
        match self.table.get_key_value(key) {
            Some((key, _)) => reader.place(key.span),
            None => self.place.clone(),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(super) fn text(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Option<Spanned<String>> {
        let (_, mut value) = self.take(reader, key)?;
        reader.text(key, &mut value)
    }

    /// Takes a text. An absent one is a mistake.
    pub(super) fn required(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        help: &str,
    ) -> Option<Spanned<String>> {
        if !self.has(key) {
            reader.error(&self.place, format!("{} has no `{key}`", self.title), help);
        }
        self.text(reader, key)
    }

    /// Takes a list of texts; empty if the key is absent. Other entries are reported and left out.
    pub(super) fn texts(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Vec<Spanned<String>> {
        let Some((_, mut value)) = self.take(reader, key) else {
            return Vec::new();
        };
        let place = reader.place(value.span);
        match value.take() {
            ValueInner::Array(entries) => entries
                .into_iter()
                .filter_map(|mut entry| reader.text(key, &mut entry))
                .collect(),
            other => {
                let help = "put it in brackets: [\"…\", \"…\"]";
                reader.wrong_type(&place, key, "a list of texts", &other, help);
                Vec::new()
            }
        }
    }

    /// Takes a text, or a list of texts that must not be empty. Returns nothing if the key is
    /// absent.
    pub(super) fn one_or_more(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Vec<Spanned<String>> {
        match self.table.get(key).map(Value::as_array) {
            Some(Some(list)) if list.is_empty() => {
                let place = self.place_of(reader, key);
                let help = "write at least one, such as \"127.0.0.1:8080\", or leave the key out";
                reader
                    .error(&place, format!("`{key}` is empty"), help)
                    .label("empty");
                self.texts(reader, key)
            }
            Some(Some(_)) => self.texts(reader, key),
            _ => self.text(reader, key).into_iter().collect(),
        }
    }

    /// [`Section::texts`], without repeated entries.
    pub(super) fn distinct(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Vec<Spanned<String>> {
        let mut distinct: Vec<Spanned<String>> = Vec::new();
        for entry in self.texts(reader, key) {
            match distinct.iter().find(|earlier| earlier.value == entry.value) {
                Some(earlier) => {
                    let message = format!("`{key}` names \"{}\" twice", entry.value);
                    reader
                        .error(&entry.place, message, "keep one of the two")
                        .label("again here")
                        .also(&earlier.place, "first here");
                }
                None => distinct.push(entry),
            }
        }
        distinct
    }

    /// Takes one of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<Spanned<T>> {
        let text = self.text(reader, key)?;
        reader.choose(key, text, choices)
    }

    /// Takes `true` or `false`.
    pub(super) fn truth(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<bool> {
        let (_, mut value) = self.take(reader, key)?;
        let place = reader.place(value.span);
        match value.take() {
            ValueInner::Boolean(truth) => Some(truth),
            other => {
                let help = "write true or false, without quotes";
                reader.wrong_type(&place, key, "true or false", &other, help);
                None
            }
        }
    }

    /// Takes a table inside of this one. Any other value is reported.
    pub(super) fn section(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        kind: &'static str,
        title: &str,
    ) -> Option<Section<'de>> {
        let (place, mut value) = self.take(reader, key)?;
        section_of(reader, key, title, kind, place, &mut value)
    }

    /// Takes the tables of a kind: `[policies.auth]` and others.
    pub(super) fn named(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        kind: &'static str,
        rule: Rule,
    ) -> Sections<'de> {
        let mut sections = Sections::new();
        let Some(outer) = self.section(reader, key, "", &format!("[{kind}]")) else {
            return sections;
        };
        for (Key { name, span }, mut value) in outer.table {
            let place = reader.place(span);
            reader.check_name(&name, &place, rule);
            let title = format!("[{key}.{name}]");
            if let Some(section) = section_of(reader, &name, &title, kind, place, &mut value) {
                sections.insert(name.into_owned(), section);
            }
        }
        sections
    }

    /// Table of a section with free keys.
    pub(super) fn into_table(self) -> Table<'de> {
        self.table
    }

    /// Reports the keys that are left, because they are unknown.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for Key { name, span } in self.table.into_keys() {
            let place = reader.place(span);
            let mut known = self.known.clone();
            known.sort_unstable();
            let near = nearest(&name, known.iter().copied());
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("{} knows: {}", self.title, known.join(", ")),
            };
            let message = format!("{} has no option `{name}`", self.title);
            reader.error(&place, message, help).label("unknown");
        }
    }
}

impl Reader<'_> {
    /// Choice that a text names.
    pub(super) fn choose<T: Copy>(
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
        self.error(&text.place, message, help).label("unknown");
        None
    }
}

fn section_of<'de>(
    reader: &mut Reader<'_>,
    key: &str,
    title: &str,
    kind: &'static str,
    place: Place,
    value: &mut Value<'de>,
) -> Option<Section<'de>> {
    match value.take() {
        table @ ValueInner::Table(_) => {
            Section::new(kind, title, place, table).map(|section| Section {
                name: key.to_owned(),
                ..section
            })
        }
        other => {
            let help = format!("write it as a section: {title}");
            reader.wrong_type(&place, key, "a section", &other, &help);
            None
        }
    }
}
