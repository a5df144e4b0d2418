//! Machine code of single functions, kept from one compilation to the next.
//!
//! Most of a component in JavaScript or Python is the engine of its language, and is the same after each edit. With
//! this its functions are compiled once. It is for authors: the gateway that serves compiles each component
//! whole, because a component there must not reach what another one is compiled to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use wasmtime::CacheStore;

use crate::signed_folder::SignedFolder;

/// Files with functions that are kept: one with metering, one without.
const MAX_FILES: usize = 2;
const PURPOSE: &[u8] = b"sluice compiled functions 1\0";
/// Bytes that are kept at most.
const MAX_BYTES: usize = 256 << 20;
/// New functions are not worth writing the file anew if they are less than this part of it.
const WORTH_KEEPING: usize = 16;

const KEY_BYTES: usize = 32;
const LENGTH_BYTES: usize = 4;

type Key = [u8; KEY_BYTES];

/// Functions by the digest of what they are compiled from.
pub struct Functions {
    /// Functions of earlier compilations: key, length in little endian and code of each, in turn.
    kept: Vec<u8>,
    places: HashMap<Key, Place>,
    fresh: Mutex<HashMap<Key, Vec<u8>>>,
}

struct Place {
    code: Range<usize>,
    used: AtomicBool,
}

/// Folder with the functions of earlier compilations. A function's key covers the compiler's version
/// and settings, so what another one left is not found.
pub struct Kept {
    folder: SignedFolder,
    name: &'static str,
}

impl Kept {
    /// # Errors
    /// As [`SignedFolder::open`].
    pub fn open(folder: &Path, metered: bool) -> io::Result<Self> {
        Ok(Self {
            folder: SignedFolder::open(folder.to_path_buf(), "functions", MAX_FILES, PURPOSE)?,
            name: if metered { "metered" } else { "plain" },
        })
    }

    /// The functions that are there.
    pub fn read(&self) -> Functions {
        Functions::parse(self.folder.read(self.name, &[]).unwrap_or_default())
    }

    /// Keeps what a compilation has left, if that is worth it.
    pub fn keep(&self, functions: &Functions) {
        if let Some(functions) = functions.to_keep() {
            self.folder.put(self.name, &[], &functions);
        }
    }
}

impl Functions {
    /// Takes what [`Functions::to_keep`] gave. What is not whole at its end is left out.
    fn parse(kept: Vec<u8>) -> Self {
        let mut places = HashMap::new();
        let mut at = 0;
        while let Some((key, code)) = entry(&kept, at) {
            at = code.end;
            let used = AtomicBool::default();
            places.insert(key, Place { code, used });
        }
        Self {
            kept,
            places,
            fresh: Mutex::default(),
        }
    }

    /// What the next compilation should have: first what this one has needed. `None` if it is too
    /// little news to be written.
    fn to_keep(&self) -> Option<Vec<u8>> {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let news: usize = fresh.values().map(Vec::len).sum();
        if news <= self.kept.len() / WORTH_KEEPING {
            return None;
        }
        let (used, unused): (Vec<_>, Vec<_>) = self
            .places
            .iter()
            .partition(|(_, place)| place.used.load(Ordering::Relaxed));
        let of = |(key, place): (&Key, &Place)| (*key, self.kept.get(place.code.clone()));
        let mut keep = Vec::with_capacity((self.kept.len() + news).min(MAX_BYTES));
        let fresh = fresh
            .iter()
            .map(|(key, code)| (*key, Some(code.as_slice())));
        let all = fresh
            .chain(used.into_iter().map(of))
            .chain(unused.into_iter().map(of));
        for (key, code) in all {
            let Some(code) = code else { continue };
            let Ok(length) = u32::try_from(code.len()) else {
                continue;
            };
            if keep.len() + KEY_BYTES + LENGTH_BYTES + code.len() > MAX_BYTES {
                break;
            }
            keep.extend_from_slice(&key);
            keep.extend_from_slice(&length.to_le_bytes());
            keep.extend_from_slice(code);
        }
        Some(keep)
    }
}

/// The function that begins at a place, and where its code is.
fn entry(kept: &[u8], at: usize) -> Option<(Key, Range<usize>)> {
    let (key, rest) = kept.get(at..)?.split_first_chunk::<KEY_BYTES>()?;
    let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let begin = at + KEY_BYTES + LENGTH_BYTES;
    (length <= rest.len()).then(|| (*key, begin..begin + length))
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key = Key::try_from(key).ok()?;
        if let Some(place) = self.places.get(&key) {
            place.used.store(true, Ordering::Relaxed);
            return self.kept.get(place.code.clone()).map(Cow::Borrowed);
        }
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.get(&key).cloned().map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], code: Vec<u8>) -> bool {
        let Ok(key) = Key::try_from(key) else {
            return false;
        };
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.insert(key, code);
        true
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Functions").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(functions: &Functions, key: u8) -> Option<Vec<u8>> {
        functions.get(&[key; KEY_BYTES]).map(Cow::into_owned)
    }

    #[test]
    fn what_one_compilation_inserts_the_next_one_gets() {
        let first = Functions::parse(Vec::new());
        assert!(first.to_keep().is_none());
        assert!(first.insert(&[1; KEY_BYTES], b"one".to_vec()));
        assert!(!first.insert(b"no digest", b"x".to_vec()));
        assert_eq!(get(&first, 1).unwrap(), b"one");
        let kept = first.to_keep().unwrap();
        let second = Functions::parse(kept.clone());
        assert_eq!(get(&second, 1).unwrap(), b"one");
        assert_eq!(get(&second, 2), None);
        assert!(second.to_keep().is_none(), "no news");
        // What is cut short is left out.
        let cut = Functions::parse(kept[..kept.len() - 1].to_vec());
        assert_eq!(get(&cut, 1), None);
    }

    #[test]
    fn functions_are_had_again_from_their_folder_and_damaged_ones_are_not() {
        let place = tempfile::tempdir().unwrap();
        let open = || Kept::open(&place.path().join("components"), false).unwrap();
        let first = open().read();
        first.insert(&[1; KEY_BYTES], b"one".to_vec());
        open().keep(&first);
        assert_eq!(get(&open().read(), 1).unwrap(), b"one");
        let path = open().folder.path("plain");
        let mut file = std::fs::read(&path).unwrap();
        *file.last_mut().unwrap() ^= 1;
        std::fs::write(&path, file).unwrap();
        assert_eq!(get(&open().read(), 1), None);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_needed_is_kept_before_what_is_not() {
        let large = vec![0; MAX_BYTES / 2];
        let first = Functions::parse(Vec::new());
        first.insert(&[1; KEY_BYTES], b"used".to_vec());
        first.insert(&[2; KEY_BYTES], large.clone());
        let second = Functions::parse(first.to_keep().unwrap());
        assert!(get(&second, 1).is_some());
        second.insert(&[3; KEY_BYTES], large);
        let third = Functions::parse(second.to_keep().unwrap());
        assert!(get(&third, 1).is_some() && get(&third, 3).is_some());
        assert_eq!(get(&third, 2), None);
    }
}
