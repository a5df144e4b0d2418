//! Making a project: files that are in this binary, with the name filled in.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::cli::policy::{Language, NewArgs};
use crate::config::FACTS;
use crate::policy::builtin;

mod js;
mod python;
mod rust;

/// The contract, which every project gets a copy of.
const CONTRACT: &str = include_str!("../../../wit/policy.wit");

/// The world of a project in a language without an SDK.
const WORLD: &str = include_str!("new/templates/world.wit");

/// A file of a new project.
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }
}

/// Runs `sluice policy new`: writes the project, and says how to go on.
///
/// # Errors
/// Where the name cannot be one, or something is there already.
pub fn run(args: &NewArgs) -> anyhow::Result<()> {
    check_name(&args.name, args.lang)?;
    let folder = args.within.join(&args.name);
    let mut files = vec![
        File::new("sluice.toml", include_str!("new/templates/sluice.toml")),
        File::new(
            "tests/decisions.toml",
            include_str!("new/templates/decisions.toml"),
        ),
    ];
    match args.lang {
        Language::Rust => files.extend(rust::files()),
        Language::Js => files.extend(js::files()),
        Language::Python => files.extend(python::files()),
    }
    write(&folder, &args.name, &files)?;
    let first = match args.lang {
        Language::Rust => "",
        Language::Js => "  npm install\n",
        Language::Python => {
            "  python3 -m venv .venv && .venv/bin/pip install -r requirements.txt\n"
        }
    };
    println!(
        "made {}; now:\n\n  cd {0}\n{first}  sluice policy test\n\nREADME.md says more.",
        folder.display()
    );
    Ok(())
}

/// Names of crates that a Rust project has already, and of targets that cargo or the compiler keep
/// to themselves.
const TAKEN_IN_RUST: [&str; 17] = [
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "incremental",
    "proc-macro",
    "serde",
    "serde-json",
    "sluice-policy",
    "std",
    "test",
    "wit-bindgen",
    "wit-bindgen-rt",
    "true",
    "false",
    "union",
];

/// The keywords of Rust, those that are reserved included: a crate of such a name does not build.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "self", "static", "struct", "super", "trait", "try", "type", "typeof", "unsafe", "unsized",
    "use", "virtual", "where", "while", "yield", "raw", "safe",
];

/// Bytes of a name, which becomes part of file names.
const LONGEST_NAME: usize = 64;

/// A policy's name in a configuration, which is a crate's and a folder's too.
fn check_name(name: &str, language: Language) -> anyhow::Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(fits),
        "\"{}\" cannot be a policy's name: use lowercase letters, digits and hyphens, and a letter first",
        name.escape_debug()
    );
    ensure!(
        name.len() <= LONGEST_NAME,
        "\"{name}\" cannot be a policy's name: it has more than {LONGEST_NAME} characters"
    );
    ensure!(
        !FACTS.contains(&name),
        "a policy cannot be called \"{name}\": what it leaves for later policies would look like \
         `{name}.NAME`, which comes from the client. Choose another name"
    );
    ensure!(
        builtin::component(name).is_none(),
        "a policy cannot be called \"{name}\": a built-in one has that name, and stands in the project's \
         own sluice.toml. Choose another name"
    );
    if let Language::Rust = language {
        ensure!(
            !KEYWORDS.contains(&name) && !TAKEN_IN_RUST.contains(&name),
            "a policy in Rust cannot be called \"{name}\": no crate of that name can be built here. \
             Choose another name"
        );
    }
    Ok(())
}

fn write(folder: &Path, name: &str, files: &[File]) -> anyhow::Result<()> {
    let empty = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !folder.exists(),
    };
    ensure!(
        empty,
        "{} is there already, and not empty: choose another name, or remove it",
        folder.display()
    );
    for file in files {
        let path = folder.join(&file.path);
        let text = file.text.replace("{{name}}", name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_configuration_takes_is_refused() {
        for name in ["", "Mine", "my_policy", "../up", "9lives", "-x", "a b"] {
            assert!(check_name(name, Language::Js).is_err(), "{name}");
        }
        assert!(check_name("office-hours2", Language::Rust).is_ok());
        assert!(check_name(&"a".repeat(64), Language::Js).is_ok());
        assert!(check_name(&"a".repeat(65), Language::Js).is_err());
    }

    #[test]
    fn a_name_whose_project_could_not_be_loaded_is_refused() {
        for name in [
            "param",
            "query",
            "header",
            "auth",
            "duplicate",
            "sample-rate",
        ] {
            for language in [Language::Rust, Language::Js, Language::Python] {
                let refused = check_name(name, language).unwrap_err().to_string();
                assert!(refused.contains("Choose another name"), "{refused}");
            }
        }
        for name in ["match", "self", "sluice-policy", "std", "serde"] {
            assert!(check_name(name, Language::Rust).is_err(), "{name}");
            assert!(check_name(name, Language::Python).is_ok(), "{name}");
        }
    }

    #[test]
    fn nothing_that_is_there_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine"), "precious").unwrap();
        let files = [File::new("mine", "new")];
        assert!(write(folder.path(), "n", &files).is_err());
        let kept = std::fs::read_to_string(folder.path().join("mine")).unwrap();
        assert_eq!(kept, "precious");
    }
}
