use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;

use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::fixtures::*;
use crate::settings::KeySource;
use crate::{KeyError, KeySet};

fn generate(data_dir: &Path) -> Result<KeySet, KeyError> {
    named("dev", data_dir)
}

fn named(name: &str, data_dir: &Path) -> Result<KeySet, KeyError> {
    KeySet::build(
        name,
        &settings(KeySource::Generate, &[Algorithm::HS256]),
        data_dir,
    )
}

fn token(set: &KeySet) -> String {
    set.sign(&json!({"exp": NOW + 60})).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_key_is_made_once_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("not/yet/there");
    let first = generate(&data).unwrap();
    let second = generate(&data).unwrap();
    assert!(second.verify_at(&token(&first), NOW).is_ok());
    assert_eq!(
        fs::read_dir(data.join("keys")).unwrap().count(),
        1,
        "nothing is left behind"
    );
}

#[test]
fn two_key_sets_have_keys_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (
        named("one", dir.path()).unwrap(),
        named("other", dir.path()).unwrap(),
    );
    assert!(other.verify_at(&token(&one), NOW).is_err());
}

#[test]
fn the_key_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path()).unwrap();
    let file = dir.path().join("keys/dev.key");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&dir.path().join("keys")), 0o700);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.trim_end().len(), 43, "32 bytes in base64url");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path()).unwrap();
    let file = dir.path().join("keys/dev.key");
    for open in [0o640, 0o604, 0o620, 0o644] {
        fs::set_permissions(&file, fs::Permissions::from_mode(open)).unwrap();
        let message = generate(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains("chmod 600") && message.contains("dev.key"),
            "{message}"
        );
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    generate(dir.path()).unwrap();
}

#[test]
fn processes_that_start_at_once_agree_on_one_key() {
    const STARTS: usize = 16;
    let dir = tempfile::tempdir().unwrap();
    let barrier = Barrier::new(STARTS);
    let sets: Vec<KeySet> = std::thread::scope(|scope| {
        let start = || {
            barrier.wait();
            generate(dir.path()).unwrap()
        };
        let starts: Vec<_> = (0..STARTS).map(|_| scope.spawn(start)).collect();
        starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect()
    });
    let token = token(&sets[0]);
    assert!(sets.iter().all(|set| set.verify_at(&token, NOW).is_ok()));
}

#[test]
fn a_file_that_is_no_key_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path()).unwrap();
    let file = dir.path().join("keys/dev.key");
    let short = "A".repeat(42);
    let long = "A".repeat(400);
    for content in ["", "\n", "not base64!", &short, &long] {
        fs::write(&file, content).unwrap();
        let message = generate(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains("is not a generated key") && message.contains("delete it"),
            "{message}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
    fs::write(&file, b"\xff\xfe").unwrap();
    assert!(
        generate(dir.path())
            .unwrap_err()
            .to_string()
            .contains("is not a generated key")
    );
}

#[test]
fn a_name_that_would_leave_the_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", "../up", "a/b", "a.key", "nul\0", "ğ"] {
        let message = named(name, dir.path()).unwrap_err().to_string();
        assert!(message.contains("letters, digits"), "{name:?}: {message}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let message = generate(&file).unwrap_err().to_string();
    assert!(
        message.contains("file/keys/dev.key") && message.contains("--data-dir"),
        "{message}"
    );
}

#[test]
fn a_generated_key_is_for_hs256() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(KeySource::Generate, &[Algorithm::RS256]);
    let message = KeySet::build("dev", &settings, dir.path())
        .unwrap_err()
        .to_string();
    assert!(message.contains("HS256"), "{message}");
}
