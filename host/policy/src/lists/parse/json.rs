//! Lists in JSON.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::super::entries::{Entries, NotTaken, in_words};
use super::{ListError, MAX_KEY, MAX_VALUE};

/// What is wrong with JSON. The words are our own, because serde's quote the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is neither a list nor an object.
    #[error("it is neither")]
    Neither,
    /// A list has something else than texts.
    #[error("an entry is no text")]
    NoText,
    /// An object has a value that cannot be read.
    #[error("a value cannot be read")]
    NoValue,
    /// An entry or a key is too long.
    #[error("an entry has {0} bytes, and may have {MAX_KEY}")]
    LongKey(usize),
    /// A value is too long.
    #[error("a value has {0} bytes, and may have {MAX_VALUE}")]
    LongValue(usize),
    /// An object has a key twice.
    #[error("a key is there twice")]
    Twice,
    /// All entries together are too long.
    #[error("there are too many entries")]
    TooMany,
}

/// Reads a list of texts, or an object with a value for each key.
///
/// # Errors
/// [`ListError`]
pub(super) fn read(text: &str, entries: &mut Entries) -> Result<(), ListError> {
    let mut wrong = Wrong::Neither;
    let mut json = serde_json::Deserializer::from_str(text);
    let into = Into {
        entries,
        wrong: &mut wrong,
    };
    let read = json.deserialize_any(into).and_then(|()| json.end());
    read.map_err(|error| match error.classify() {
        Category::Data => ListError::OtherJson {
            wrong,
            line: error.line(),
            column: error.column(),
        },
        Category::Syntax | Category::Eof | Category::Io => ListError::NoJson(error),
    })
}

/// Takes what it reads into entries.
struct Into<'a> {
    entries: &'a mut Entries,
    /// What is wrong if it fails.
    wrong: &'a mut Wrong,
}

impl Into<'_> {
    fn add(&mut self, key: &str, value: Option<&str>) -> Result<(), Wrong> {
        if key.len() > MAX_KEY {
            return Err(Wrong::LongKey(key.len()));
        }
        if let Some(value) = value.filter(|value| value.len() > MAX_VALUE) {
            return Err(Wrong::LongValue(value.len()));
        }
        self.entries.add(key, value).map_err(|error| match error {
            NotTaken::Twice => Wrong::Twice,
            NotTaken::TooLong => Wrong::TooMany,
        })
    }

    fn fails<E: serde::de::Error>(&mut self, wrong: Wrong) -> E {
        *self.wrong = wrong;
        E::custom(wrong)
    }
}

impl<'de> Visitor<'de> for Into<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts, or an object")
    }

    /// A whole file may be one text, and nobody should copy that into an error.
    fn visit_str<E: serde::de::Error>(mut self, _: &str) -> Result<(), E> {
        Err(self.fails(Wrong::Neither))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        *self.wrong = Wrong::NoText;
        while list.next_element_seed(OneEntry(&mut self))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        *self.wrong = Wrong::NoValue;
        while let Some((key, value)) = map.next_entry::<std::borrow::Cow<'de, str>, Value>()? {
            let added = self.add(&key, in_words(&value).as_deref());
            added.map_err(|wrong| self.fails(wrong))?;
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
        match self.0.add(entry, None) {
            // That it is there already is no news in a list.
            Ok(()) | Err(Wrong::Twice) => Ok(()),
            Err(wrong) => Err(self.0.fails(wrong)),
        }
    }
}
