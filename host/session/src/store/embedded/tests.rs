//! What is in the file after what.

use std::fs;
use std::path::PathBuf;

use super::file::BROKEN;
use super::*;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("streams.redb");
    (folder, file)
}

/// The records of a process that starts now.
fn records(file: &Path) -> Records {
    EmbeddedStore::open(file).unwrap().1
}

/// The file as it is while its store is open: what a killed process leaves behind.
fn killed(file: &Path) -> Records {
    let (_folder, copy) = folder();
    fs::copy(file, &copy).unwrap();
    records(&copy)
}

fn record(key: &str, record: &str) -> (String, Vec<u8>) {
    (key.to_owned(), record.as_bytes().to_vec())
}

#[tokio::test]
async fn a_record_that_is_said_to_be_safe_outlives_a_process_that_is_killed() {
    let (_folder, file) = folder();
    let (store, before) = EmbeddedStore::open(&file).unwrap();
    assert_eq!(before, []);
    store.save("a", b"1".to_vec()).await.unwrap();
    store.save("b", b"2".to_vec()).await.unwrap();
    assert_eq!(killed(&file), [record("a", "1"), record("b", "2")]);
    store.save("a", b"3".to_vec()).await.unwrap();
    store.forget("b");
    store.close().await;
    assert!(store.save("c", b"4".to_vec()).await.is_err());
    assert_eq!(records(&file), [record("a", "3")]);
    assert_eq!(killed(&file), [record("a", "3")]);
}

#[tokio::test]
async fn a_thousand_records_at_once_are_all_safe_and_the_last_change_of_each_counts() {
    let (_folder, file) = folder();
    let (store, _) = EmbeddedStore::open(&file).unwrap();
    let keys: Vec<_> = (0..1000).map(|number| format!("{number:04}")).collect();
    let saving: Vec<_> = keys
        .iter()
        .flat_map(|key| {
            [
                store.save(key, b"old".to_vec()),
                store.save(key, b"new".to_vec()),
            ]
        })
        .collect();
    for saved in saving {
        saved.await.unwrap();
    }
    let expected: Vec<_> = keys.iter().map(|key| record(key, "new")).collect();
    assert_eq!(killed(&file), expected);
    drop(store);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_set_aside_and_a_new_one_begins() {
    for broken in [&b"no store"[..], &[0; 5000]] {
        let (_folder, file) = folder();
        fs::write(&file, broken).unwrap();
        let (store, records) = EmbeddedStore::open(&file).unwrap();
        assert_eq!(records, []);
        store.save("a", b"1".to_vec()).await.unwrap();
        assert!(fs::read(file.with_extension(BROKEN)).unwrap() == broken);
    }
}

#[test]
fn a_folder_that_is_missing_is_an_error_that_names_it() {
    let (folder, _) = folder();
    let error = EmbeddedStore::open(&folder.path().join("gone/streams.redb")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
