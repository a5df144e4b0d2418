//! The files of a project, by its language.

use super::{CONTRACT, File, WORLD};

/// The SDK's files, by their path in its crate.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// What the gateway's own guests are built with. Cargo drops from it what the
/// project does not use, and takes the same versions of the rest.
const LOCK: &str = include_str!("../../../../Cargo.lock");

/// A project in Rust: a crate, and beside it the SDK's source and the contract where the SDK looks
/// for it.
pub fn rust() -> Vec<File> {
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

/// A project in JavaScript: an ES module, built by componentize-js from npm.
pub fn javascript() -> Vec<File> {
    vec![
        File::new("package.json", include_str!("templates/js/package.json")),
        File::new("src/policy.js", include_str!("templates/js/policy.js")),
        File::new("src/telling.js", include_str!("templates/js/telling.js")),
        File::new("src/rule.js", include_str!("templates/js/rule.js")),
        File::new(
            "tests/rule.test.js",
            include_str!("templates/js/rule.test.js"),
        ),
        File::new("README.md", include_str!("templates/js/README.md")),
        File::new(".gitignore", "/build\n/node_modules\n/data\n"),
        File::new("wit/world.wit", WORLD),
        File::new("wit/deps/sluice-policy/policy.wit", CONTRACT),
    ]
}

/// A project in Python: a module, built by componentize-py from PyPI.
pub fn python() -> Vec<File> {
    vec![
        File::new(
            "pyproject.toml",
            include_str!("templates/python/pyproject.toml"),
        ),
        File::new(
            "requirements.txt",
            include_str!("templates/python/requirements.txt"),
        ),
        File::new("src/policy.py", include_str!("templates/python/policy.py")),
        File::new(
            "src/telling.py",
            include_str!("templates/python/telling.py"),
        ),
        File::new("src/rule.py", include_str!("templates/python/rule.py")),
        File::new(
            "tests/test_rule.py",
            include_str!("templates/python/test_rule.py"),
        ),
        File::new("README.md", include_str!("templates/python/README.md")),
        File::new(".gitignore", "/build\n/.venv\n/data\n__pycache__/\n"),
        File::new("wit/world.wit", WORLD),
        File::new("wit/deps/sluice-policy/policy.wit", CONTRACT),
    ]
}
