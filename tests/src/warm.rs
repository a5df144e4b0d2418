//! Built-in policies, compiled once for all gateways of a test run. Compiling them for each gateway
//! would take most of the time.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::command;

/// Prepares a data folder as an earlier start of the gateway would leave it.
///
/// # Panics
/// If the built-in policies do not compile.
pub fn warm(data: &Path) {
    static FIRST: OnceLock<TempDir> = OnceLock::new();
    let first = FIRST.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut check = command::sluice(&["check"]);
        let checked = check.current_dir(folder.path()).output();
        assert!(checked.is_ok_and(|checked| checked.status.success()));
        folder
    });
    let mut private = DirBuilder::new();
    private.recursive(true).mode(0o700);
    let components = data.join("components");
    private.create(&components).expect("a folder");
    for entry in fs::read_dir(first.path().join("data/components")).expect("components") {
        let entry = entry.expect("a component");
        fs::copy(entry.path(), components.join(entry.file_name())).expect("a copy");
    }
}
