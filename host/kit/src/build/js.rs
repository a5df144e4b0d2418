//! JavaScript: componentize-js puts the module into an engine, with every
//! feature off that would import something.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::world::does_not_build;
use crate::project::Project;

/// Runs in the project's folder, and so finds its packages.
const SCRIPT: &str = include_str!("componentize.mjs");
/// The package that the script imports.
const PACKAGE: &str = "node_modules/@bytecodealliance/componentize-js";

/// Builds the module that the manifest's `main` names into `file`.
pub fn component(project: &Project, file: &Path) -> anyhow::Result<()> {
    ensure!(
        project.folder.join(PACKAGE).is_dir(),
        "componentize-js is not installed: run \"npm install\" in {}",
        project.folder.display()
    );
    let status = Command::new("node")
        .args(["--input-type=module", "--eval", SCRIPT, "--"])
        .arg(file)
        .current_dir(&project.folder)
        .stdin(Stdio::null())
        .status()
        .context("node does not run: install Node.js 20 or later")?;
    if !status.success() {
        return Err(does_not_build(project));
    }
    Ok(())
}
