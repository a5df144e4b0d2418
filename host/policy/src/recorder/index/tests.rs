use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::record::index;
use crate::recorder::rotate::Rotated;

/// Length of each line.
const LINE: u64 = 300;

fn record(folder: &Path) -> (PathBuf, Rotated) {
    let path = folder.join("log");
    (path.clone(), Rotated::new(path, 1 << 20, 2))
}

/// Records a decision about somebody. Lines differ late: their keys are sorted.
fn decide(rotated: &mut Rotated, whom: &str) {
    let line = format!("{:200}{whom:<99}\n", "");
    let entry = (index::key(whom), 0);
    rotated
        .write(line.as_bytes(), std::iter::once(entry))
        .unwrap();
}

/// Places that the index has of somebody, and parts that it does not know.
fn find(record: &Path, whom: &str) -> (Vec<u64>, Vec<Range<u64>>) {
    let found = index::find(record, whom).unwrap();
    (found.places, found.unknown)
}

fn part(lines: Range<u64>) -> Vec<Range<u64>> {
    std::iter::once(lines.start * LINE..lines.end * LINE).collect()
}

fn cut(file: &Path, length: u64) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.set_len(length).unwrap();
}

#[test]
fn half_a_run_that_a_crash_left_hides_no_decision() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut rotated) = record(folder.path());
    decide(&mut rotated, "a");
    rotated.write_index();
    let whole = std::fs::metadata(index::path(&path)).unwrap().len();
    decide(&mut rotated, "a");
    decide(&mut rotated, "a");
    rotated.write_index();
    drop(rotated);
    let end = std::fs::metadata(index::path(&path)).unwrap().len();
    for length in whole..end {
        cut(&index::path(&path), length);
        cut(&path, 3 * LINE);
        let (_, mut rotated) = record(folder.path());
        decide(&mut rotated, "a");
        rotated.write_index();
        let found = (vec![0, 3 * LINE], part(1..3));
        assert_eq!(find(&path, "a"), found, "{length} bytes");
    }
}

#[test]
fn a_run_of_decisions_that_are_lost_is_not_taken_for_one_of_those_in_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut rotated) = record(folder.path());
    for _ in 0..3 {
        decide(&mut rotated, "a");
    }
    rotated.write_index();
    drop(rotated);
    cut(&path, LINE);
    let (_, mut rotated) = record(folder.path());
    for _ in 0..3 {
        decide(&mut rotated, "b");
    }
    assert_eq!(find(&path, "b"), (vec![], part(0..4)));
    rotated.write_index();
    assert_eq!(
        find(&path, "b"),
        (vec![LINE, 2 * LINE, 3 * LINE], part(0..1))
    );
}

#[test]
fn a_record_that_somebody_copies_and_truncates_gets_an_index_of_what_is_in_it_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut rotated) = record(folder.path());
    decide(&mut rotated, "a");
    decide(&mut rotated, "a");
    rotated.write_index();
    cut(&path, 0);
    for _ in 0..3 {
        decide(&mut rotated, "b");
    }
    rotated.write_index();
    assert_eq!(find(&path, "a"), (vec![], vec![]));
    assert_eq!(find(&path, "b"), (vec![0, LINE, 2 * LINE], vec![]));
}

#[test]
fn nothing_is_written_to_the_index_of_a_record_that_is_not_as_it_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut rotated) = record(folder.path());
    decide(&mut rotated, "a");
    cut(&path, 0);
    let mut other = File::options().append(true).open(&path).unwrap();
    other.write_all(&[b'\n'; 200]).unwrap();
    rotated.write_index();
    assert!(!index::path(&path).exists());
}
