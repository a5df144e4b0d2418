//! Files of lists, read whole.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base::files::text::{self, EncodingError};
use rustix::fs::OFlags;

use super::entries::{Entries, NotTaken};
use crate::settings::ListFormat;

mod json;

pub use json::Wrong;

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
    /// It is a folder, a pipe or a device.
    #[error("is no regular file")]
    NoFile,
    /// The file is too large.
    #[error("has more than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// The file is no text.
    #[error("cannot be read as text: {0}")]
    NoText(EncodingError),
    /// It has nothing at all, as a file that is being written anew.
    #[error("is empty")]
    Empty,
    /// Its last line has no end, as in a file that is not yet written to its end.
    #[error("ends in the middle of line {0}")]
    NoEnd(usize),
    /// An entry is too long.
    #[error("has an entry of {bytes} bytes in line {line}; an entry has {MAX_KEY} at the most")]
    LongEntry {
        /// Its line.
        line: usize,
        /// Its length.
        bytes: usize,
    },
    /// It is no JSON.
    #[error("is no JSON: {0}")]
    NoJson(serde_json::Error),
    /// It is other JSON than it should be.
    #[error("is no JSON list of texts, and no JSON object: {wrong} at line {line} column {column}")]
    OtherJson {
        /// What is wrong.
        wrong: Wrong,
        /// Where that is.
        line: usize,
        /// Where that is in the line.
        column: usize,
    },
}

impl ListError {
    /// What to do.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Unreadable(_) => "correct `file`, or its permissions".to_owned(),
            Self::TooLarge => "keep fewer entries: the whole list is in memory".to_owned(),
            Self::NoFile => "name a regular file, or a link to one".to_owned(),
            Self::NoText(_) => "write the file as UTF-8".to_owned(),
            Self::Empty => "write a line with # if nothing shall be on it".to_owned(),
            Self::NoEnd(_) => "end the last line with a line break".to_owned(),
            Self::LongEntry { .. } => "write one entry on each line".to_owned(),
            Self::NoJson(_) | Self::OtherJson { .. } => {
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
    let text = text::decode(bytes(file)?).map_err(ListError::NoText)?;
    parse(&text, format)
}

fn bytes(file: &Path) -> Result<Vec<u8>, ListError> {
    // To open a pipe would wait for whoever writes to it, and all reloads with it.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(file);
    let opened = opened.map_err(ListError::Unreadable)?;
    let found = opened.metadata().map_err(ListError::Unreadable)?;
    if !found.is_file() {
        return Err(ListError::NoFile);
    }
    if found.len() > MAX_BYTES {
        return Err(ListError::TooLarge);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or_default());
    // It may grow while it is read.
    let mut bounded = opened.take(MAX_BYTES + 1);
    bounded
        .read_to_end(&mut bytes)
        .map_err(ListError::Unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ListError::TooLarge);
    }
    Ok(bytes)
}

fn parse(text: &str, format: ListFormat) -> Result<Entries, ListError> {
    let mut entries = Entries::default();
    match format {
        ListFormat::Lines => lines(text, &mut entries)?,
        ListFormat::Json => json::read(text, &mut entries)?,
    }
    entries.settle();
    Ok(entries)
}

/// Reads one entry from each line. Nothing else tells a list from the first half of one, so the last
/// line must be whole.
fn lines(text: &str, entries: &mut Entries) -> Result<(), ListError> {
    if text.is_empty() {
        return Err(ListError::Empty);
    }
    if !text.ends_with('\n') {
        return Err(ListError::NoEnd(text.lines().count()));
    }
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
    fn half_of_a_list_is_none() {
        for (text, told) in [
            ("", "is empty"),
            ("acme\nglob", "ends in the middle of line 2"),
            ("# nobody", "ends in the middle of line 1"),
        ] {
            let error = parse(text, ListFormat::Lines).unwrap_err().to_string();
            assert_eq!(error, told);
        }
        assert!(of("# nobody\n", ListFormat::Lines).is_empty());
        assert!(of("\n", ListFormat::Lines).is_empty());
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
                "[\"secret\", 4915]",
                ListFormat::Json,
                "no text at line 1 column 15",
            ),
            (
                "[\"a\",\n[\"secret\"]]",
                ListFormat::Json,
                "no text at line 2",
            ),
            (
                "[{\"secret\": 4915}]",
                ListFormat::Json,
                "an entry is no text",
            ),
            (
                "{\"secret\": 1, \"secret\": null}",
                ListFormat::Json,
                "a key is there twice",
            ),
            (
                "{\"secret\": null, \"secret\": 1}",
                ListFormat::Json,
                "a key is there twice",
            ),
            ("[\"secret\"", ListFormat::Json, "line 1"),
            ("{\"secret\": secret}", ListFormat::Json, "line 1 column"),
            ("[\"secret\"] more", ListFormat::Json, "trailing characters"),
            ("secret", ListFormat::Json, "line 1"),
            ("\"secret\"", ListFormat::Json, "it is neither at line 1"),
            (
                "\"\\u0073ecret\"",
                ListFormat::Json,
                "it is neither at line 1",
            ),
            ("4915", ListFormat::Json, "it is neither at line 1"),
        ] {
            let error = parse(text, format).unwrap_err();
            for error in [error.to_string(), format!("{error:?}")] {
                assert!(
                    !error.contains("secret") && !error.contains("4915"),
                    "{error}"
                );
            }
            let error = error.to_string();
            assert!(error.contains(told), "{told}: {error}");
        }
        let long = format!("{{\"k\": \"{}\"}}", "v".repeat(MAX_VALUE + 1));
        let error = parse(&long, ListFormat::Json).unwrap_err().to_string();
        assert!(error.contains("a value has 16385 bytes"), "{error}");
    }

    fn of_bytes(bytes: &[u8]) -> Result<Entries, ListError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path(), ListFormat::Lines)
    }

    #[test]
    fn a_file_is_text_in_every_encoding_that_says_what_it_is() {
        for bytes in [
            &b"\xef\xbb\xbfacme\n"[..],
            b"\xff\xfea\0c\0m\0e\0\n\0",
            b"\xfe\xff\0a\0c\0m\0e\0\n",
        ] {
            let list = of_bytes(bytes).unwrap();
            assert!(list.contains("acme") && list.len() == 1, "{bytes:?}");
        }
        for (bytes, told) in [
            (&b"a\nb\n\xff\n"[..], "not UTF-8: line 3"),
            (b"a\0c\0m\0e\0\n\0", "UTF-16 without a byte order mark"),
            (b"acme\na\0", "a byte of zero in line 2"),
        ] {
            let error = of_bytes(bytes).unwrap_err().to_string();
            assert!(error.contains(told), "{told}: {error}");
        }
        let error = read(Path::new("no such file"), ListFormat::Lines).unwrap_err();
        assert!(error.to_string().starts_with("cannot be read: "), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_is_no_list_and_nobody_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for path in [&pipe, folder.path(), Path::new("/dev/null")] {
            let error = read(path, ListFormat::Lines).unwrap_err();
            assert!(matches!(error, ListError::NoFile), "{error}");
        }
    }
}
