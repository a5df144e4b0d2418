//! Names of folders and files, made from text that a client chose.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::link::StreamInfo;
use base::text;

/// Escaped characters: all except `A-Z a-z 0-9 - . _`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Maximum length of a name before its tag, in bytes. File systems allow 255.
const MAX_LENGTH: usize = 120;

/// Folder for a missing value, such as the tenant of a token without one. It is not a valid escape,
/// so no value has this folder.
pub(super) const MISSING: &str = "%none";

/// Whether an operator may use a name for a folder: every file system accepts it unchanged.
pub(super) fn is_literal(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=MAX_LENGTH).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.')
        && !is_device(name)
}

/// Folder of a value: one path component, whatever the client sent.
///
/// Two values never share a folder. An ordinary lower-case id stands for itself, and other
/// characters are percent-encoded. A tag (`~` and the start of the SHA-256 of the whole id) follows
/// an id that is too long, and one with upper-case letters, because some file systems ignore case.
/// Dots at either end and the device names of Windows are escaped, because some file systems treat
/// them specially.
///
/// `shown` is the value without the credentials that a client may have put into it. The tag
/// distinguishes two such values.
pub(super) fn folder(value: &str, shown: &str) -> String {
    if value.is_empty() {
        // Not a valid escape, so no other value has this folder.
        return "%empty".to_owned();
    }
    let mut name = utf8_percent_encode(shown, ESCAPED).to_string();
    if name.starts_with('.') || is_device(shown) {
        let first = name.remove(0);
        name.insert_str(0, &format!("%{:02X}", u32::from(first)));
    }
    if name.ends_with('.') {
        name.pop();
        name.push_str("%2E");
    }
    let has_upper_case = shown.bytes().any(|byte| byte.is_ascii_uppercase());
    if name.len() > MAX_LENGTH || has_upper_case || shown != value {
        name.truncate(MAX_LENGTH);
        name.push('~');
        name.push_str(&text::hex(&Sha256::digest(value)[..8]));
    }
    name
}

/// File of one stream: the time when it began (UTC, in seconds, without colons, which some file
/// systems forbid), its source, and the end of its session id, which is the random part of a
/// version 7 UUID.
pub(super) fn file(stream: &StreamInfo, began: Timestamp) -> String {
    let began = began.strftime(BEGAN);
    let source = stream.source.as_deref().unwrap_or("audio");
    let source = folder(source, source);
    let session = &stream.session_id;
    let tail = session
        .get(session.len().saturating_sub(TAIL)..)
        .unwrap_or(session);
    format!("{began}-{source}-{}.wav", folder(tail, tail))
}

const BEGAN: &str = "%Y-%m-%dT%H-%M-%SZ";
/// Length of a time in this form, in bytes.
const BEGAN_LENGTH: usize = 20;
/// Number of characters of a session id in a file name.
const TAIL: usize = 12;

/// Whether [`file()`] can return this name.
pub(super) fn is_recording(name: &str) -> bool {
    let Some((began, rest)) = name.split_at_checked(BEGAN_LENGTH) else {
        return false;
    };
    let Some(stem) = rest
        .strip_prefix('-')
        .and_then(|rest| rest.strip_suffix(".wav"))
    else {
        return false;
    };
    let Some((source, tail)) = stem.rsplit_once('-') else {
        return false;
    };
    // The parser also accepts fewer digits.
    let digits = began.bytes().filter(u8::is_ascii_digit).count();
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    digits == 14
        && jiff::civil::DateTime::strptime(BEGAN, began).is_ok()
        && !source.is_empty()
        && tail.len() == TAIL
        && tail.bytes().all(hexadecimal)
}

/// Whether Windows takes the name for a device, with or without an extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    match stem.as_str() {
        "con" | "prn" | "aux" | "nul" => true,
        _ => stem
            .strip_prefix("com")
            .or_else(|| stem.strip_prefix("lpt"))
            .is_some_and(|port| port.len() == 1 && port.as_bytes()[0].is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::{Component, Path};

    use super::*;
    use crate::testing::stream_info;

    fn folder(meeting: &str) -> String {
        super::folder(meeting, meeting)
    }

    #[test]
    fn a_meeting_that_holds_a_credential_is_named_without_it() {
        let names = ["a-s3cr3t", "b-s3cr3t"].map(|it| super::folder(it, "[withheld]"));
        assert!(
            names.iter().all(|name| name.starts_with("%5Bwithheld%5D~")),
            "{names:?}"
        );
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn an_ordinary_meeting_keeps_its_name() {
        for name in [
            "m1",
            "0b7f7a52-8a05-4a67-9f1e-6a1b7c5f2d10",
            "team_42.weekly",
        ] {
            assert_eq!(folder(name), name);
        }
    }

    #[test]
    fn a_hostile_meeting_becomes_a_harmless_name() {
        assert_eq!(folder("../x"), "%2E.%2Fx");
        assert_eq!(folder(".."), "%2E%2E");
        assert_eq!(folder("."), "%2E");
        assert_eq!(folder(""), "%empty");
        assert_eq!(folder("a\0b\\c"), "a%00b%5Cc");
        assert_eq!(folder("toplantı"), "toplant%C4%B1");
        assert_eq!(folder("trailing."), "trailing%2E");
        assert_eq!(folder("nul.txt"), "%6Eul.txt");
        assert_eq!(folder("com7"), "%63om7");
        assert_eq!(folder("com42"), "com42");
        assert_eq!(folder("Team"), "Team~5985039f106df054");
    }

    #[test]
    fn no_two_meetings_share_a_folder_even_where_case_is_ignored() {
        let alphabet = [
            "a", "A", "c", "o", "n", "N", ".", "/", "\\", "%", "~", "2", "e", "E", "\0", " ", "é",
            "É", ":",
        ];
        let mut names = vec![String::new()];
        let mut longest = names.clone();
        for _ in 0..3 {
            longest = longest
                .iter()
                .flat_map(|name| alphabet.map(|letter| format!("{name}{letter}")))
                .collect();
            names.extend(longest.iter().cloned());
        }
        let long = "x".repeat(MAX_LENGTH);
        names.extend(
            [
                "con", "Con", "CON", "%63on", "%empty", "%none", "none", "%2e", "..%2f", "con.",
                ".con",
            ]
            .map(str::to_owned),
        );
        names.extend(
            (0..20).flat_map(|more| [format!("{long}{}", "y".repeat(more)), "é".repeat(50 + more)]),
        );
        names.push("z".repeat(1_000_000));
        names.sort();
        names.dedup();

        let missing = String::from("nothing at all");
        let mut seen = HashMap::from([(MISSING.to_owned(), &missing)]);
        for name in &names {
            let folder = folder(name);
            assert!(
                folder.len() <= 255 && folder.is_ascii(),
                "{name:?} -> {folder}"
            );
            assert!(
                !folder.starts_with('.') && !folder.ends_with('.') && !is_device(&folder),
                "{name:?} -> {folder}"
            );
            let parts: Vec<_> = Path::new(&folder).components().collect();
            assert!(
                matches!(parts[..], [Component::Normal(only)] if only == folder.as_str()),
                "{name:?} -> {folder}"
            );
            if let Some(other) = seen.insert(folder.to_lowercase(), name) {
                panic!("{name:?} and {other:?} share {folder}");
            }
        }
        assert!(seen.len() > 7000);
    }

    #[test]
    fn a_file_is_named_after_time_source_and_the_random_end_of_the_session() {
        let began = Timestamp::from_second(1_795_381_053).expect("time");
        assert_eq!(
            file(&stream_info("m1"), began),
            "2026-11-22T20-57-33Z-mic-9f1e6a1b7c5f.wav"
        );
    }

    #[test]
    fn only_what_is_named_like_a_recording_is_one() {
        let began = Timestamp::from_second(1_795_381_053).expect("time");
        let ours = file(&stream_info("m1"), began);
        assert!(is_recording(&ours), "{ours}");
        let mut stream = stream_info("m1");
        stream.source = None;
        assert!(is_recording(&file(&stream, began)));
        stream.source = Some("a-b/../c".repeat(100));
        assert!(is_recording(&file(&stream, began)));
        for other in [
            "",
            "notes.txt",
            "a.wav",
            "2026-11-22T20-57-33Z-mic-9f1e6a1b7c5f.wav.part",
            "2026-11-22T20-57-33Z-mic-9f1e6a1b7c5f.mp3",
            "2026-11-22T20-57-33Z-mic-9f1e6a1b7c5.wav",
            "2026-11-22T20-57-33Z-mic-9F1E6A1B7C5F.wav",
            "2026-11-22T20-57-33Z-mic-interview-nr1.wav",
            "2026-11-22T20-57-33Z--9f1e6a1b7c5f.wav",
            "2026-11-22T20-57-33Z-9f1e6a1b7c5f.wav",
            "2026-13-22T20-57-33Z-mic-9f1e6a1b7c5f.wav",
            "2026-11-22 20-57-33Z-mic-9f1e6a1b7c5f.wav",
            "copy-of-2026-11-22T20-57-33Z-mic-9f1e6a1b7c5f.wav",
            "äääääääääääää-mic-9f1e6a1b7c5f.wav",
        ] {
            assert!(!is_recording(other), "{other}");
        }
    }

    #[test]
    fn an_operator_names_folders_that_every_file_system_takes() {
        for name in ["archive", "Calls_2026", "a.b", "x-1"] {
            assert!(is_literal(name), "{name}");
        }
        let long = "x".repeat(MAX_LENGTH + 1);
        for name in [
            "", ".", ".hidden", "a.", "-rf", "a b", "ä", "con", "NUL.txt", "a\\b", "%none", "~",
            &long,
        ] {
            assert!(!is_literal(name), "{name}");
        }
    }
}
