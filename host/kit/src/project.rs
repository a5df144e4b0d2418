//! A policy's project on disk: what it is written in, and what it is called.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};

use crate::arguments::Language;
use base::files::text;
use config::toml;

/// A folder that holds a policy's sources.
#[derive(Debug)]
pub struct Project {
    /// Absolute.
    pub folder: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// The name that its manifest gives it.
    pub name: String,
}

impl Project {
    /// Whether a folder has a project's manifest.
    #[must_use]
    pub fn is_in(folder: &Path) -> bool {
        MANIFESTS
            .iter()
            .any(|(_, manifest)| folder.join(manifest).is_file())
    }

    /// Recognises the project in a folder by its manifest.
    ///
    /// # Errors
    /// Where there is none, or it has no name.
    pub fn find(folder: &Path) -> anyhow::Result<Self> {
        let shown = folder.display();
        let folder = folder
            .canonicalize()
            .with_context(|| format!("there is no folder {shown}"))?;
        let Some(language) = MANIFESTS
            .iter()
            .find(|(_, manifest)| folder.join(manifest).is_file())
            .map(|(language, _)| *language)
        else {
            bail!(
                "there is no project in {shown}: it has no {}. \
                 Name the folder of one, or make one with \"sluice policy new NAME\"",
                MANIFESTS.map(|(_, manifest)| manifest).join(", no ")
            );
        };
        let name = name(&folder, language)?;
        Ok(Self {
            folder,
            language,
            name,
        })
    }

    /// Whether a source is newer. What is built or installed is no source.
    #[must_use]
    pub(crate) fn changed_since(&self, time: SystemTime) -> bool {
        changed(&self.folder, time)
    }

    /// Its files, sources and tests and configuration, with what shows that one has changed.
    #[must_use]
    pub(crate) fn files(&self) -> Files {
        let mut files = Files::new();
        collect(&self.folder, &mut files);
        files
    }

    /// Where its component is built.
    #[must_use]
    pub fn component(&self) -> PathBuf {
        self.folder
            .join("build")
            .join(format!("{}.wasm", self.name))
    }
}

/// Folders that hold no sources: what was built, installed or recorded.
const NO_SOURCES: [&str; 6] = [
    "build",
    "target",
    "data",
    "node_modules",
    "tests",
    "__pycache__",
];

/// Whether a folder of this name may hold sources.
pub(crate) fn is_source_folder(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    !name.starts_with('.') && !NO_SOURCES.contains(&&*name)
}

/// Files with the time of their last change and their size.
pub(crate) type Files = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

fn collect(folder: &Path, files: &mut Files) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() {
            if is_source_folder(&name) || name == "tests" {
                collect(&entry.path(), files);
            }
        // Builds write that one themselves.
        } else if !name.as_encoded_bytes().starts_with(b".") && name != "Cargo.lock" {
            files.insert(entry.path(), (metadata.modified().ok(), metadata.len()));
        }
    }
}

/// What cannot be read has changed: the compiler will say what is wrong.
fn changed(folder: &Path, time: SystemTime) -> bool {
    let Ok(mut entries) = std::fs::read_dir(folder) else {
        return true;
    };
    entries.any(|entry| {
        let Ok(entry) = entry else { return true };
        let name = entry.file_name();
        if !is_source_folder(&name) || name == "sluice.toml" {
            return false;
        }
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => changed(&entry.path(), time),
            Ok(metadata) => metadata.modified().map_or(true, |modified| modified > time),
            Err(_) => true,
        }
    })
}

/// By what a project is recognised.
const MANIFESTS: [(Language, &str); 3] = [
    (Language::Rust, "Cargo.toml"),
    (Language::Js, "package.json"),
    (Language::Python, "pyproject.toml"),
];

fn name(folder: &Path, language: Language) -> anyhow::Result<String> {
    let read = |manifest: &str| {
        let path = folder.join(manifest);
        text::read(&path).with_context(|| path.display().to_string())
    };
    let (name, where_it_stands) = match language {
        Language::Rust => (
            toml::text_at(&read("Cargo.toml")?, "/package/name"),
            "Cargo.toml",
        ),
        Language::Js => (json(&read("package.json")?, "/name"), "package.json"),
        Language::Python => (
            toml::text_at(&read("pyproject.toml")?, "/project/name"),
            "pyproject.toml",
        ),
    };
    name.filter(|name| !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.'))
        .with_context(|| {
            format!(
                "{}: the project has no name that a file can have",
                folder.join(where_it_stands).display()
            )
        })
}

fn json(text: &str, pointer: &str) -> Option<String> {
    let root: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(root.pointer(pointer)?.as_str()?.to_owned())
}
