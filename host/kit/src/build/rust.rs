//! Rust: cargo makes a core module, which is then encoded.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::project::Project;

/// How a guest is compiled: it is loaded and copied far more often than it is
/// built. The names of its functions stay, for the account of a trap. Said here, so that a
/// project's manifest need not.
const PROFILE: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_LTO", "true"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "debuginfo"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
];

/// Builds the project in release and encodes its module into `file`.
pub fn component(project: &Project, file: &Path) -> anyhow::Result<()> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    guest::require_target(&rustc, &project.folder)?;
    let module = module(project)?;
    let module = std::fs::read(&module).with_context(|| module.display().to_string())?;
    std::fs::write(file, guest::encode(&module)?)
        .with_context(|| format!("{} cannot be written", file.display()))
}

fn module(project: &Project) -> anyhow::Result<PathBuf> {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut child = guest::cargo(&program, &project.folder)
        .args(["build", "--release", "--lib", "--target", guest::TARGET])
        .arg("--message-format=json-render-diagnostics")
        .envs(PROFILE)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo does not run: install Rust, see https://rustup.rs")?;
    let mut module = None;
    if let Some(messages) = child.stdout.take() {
        for line in BufReader::new(messages).lines() {
            module = artifact(&line?, &project.folder).or(module);
        }
    }
    if !child.wait()?.success() {
        bail!("`{}` does not build; cargo says above why", project.name);
    }
    module.with_context(|| {
        format!(
            "`{}` built no module: write `crate-type = [\"cdylib\", \"rlib\"]` under [lib] in its Cargo.toml",
            project.name
        )
    })
}

/// The module that a message of cargo's names, if it is of the package in this folder.
fn artifact(message: &str, folder: &Path) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let manifest = Path::new(message["manifest_path"].as_str()?);
    if message["reason"] != "compiler-artifact" || manifest.parent()? != folder {
        return None;
    }
    let files = message["filenames"].as_array()?;
    files
        .iter()
        .filter_map(|file| file.as_str())
        .find(|file| file.ends_with(".wasm"))
        .map(PathBuf::from)
}
