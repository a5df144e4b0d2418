//! A project in Rust: a crate, and beside it the SDK's source and the contract
//! where the SDK looks for it.

use super::{CONTRACT, File};

/// The SDK's files, by their path in its crate.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// What the gateway's own guests are built with. Cargo drops from it what the
/// project does not use, and takes the same versions of the rest.
const LOCK: &str = include_str!("../../../../Cargo.lock");

/// The project's files.
pub fn files() -> Vec<File> {
    let mut files = vec![
        File::new("Cargo.toml", include_str!("templates/rust/manifest.toml")),
        File::new("Cargo.lock", LOCK),
        File::new("src/lib.rs", include_str!("templates/rust/lib.rs")),
        File::new("README.md", include_str!("templates/rust/README.md")),
        File::new(".gitignore", "/build\n/target\n/data\n"),
        File::new("wit/policy.wit", CONTRACT),
    ];
    for (path, text) in SDK {
        files.push(File::new(format!("vendor/sluice-policy/{path}"), *text));
    }
    files
}
