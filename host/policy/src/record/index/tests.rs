use std::io::Write as _;

use serde_json::json;

use super::*;

/// A record of lines about these users, and the place of each line.
fn record(folder: &Path, users: &[&str]) -> (PathBuf, Vec<u64>, u64) {
    let path = folder.join("decisions.jsonl");
    let mut file = File::create(&path).unwrap();
    let mut places = Vec::new();
    let mut at = 0;
    for user in users {
        places.push(at);
        let line = format!("{:<200}\n", format!("{{\"user\":\"{user}\"}}"));
        file.write_all(line.as_bytes()).unwrap();
        at += line.len() as u64;
    }
    (path, places, at)
}

fn identity_of(record: &Path) -> u64 {
    identity(&File::open(record).unwrap()).unwrap().unwrap()
}

fn write(record: &Path, runs: &[u8]) {
    std::fs::write(path(record), runs).unwrap();
}

#[test]
fn lines_are_found_in_every_run_and_what_no_run_covers_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let users = ["a", "b", "a", "c", "a", "b"];
    let (record, places, end) = record(folder.path(), &users);
    let entries = |lines: Range<usize>| {
        let lines = lines.map(|line| (key(users[line]), places[line]));
        lines.collect::<Vec<_>>()
    };
    let of = identity_of(&record);
    let runs = [
        run(of, 0..places[2], entries(0..2)),
        run(of, places[3]..places[5], entries(3..5)),
    ];
    write(&record, &runs.concat());
    let unknown = vec![places[2]..places[3], places[5]..end];
    for (whom, found) in [
        ("a", vec![places[0], places[4]]),
        ("b", vec![places[1]]),
        ("c", vec![places[3]]),
        ("d", vec![]),
    ] {
        let expected = Found {
            places: found,
            unknown: unknown.clone(),
        };
        assert_eq!(find(&record, whom).unwrap(), expected, "{whom}");
    }
}

#[test]
fn an_index_of_another_record_or_one_that_is_cut_short_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (record, places, end) = record(folder.path(), &["a", "a"]);
    let of = identity_of(&record);
    let whole = run(
        of,
        0..end,
        vec![(key("a"), places[0]), (key("a"), places[1])],
    );
    let nothing = Found {
        places: Vec::new(),
        unknown: std::iter::once(0..end).collect(),
    };
    let find = || find(&record, "a").unwrap();
    assert_eq!(find(), nothing);
    write(&record, &whole);
    assert_eq!(find().places, places);
    for length in 0..whole.len() {
        write(&record, &whole[..length]);
        assert_eq!(find(), nothing, "{length} bytes");
    }
    write(&record, &run(of + 1, 0..end, vec![(key("a"), 0)]));
    assert_eq!(find(), nothing);
    // Of a record that was longer.
    write(&record, &run(of, 0..end + 1, vec![(key("a"), end)]));
    assert_eq!(find(), nothing);
    write(&record, &[0xff; 400]);
    assert_eq!(find(), nothing);
}

#[test]
fn a_run_of_which_any_byte_is_not_what_was_written_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (record, places, end) = record(folder.path(), &["a", "b"]);
    let entries = vec![(key("a"), places[0]), (key("b"), places[1])];
    let whole = run(identity_of(&record), 0..end, entries);
    let nothing = Found {
        places: Vec::new(),
        unknown: std::iter::once(0..end).collect(),
    };
    for at in 0..whole.len() {
        let mut other = whole.clone();
        other[at] ^= 1;
        write(&record, &other);
        assert_eq!(find(&record, "a").unwrap(), nothing, "byte {at}");
    }
    for at in 0..whole.len() {
        // A power cut leaves zeros where nothing had reached the disk.
        let mut other = whole.clone();
        other[at..].fill(0);
        if other != whole {
            write(&record, &other);
            assert_eq!(find(&record, "a").unwrap(), nothing, "from byte {at}");
        }
    }
}

#[test]
fn a_record_is_known_by_its_whole_first_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("decisions.jsonl");
    let mut identities = std::collections::BTreeSet::new();
    for length in [0, 200, 10_000] {
        let same = "s".repeat(length);
        for differs in ["x", "y"] {
            std::fs::write(&file, format!("{same}{differs}\nsecond\n")).unwrap();
            identities.insert(identity_of(&file));
        }
    }
    assert_eq!(identities.len(), 6);
    let before = identity_of(&file);
    let mut more = File::options().append(true).open(&file).unwrap();
    more.write_all(b"third\n").unwrap();
    assert_eq!(identity_of(&file), before);
    // A line that is not whole yet, or longer than any that is looked at.
    for unknown in ["half a line".to_owned(), "s".repeat(2 << 20) + "\n"] {
        std::fs::write(&file, unknown).unwrap();
        assert_eq!(identity(&File::open(&file).unwrap()).unwrap(), None);
    }
}

#[test]
fn a_line_is_known_by_its_session_and_a_refusal_by_its_user_too() {
    let line = |effect: &str| {
        json!({
            "session": "s", "effect": effect,
            "input": {"attributes": [["auth.user_id", "u"], ["auth.tenant_id", "t"]]},
            "calls": [{"call": "jwt.verify", "answer": {"ok": {"user_id": "v", "sub": "w"}}}],
        })
    };
    assert_eq!(keys(&line("accepted")), [key("s")]);
    for effect in ["refused", "failed-closed"] {
        let found = keys(&line(effect));
        assert_eq!(found.len(), 4);
        for whom in ["s", "u", "v", "w"] {
            assert!(found.contains(&key(whom)), "{whom}");
        }
    }
    assert_eq!(keys(&json!({})), [0_u64; 0]);
}
