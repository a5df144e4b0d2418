use std::fs::{File, FileTimes};
use std::os::unix::fs::symlink;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::wav::live::LiveRecording;

const HOUR: Duration = Duration::from_hours(1);

/// A name that no other test has: what is live is so for the whole process.
fn name(test: &str, number: u32) -> String {
    assert_eq!(test.len(), 2);
    format!("2026-11-22T20-57-33Z-mic-{test}{number:010}.wav")
}

/// File of 100 bytes that was written this many hours ago.
fn file(path: &Path, now: SystemTime, hours: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, [0; 100]).unwrap();
    let times = FileTimes::new().set_modified(now - hours * HOUR);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_times(times)
        .unwrap();
}

/// Recordings that were written 1, 2, … hours ago, each in a folder of its own.
fn recordings(test: &str, count: u32) -> (TempDir, Vec<PathBuf>, SystemTime) {
    let root = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let path = |hours| {
        root.path()
            .join(format!("t{hours}/m1"))
            .join(name(test, hours))
    };
    let paths: Vec<_> = (1..=count).map(path).collect();
    for (hours, path) in (1..).zip(&paths) {
        file(path, now, hours);
    }
    (root, paths, now)
}

fn older_than(hours: u32) -> RetentionLimits {
    RetentionLimits {
        age: Some(hours * HOUR),
        total: None,
    }
}

fn more_than(bytes: u64) -> RetentionLimits {
    RetentionLimits {
        age: None,
        total: Some(bytes),
    }
}

fn there(paths: &[PathBuf]) -> Vec<bool> {
    paths.iter().map(|path| path.exists()).collect()
}

#[test]
fn what_is_older_goes_and_its_folders_with_it() {
    let (root, paths, now) = recordings("a1", 4);
    // At the very age it stays.
    let swept = sweep(root.path(), &older_than(2), now);
    assert_eq!(there(&paths), [true, true, false, false]);
    assert_eq!((swept.files, swept.bytes, swept.failures), (2, 200, 0));
    assert_eq!((swept.kept_files, swept.kept_bytes), (2, 200));
    assert!(!root.path().join("t3").exists() && root.path().join("t2/m1").exists());
}

#[test]
fn the_oldest_go_until_the_others_are_few_enough() {
    let (root, paths, now) = recordings("a2", 4);
    let swept = sweep(root.path(), &more_than(200), now);
    assert_eq!(there(&paths), [true, true, false, false]);
    assert_eq!((swept.files, swept.kept_bytes), (2, 200));
    sweep(root.path(), &more_than(199), now);
    assert_eq!(there(&paths), [true, false, false, false]);
    sweep(root.path(), &more_than(0), now);
    assert_eq!(
        std::fs::read_dir(root.path()).unwrap().count(),
        0,
        "and the folder itself stays"
    );
}

#[test]
fn either_bound_is_enough() {
    let (root, paths, now) = recordings("a3", 4);
    let both = RetentionLimits {
        age: Some(3 * HOUR),
        total: Some(200),
    };
    sweep(root.path(), &both, now);
    assert_eq!(there(&paths), [true, true, false, false]);
    let nothing = sweep(root.path(), &RetentionLimits::default(), now);
    assert_eq!((nothing.files, nothing.kept_files), (0, 2));
}

#[test]
fn what_is_live_is_counted_and_stays() {
    let (root, paths, now) = recordings("a4", 3);
    let live = LiveRecording::of(&paths[2]);
    let swept = sweep(root.path(), &more_than(200), now);
    assert_eq!(there(&paths), [true, false, true]);
    assert_eq!((swept.kept_files, swept.kept_bytes), (2, 200));
    sweep(root.path(), &older_than(0), now);
    assert_eq!(there(&paths), [false, false, true]);
    drop(live);
    sweep(root.path(), &older_than(0), now);
    assert_eq!(there(&paths), [false; 3]);
}

#[test]
fn what_is_no_recording_stays_and_links_are_not_followed() {
    let (root, _, now) = recordings("a5", 0);
    let elsewhere = tempfile::tempdir().unwrap();
    let outside = elsewhere.path().join(name("a5", 1));
    file(&outside, now, 9);
    let at = |path: &str| root.path().join(path);
    symlink(elsewhere.path(), at("linked")).unwrap();
    symlink(&outside, root.path().join(name("a5", 2))).unwrap();
    std::fs::create_dir(root.path().join(name("a5", 3))).unwrap();
    std::fs::create_dir(at("empty")).unwrap();
    for other in ["t1/notes.txt", "t1/interview.wav", ".hidden"] {
        file(&at(other), now, 9);
    }
    file(&at("t1").join(name("a5", 4)), now, 9);
    let swept = sweep(root.path(), &older_than(1), now);
    assert_eq!((swept.files, swept.kept_files, swept.failures), (1, 0, 0));
    assert!(outside.exists());
    let mut left: Vec<_> = std::fs::read_dir(root.path()).unwrap().collect();
    assert_eq!(left.len(), 6, "{left:?}");
    left = std::fs::read_dir(at("t1")).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_folder_of_very_many_is_swept_in_several_walks() {
    let (root, paths, now) = recordings("a6", 9);
    let swept = sweep_by(2, root.path(), &more_than(300), now);
    assert_eq!((swept.files, swept.kept_files), (6, 3));
    assert_eq!(there(&paths)[..4], [true, true, true, false]);
    let nothing = sweep_by(2, root.path(), &more_than(300), now);
    assert_eq!((nothing.files, nothing.kept_files), (0, 3));
}

#[test]
fn a_folder_that_is_not_there_has_nothing_to_delete() {
    let root = tempfile::tempdir().unwrap();
    let swept = sweep(
        &root.path().join("missing"),
        &older_than(0),
        SystemTime::now(),
    );
    assert_eq!(swept, Swept::default());
}

#[test]
fn a_clock_that_went_back_deletes_nothing() {
    let (root, paths, now) = recordings("a7", 1);
    sweep(root.path(), &older_than(0), now - 24 * HOUR);
    assert_eq!(there(&paths), [true]);
}
