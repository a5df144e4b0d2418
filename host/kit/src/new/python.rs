//! A project in Python: a module, built by componentize-py from PyPI.

use super::{CONTRACT, File, WORLD};

/// The project's files.
pub fn files() -> Vec<File> {
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
