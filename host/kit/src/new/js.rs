//! A project in JavaScript: an ES module, built by componentize-js from npm.

use super::{CONTRACT, File, WORLD};

/// The project's files.
pub fn files() -> Vec<File> {
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
