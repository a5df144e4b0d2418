//! Lists the sources of the guests' SDK, which `sluice policy new` writes: `$OUT_DIR/sdk.rs`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

fn main() -> Result<()> {
    // As cargo says when this runs: where it was compiled may be another checkout's folder.
    let crate_folder =
        env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?;
    let sdk = PathBuf::from(crate_folder).join("../../plugins/sdk");
    let sdk = sdk.canonicalize().context("find the SDK")?;
    println!("cargo::rerun-if-changed={}", sdk.display());
    let out = env::var_os("OUT_DIR").context("cargo sets OUT_DIR for a build script")?;
    let list = PathBuf::from(out).join("sdk.rs");
    fs::write(&list, embedded(&sdk)?).with_context(|| format!("write {}", list.display()))
}

/// The expression of an array of a folder's files: path and text.
fn embedded(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    let mut array = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(folder)?.display().to_string();
        let path = file.display().to_string();
        array.push_str(&format!("({name:?}, include_str!({path:?})),\n"));
    }
    array.push_str("]\n");
    Ok(array)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let read = || format!("read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(read)? {
        let path = entry.with_context(read)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
