//! From a project to a component.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::inspect::Inspection;
use super::project::Project;
use crate::arguments::{BuildArgs, Language};

mod js;
mod python;
mod rust;
mod world;

/// Runs `sluice policy build`: builds, and says what came of it.
///
/// # Errors
/// Where the sources do not build, in the compiler's own words.
pub fn run(args: &BuildArgs) -> anyhow::Result<()> {
    let project = Project::find(&args.project)?;
    let file = build(&project, args.output.as_deref())?;
    let bytes = std::fs::read(&file)?;
    println!("built {}", file.display());
    print!("{}", Inspection::of(&bytes)?);
    Ok(())
}

/// Builds a project and returns where its component is.
///
/// # Errors
/// As [`run`].
pub fn build(project: &Project, output: Option<&Path>) -> anyhow::Result<PathBuf> {
    let file = output.map_or_else(|| project.component(), Path::to_owned);
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Built beside and moved over, so that a gateway that watches the file
    // never sees half of it.
    let beside = std::fs::create_dir_all(folder)
        .and_then(|()| {
            tempfile::Builder::new()
                .prefix(".building-")
                .tempfile_in(folder)
        })
        .with_context(|| format!("nothing can be written in {}", folder.display()))?
        .into_temp_path();
    let path = beside.canonicalize()?;
    match project.language {
        Language::Rust => rust::component(project, &path)?,
        Language::Js => js::component(project, &path)?,
        Language::Python => python::component(project, &path)?,
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644))
        .and_then(|()| Ok(beside.persist(&file)?))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(file)
}

/// Builds the project, unless its component is newer than all of its sources.
///
/// # Errors
/// As [`run`].
pub(crate) fn up_to_date(project: &Project) -> anyhow::Result<PathBuf> {
    let file = project.component();
    let built = file.metadata().and_then(|metadata| metadata.modified());
    match built {
        Ok(built) if !project.changed_since(built) => Ok(file),
        _ => build(project, None),
    }
}
