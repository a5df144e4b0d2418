//! Builds the policies that come with the gateway and encodes them as
//! components: `$OUT_DIR/auth.wasm`, `duplicate.wasm` and `sample-rate.wasm`.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use guest::TARGET;

/// The crate of each guest, and the name that the gateway knows it by.
const GUESTS: [(&str, &str); 3] = [
    ("sluice-auth", "auth"),
    ("sluice-duplicate", "duplicate"),
    ("sluice-sample-rate", "sample-rate"),
];

fn main() -> Result<()> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let crate_folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = crate_folder
        .ancestors()
        .nth(2)
        .context("the crate lies in `host`, in a workspace")?;
    // Not all of `plugins`: what people build in the examples changes nothing here.
    for path in [
        "Cargo.toml",
        "Cargo.lock",
        "plugins/sdk",
        "plugins/auth",
        "plugins/duplicate",
        "plugins/sample-rate",
        "wit",
        "host/policy/build.rs",
    ] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }

    guest::require_target(&variable("RUSTC")?, workspace)?;
    let target_dir = guest_target_dir(&out);
    build_guests(workspace, &target_dir)?;
    let built = target_dir.join(TARGET).join("guest");
    for (package, name) in GUESTS {
        let module = built.join(package.replace('-', "_")).with_extension("wasm");
        let module = fs::read(&module).with_context(|| format!("read {}", module.display()))?;
        let bytes = guest::encode(&module).with_context(|| format!("encode `{package}`"))?;
        write_if_changed(&out.join(name).with_extension("wasm"), &bytes)?;
    }
    Ok(())
}

/// The guests are the same for every profile of the host, so they share one
/// directory beside the host's own. It cannot be the host's: the cargo that
/// runs this script holds the lock on that.
fn guest_target_dir(out: &Path) -> PathBuf {
    let root = out
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists());
    root.unwrap_or(out).join("guests")
}

fn build_guests(workspace: &Path, target_dir: &Path) -> Result<()> {
    let mut cargo = guest::cargo(&variable("CARGO")?, workspace);
    cargo
        .args([
            "build",
            "--profile",
            "guest",
            "--target",
            TARGET,
            "--target-dir",
        ])
        .arg(target_dir)
        .args(
            GUESTS
                .iter()
                .flat_map(|(package, _)| ["--package", package]),
        );
    let output = cargo.output().context("run cargo for the guests")?;
    if !output.status.success() {
        bail!(
            "the guests do not build:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// An output that keeps its time keeps what is built from it.
fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn variable(name: &str) -> Result<OsString> {
    env::var_os(name).with_context(|| format!("cargo sets {name} for a build script"))
}
