//! Entries of a list, in one text with a hash table of places: a million of them take some tens of
//! megabytes, and looking one up takes the time of one hash.

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use serde_json::Value;

/// Length of a value that is not there.
const NO_VALUE: u32 = u32::MAX;

/// Entries of a list or a map.
#[derive(Default)]
pub struct Entries {
    /// Keys and values, one behind the other.
    text: String,
    places: HashTable<EntryPlace>,
    hasher: RandomState,
}

/// Place of an entry in the text: its key, and its value behind that.
#[derive(Clone, Copy)]
struct EntryPlace {
    at: u32,
    key: u32,
    value: u32,
}

/// Why an entry was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The key is there already.
    Twice,
    /// All entries together are too long.
    TooLong,
}

impl Entries {
    /// Entries of JSON: a list of texts, or an object with a value for each key. `None` if it is
    /// neither.
    #[must_use]
    pub fn of(json: &Value) -> Option<Self> {
        let mut entries = Self::default();
        let mut add = |key: &str, value: Option<&str>| entries.add(key, value).ok();
        match json {
            Value::Array(list) => {
                for entry in list {
                    // One that is there already is no news in a list.
                    let _ = add(entry.as_str()?, None);
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    add(key, in_words(value).as_deref())?;
                }
            }
            _ => return None,
        }
        Some(entries)
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If it is there already, or there is no room for it.
    pub(super) fn add(&mut self, key: &str, value: Option<&str>) -> Result<(), NotTaken> {
        let Self {
            text,
            places,
            hasher,
        } = self;
        let length = |text: &str| u32::try_from(text.len()).map_err(|_| NotTaken::TooLong);
        let place = EntryPlace {
            at: length(text)?,
            key: length(key)?,
            value: value.map_or(Ok(NO_VALUE), length)?,
        };
        let hash = |place: &EntryPlace| hasher.hash_one(place.key(text));
        let same = |there: &EntryPlace| there.key(text) == key;
        let Entry::Vacant(room) = places.entry(hasher.hash_one(key), same, hash) else {
            return Err(NotTaken::Twice);
        };
        room.insert(place);
        text.push_str(key);
        text.push_str(value.unwrap_or_default());
        Ok(())
    }

    /// Gives back memory that was reserved for more entries.
    pub(super) fn settle(&mut self) {
        let Self {
            text,
            places,
            hasher,
        } = self;
        text.shrink_to_fit();
        places.shrink_to_fit(|place| hasher.hash_one(place.key(text)));
    }

    /// Whether there is such an entry, or such a key.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The value at a key, if there is one.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.find(key)?.value(&self.text)
    }

    fn find(&self, key: &str) -> Option<&EntryPlace> {
        let hash = self.hasher.hash_one(key);
        self.places.find(hash, |place| place.key(&self.text) == key)
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// A value as a policy gets it: a text as it is, anything else as JSON. Null is none.
pub(super) fn in_words(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        other => Some(Cow::Owned(other.to_string())),
    }
}

impl EntryPlace {
    fn key<'a>(&self, text: &'a str) -> &'a str {
        let at = self.at as usize;
        &text[at..at + self.key as usize]
    }

    fn value<'a>(&self, text: &'a str) -> Option<&'a str> {
        let at = self.at as usize + self.key as usize;
        (self.value != NO_VALUE).then(|| &text[at..at + self.value as usize])
    }
}

/// Without the entries, which may name persons.
impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
