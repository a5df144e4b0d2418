//! Making a project: files that are in this binary, with the name filled in.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::arguments::{Language, NewArgs};

mod languages;
mod name;

/// The contract, which every project gets a copy of.
pub(crate) const CONTRACT: &str = include_str!("../../../wit/policy.wit");

/// The world of a project in a language without an SDK.
const WORLD: &str = include_str!("new/templates/world.wit");

/// What GitHub runs at every push, but for what installs the tools of a language.
const CI: &str = include_str!("new/templates/ci.yml");

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
    name::check(&args.name, args.lang)?;
    let folder = args.within.join(&args.name);
    let mut files = vec![
        File::new("sluice.toml", include_str!("new/templates/sluice.toml")),
        File::new(
            "tests/decisions.toml",
            include_str!("new/templates/decisions.toml"),
        ),
    ];
    match args.lang {
        Language::Rust => files.extend(languages::rust()),
        Language::Js => files.extend(languages::javascript()),
        Language::Python => files.extend(languages::python()),
    }
    files.push(File::new(
        ".github/workflows/policy.yml",
        CI.replace("{{install}}", install(args.lang)),
    ));
    write(&folder, &args.name, &files)?;
    let first = match args.lang {
        Language::Rust => String::new(),
        Language::Js | Language::Python => format!("  {}\n", install(args.lang)),
    };
    println!(
        "made {}; now:\n\n  cd {0}\n{first}  sluice policy test\n\nREADME.md says more.",
        folder.display()
    );
    Ok(())
}

/// What installs that a project of this language is built with, where its compiler is.
fn install(language: Language) -> &'static str {
    match language {
        Language::Rust => "rustup target add wasm32-unknown-unknown",
        Language::Js => "npm install",
        Language::Python => "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
    }
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
        let text = text.replace("{{crate}}", &name::of_crate(name));
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
    fn the_examples_tell_what_breaks_them_as_new_projects_do() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/examples");
        for (files, example, telling, policy, tells) in [
            (
                languages::javascript(),
                "office-hours",
                "src/telling.js",
                "src/policy.js",
                "decide: deciding(",
            ),
            (
                languages::python(),
                "tenant-quota",
                "src/telling.py",
                "src/policy.py",
                "@deciding",
            ),
        ] {
            let read = |file| std::fs::read_to_string(examples.join(example).join(file)).unwrap();
            let made = |file: &str| {
                files
                    .iter()
                    .find(|made| made.path == Path::new(file))
                    .unwrap()
            };
            assert_eq!(read(telling), made(telling).text, "{example}");
            assert!(
                made(policy).text.contains(tells),
                "{policy} of a new project"
            );
            assert!(read(policy).contains(tells), "{policy} of {example}");
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
