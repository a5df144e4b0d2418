//! Files of lists, read whole.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::entries::{Entries, NotTaken, in_words};
use crate::settings::ListFormat;

/// Maximum size of a file, in bytes.
const MAX_BYTES: u64 = 256 << 20;
/// Maximum length of an entry, in bytes.
const MAX_KEY: usize = 1 << 10;
/// Maximum length of a value, in bytes.
const MAX_VALUE: usize = 16 << 10;

/// Why a list cannot be read. No text of the file is in it: entries may name persons.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// The file is too large.
    #[error("has more than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// The file is no text.
    #[error("is not UTF-8 in line {0}")]
    NoText(usize),
    /// An entry is too long.
    #[error("has an entry of {bytes} bytes in line {line}; an entry has {MAX_KEY} at the most")]
    LongEntry {
        /// Its line.
        line: usize,
        /// Its length.
        bytes: usize,
    },
    /// It is not the JSON that it should be.
    #[error("is no JSON list of texts, and no JSON object: {0}")]
    NoJson(serde_json::Error),
}

impl ListError {
    /// What to do.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Unreadable(_) => "correct `file`, or its permissions".to_owned(),
            Self::TooLarge => "keep fewer entries: the whole list is in memory".to_owned(),
            Self::NoText(_) => "write the file as UTF-8".to_owned(),
            Self::LongEntry { .. } => "write one entry on each line".to_owned(),
            Self::NoJson(_) => {
                "write [\"an entry\", …] or {\"a key\": its value, …}; or name the file's \
                 `format`: \"lines\" or \"json\""
                    .to_owned()
            }
        }
    }
}

/// Reads a file. Blocks.
///
/// # Errors
/// [`ListError`]
pub(super) fn read(file: &Path, format: ListFormat) -> Result<Entries, ListError> {
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(ListError::Unreadable)?;
    let mut bounded = opened.take(MAX_BYTES + 1);
    bounded
        .read_to_end(&mut bytes)
        .map_err(ListError::Unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ListError::TooLarge);
    }
    let text = str::from_utf8(&bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        ListError::NoText(before.iter().filter(|byte| **byte == b'\n').count() + 1)
    })?;
    parse(text.trim_start_matches('\u{feff}'), format)
}

fn parse(text: &str, format: ListFormat) -> Result<Entries, ListError> {
    let mut entries = Entries::default();
    match format {
        ListFormat::Lines => lines(text, &mut entries)?,
        ListFormat::Json => json(text, &mut entries).map_err(ListError::NoJson)?,
    }
    entries.settle();
    Ok(entries)
}

fn lines(text: &str, entries: &mut Entries) -> Result<(), ListError> {
    for (number, line) in (1..).zip(text.lines()) {
        let entry = line.trim();
        if entry.is_empty() || entry.starts_with('#') {
            continue;
        }
        if entry.len() > MAX_KEY {
            let bytes = entry.len();
            return Err(ListError::LongEntry {
                line: number,
                bytes,
            });
        }
        match entries.add(entry, None) {
            Ok(()) | Err(NotTaken::Twice) => {}
            Err(NotTaken::TooLong) => return Err(ListError::TooLarge),
        }
    }
    Ok(())
}

fn json(text: &str, entries: &mut Entries) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_any(Into(entries))?;
    json.end()
}

/// Takes what it reads into entries. Nothing but these is held of a large file.
struct Into<'a>(&'a mut Entries);

impl Into<'_> {
    fn add<E: serde::de::Error>(&mut self, key: &str, value: Option<&str>) -> Result<(), E> {
        if key.len() > MAX_KEY {
            let bytes = key.len();
            let message = format!("an entry has {bytes} bytes, and may have {MAX_KEY}");
            return Err(E::custom(message));
        }
        if let Some(value) = value.filter(|value| value.len() > MAX_VALUE) {
            let bytes = value.len();
            let message = format!("a value has {bytes} bytes, and may have {MAX_VALUE}");
            return Err(E::custom(message));
        }
        match (self.0.add(key, value), value) {
            (Ok(()), _) | (Err(NotTaken::Twice), None) => Ok(()),
            (Err(NotTaken::Twice), Some(_)) => Err(E::custom("a key is there twice")),
            (Err(NotTaken::TooLong), _) => Err(E::custom("there are too many entries")),
        }
    }
}

impl<'de> Visitor<'de> for Into<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts, or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(OneEntry(&mut self))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, value)) = map.next_entry::<std::borrow::Cow<'de, str>, Value>()? {
            self.add(&key, in_words(&value).as_deref())?;
        }
        Ok(())
    }
}

/// One entry of a list.
struct OneEntry<'a, 'b>(&'a mut Into<'b>);

impl<'de> DeserializeSeed<'de> for OneEntry<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, entry: D) -> Result<(), D::Error> {
        entry.deserialize_str(self)
    }
}

impl Visitor<'_> for OneEntry<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, entry: &str) -> Result<(), E> {
        self.0.add(entry, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, format: ListFormat) -> Entries {
        parse(text, format).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn lines_are_entries_but_for_comments_and_empty_ones() {
        let list = of(
            "# of the office\nacme\n\n  globex \r\nacme\n",
            ListFormat::Lines,
        );
        assert_eq!(list.len(), 2);
        assert!(list.contains("globex"));
        for nothing in ["", "# of the office", "acme\n", "ACME", "  globex "] {
            assert!(!list.contains(nothing), "{nothing:?}");
        }
    }

    #[test]
    fn json_is_a_list_of_texts_or_a_map_of_anything() {
        let list = of(
            "[\"acme\", \"# no \\n comment\", \"acme\"]",
            ListFormat::Json,
        );
        assert_eq!(list.len(), 2);
        assert!(list.contains("# no \n comment"));
        assert_eq!(list.value("acme"), None);
        let map = of(
            "{\"acme\": \"gold\", \"n\": 7, \"o\": {\"a\": [1, null]}, \"none\": null, \"\": \"\"}",
            ListFormat::Json,
        );
        for (key, value) in [
            ("acme", Some("gold")),
            ("n", Some("7")),
            ("o", Some("{\"a\":[1,null]}")),
            ("none", None),
            ("", Some("")),
            ("other", None),
        ] {
            assert_eq!(map.value(key), value, "{key}");
            assert_eq!(map.contains(key), key != "other", "{key}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line_and_without_an_entry() {
        let long = format!("a\n{}\n", "secret".repeat(200));
        for (text, format, told) in [
            (long.as_str(), ListFormat::Lines, "1200 bytes in line 2"),
            (
                "[\"secret\", 7]",
                ListFormat::Json,
                "expected a text at line 1 column 12",
            ),
            (
                "{\"secret\": 1, \"secret\": 2}",
                ListFormat::Json,
                "a key is there twice",
            ),
            ("[\"secret\"", ListFormat::Json, "line 1"),
            ("[\"secret\"] more", ListFormat::Json, "trailing characters"),
            ("secret", ListFormat::Json, "line 1"),
            ("7", ListFormat::Json, "a list of texts, or an object"),
        ] {
            let error = parse(text, format).unwrap_err().to_string();
            assert!(error.contains(told), "{told}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let long = format!("{{\"k\": \"{}\"}}", "v".repeat(MAX_VALUE + 1));
        let error = parse(&long, ListFormat::Json).unwrap_err().to_string();
        assert!(error.contains("a value has 16385 bytes"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_text_is_told_with_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"a\nb\n\xff\n").unwrap();
        let error = read(file.path(), ListFormat::Lines).unwrap_err();
        assert_eq!(error.to_string(), "is not UTF-8 in line 3");
        std::fs::write(file.path(), "\u{feff}a\n").unwrap();
        let list = read(file.path(), ListFormat::Lines).unwrap();
        assert!(list.contains("a"));
        let error = read(Path::new("no such file"), ListFormat::Lines).unwrap_err();
        assert!(error.to_string().starts_with("cannot be read: "), "{error}");
    }
}
