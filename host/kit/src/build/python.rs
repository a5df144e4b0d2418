//! Python: componentize-py puts the module into an interpreter.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::bail;

use super::world::does_not_build;
use crate::project::Project;

const TOOL: &str = "componentize-py";

/// Builds the module `policy` in the folder `src` into `file`.
pub fn component(project: &Project, file: &Path) -> anyhow::Result<()> {
    let own = project.folder.join(".venv/bin").join(TOOL);
    let tool = if own.is_file() {
        own
    } else {
        PathBuf::from(TOOL)
    };
    let status = Command::new(tool)
        .args([
            "--quiet",
            "--wit-path",
            "wit",
            "--world",
            "policy",
            "componentize",
        ])
        // The interpreter imports all of WASI. With each import replaced inside
        // of the component it needs none of the gateway's, and cannot have any.
        .args(["--stub-wasi", "--python-path", "src", "policy", "--output"])
        .arg(file)
        .current_dir(&project.folder)
        .stdin(Stdio::null())
        .status();
    let Ok(status) = status else {
        bail!(
            "componentize-py is not installed: run \"python3 -m venv .venv && \
             .venv/bin/pip install -r requirements.txt\" in {}",
            project.folder.display()
        );
    };
    if !status.success() {
        return Err(does_not_build(project));
    }
    Ok(())
}
