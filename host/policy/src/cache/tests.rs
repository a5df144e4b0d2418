use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::signed_folder::{KEY_BYTES, TAG_BYTES};

const DIGEST: Digest = [7; 32];

fn compiled(engine: &Engine) -> Vec<u8> {
    let component = wat::parse_str("(component)").unwrap();
    engine.precompile_component(&component).unwrap()
}

struct Fixture {
    folder: tempfile::TempDir,
    engine: Engine,
    cache: Cache,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::default();
    let cache = Cache::open(folder.path().join("components"), &engine).unwrap();
    let component = compiled(&engine);
    cache.store(&DIGEST, &component);
    Fixture {
        folder,
        engine,
        cache,
    }
}

impl Cache {
    fn path(&self, component: &Digest) -> PathBuf {
        self.entries.path(&self.entry(component))
    }
}

impl Fixture {
    fn loads(&self) -> bool {
        self.cache.load(&self.engine, &DIGEST).is_some()
    }
}

#[test]
fn what_was_stored_is_loaded_by_a_later_start() {
    let Fixture { folder, engine, .. } = fixture();
    let cache = Cache::open(folder.path().join("components"), &engine).unwrap();
    assert!(cache.load(&engine, &DIGEST).is_some());
    assert!(cache.load(&engine, &[8; 32]).is_none());
}

#[test]
fn a_single_bit_that_changed_is_found_and_the_entry_is_gone() {
    for at in [0, TAG_BYTES + 1, usize::MAX] {
        let fixture = fixture();
        let path = fixture.cache.path(&DIGEST);
        let mut entry = fs::read(&path).unwrap();
        let at = at.min(entry.len() - 1);
        entry[at] ^= 1;
        fs::write(&path, entry).unwrap();
        assert!(!fixture.loads() && !path.exists());
    }
}

#[test]
fn an_entry_that_is_cut_is_not_loaded() {
    let fixture = fixture();
    let path = fixture.cache.path(&DIGEST);
    for keep in [0, 1, TAG_BYTES, TAG_BYTES + 1] {
        fixture.cache.store(&DIGEST, &compiled(&fixture.engine));
        let entry = fs::read(&path).unwrap();
        fs::write(&path, &entry[..keep]).unwrap();
        assert!(!fixture.loads());
    }
}

#[test]
fn the_code_of_another_component_is_not_loaded_in_its_place() {
    let fixture = fixture();
    let other = fixture.cache.path(&[8; 32]);
    fs::rename(fixture.cache.path(&DIGEST), &other).unwrap();
    assert!(fixture.cache.load(&fixture.engine, &[8; 32]).is_none());
}

#[test]
fn what_another_gateway_compiled_is_not_loaded() {
    let (mine, theirs) = (fixture(), fixture());
    fs::copy(theirs.cache.path(&DIGEST), mine.cache.path(&DIGEST)).unwrap();
    assert!(!mine.loads());
}

#[test]
fn the_code_of_another_engine_has_another_name_and_is_not_loaded() {
    let fixture = fixture();
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true);
    let engine = Engine::new(&config).unwrap();
    let cache = Cache::open(fixture.folder.path().join("components"), &engine).unwrap();
    assert!(cache.load(&engine, &DIGEST).is_none());
    fs::copy(fixture.cache.path(&DIGEST), cache.path(&DIGEST)).unwrap();
    assert!(cache.load(&engine, &DIGEST).is_none());
}

#[test]
fn a_folder_or_key_that_others_can_read_is_not_used() {
    for (name, mode) in [("components", 0o750), ("components/key", 0o640)] {
        let fixture = fixture();
        let path = fixture.folder.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let folder = fixture.folder.path().join("components");
        let error = Cache::open(folder, &fixture.engine).map(drop).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_key_that_a_power_cut_left_short_is_replaced() {
    for left in [0, 1, KEY_BYTES - 1] {
        let fixture = fixture();
        let folder = fixture.folder.path().join("components");
        let key = fs::read(folder.join("key")).unwrap();
        fs::write(folder.join("key"), &key[..left]).unwrap();
        let cache = Cache::open(folder.clone(), &fixture.engine).unwrap();
        assert!(cache.load(&fixture.engine, &DIGEST).is_none());
        cache.store(&DIGEST, &compiled(&fixture.engine));
        let later = Cache::open(folder.clone(), &fixture.engine).unwrap();
        assert!(later.load(&fixture.engine, &DIGEST).is_some());
        let mode = fs::metadata(folder.join("key")).unwrap().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

#[test]
fn what_is_made_is_the_owners_alone() {
    let fixture = fixture();
    let folder = fixture.folder.path().join("components");
    for path in [folder.join("key"), fixture.cache.path(&DIGEST), folder] {
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o077, 0, "{path:?}");
    }
}

#[test]
fn the_entries_are_bounded_in_number() {
    let fixture = fixture();
    let component = compiled(&fixture.engine);
    for n in 0..MAX_ENTRIES + 3 {
        let mut digest = DIGEST;
        digest[0] = u8::try_from(n).unwrap();
        fixture.cache.store(&digest, &component);
    }
    let left = fs::read_dir(fixture.folder.path().join("components")).unwrap();
    // And the key.
    assert_eq!(left.count(), MAX_ENTRIES + 1);
}
