//! From a Rust crate to a component that asks for nothing but the contract.
//!
//! The build script of the built-in policies uses this, and so does `sluice policy build`: one way for both.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use wit_component::{ComponentEncoder, DecodedWasm};

/// What guests are compiled for: a target on which the standard library
/// imports nothing.
pub const TARGET: &str = "wasm32-unknown-unknown";

const CONTRACT: &str = "sluice:policy/";

/// Says what to do before the compiler says "can't find crate for `core`".
///
/// # Errors
/// When the target is missing: the sentence says how to add it.
pub fn require_target(rustc: &OsStr, folder: &Path) -> Result<()> {
    let output = Command::new(rustc)
        .current_dir(folder)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("rustc does not run: install Rust, see https://rustup.rs")?;
    let library = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    ensure!(
        output.status.success() && library.is_dir(),
        "the target {TARGET} is not installed: run \"rustup target add {TARGET}\"\n\
         Without a network, copy the directory {} from a machine with the same version of Rust.",
        library.display()
    );
    Ok(())
}

/// A cargo that compiles guests, in `folder`. What somebody set for the
/// compiler of this machine's own programs is kept from it.
#[must_use]
pub fn cargo(program: &OsStr, folder: &Path) -> Command {
    let mut cargo = Command::new(program);
    cargo.current_dir(folder);
    for (name, _) in env::vars_os().filter(|(name, _)| meant_for_the_host(name)) {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", portable_paths(folder));
    cargo
}

/// Messages of panics name source files. Without the directories of this
/// machine the same sources make the same guest everywhere.
fn portable_paths(folder: &Path) -> OsString {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    let mut flags = OsString::from("--remap-path-prefix=");
    flags.push(folder);
    flags.push("=sluice");
    if let Some(cargo) = cargo {
        // Cargo separates the flags in this variable by this character.
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(cargo);
        flags.push("=cargo");
    }
    flags
}

/// Wrappers (clippy's, a coverage tool's) and profiles that somebody set for
/// the host would change the guests, or build them again and again. Flags for
/// the host's compiler are out already: those that are set here come first.
fn meant_for_the_host(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        name.starts_with("CARGO_PROFILE_")
            || name.ends_with("RUSTC_WRAPPER")
            || name.ends_with("RUSTC_WORKSPACE_WRAPPER")
    })
}

/// Encodes a guest that was built for [`TARGET`].
///
/// # Errors
/// When it is no core module that can become a component, or imports what no gateway offers.
pub fn encode(module: &[u8]) -> Result<Vec<u8>> {
    let component = ComponentEncoder::default()
        .validate(true)
        .module(module)?
        .encode()?;
    let DecodedWasm::Component(resolve, world) = wit_component::decode(&component)? else {
        bail!("the encoder made a WIT package instead of a component");
    };
    let world = resolve
        .worlds
        .get(world)
        .context("a component has a world")?;
    for import in world.imports.keys() {
        let name = resolve.name_world_key(import);
        ensure!(
            name.starts_with(CONTRACT),
            "the guest imports `{name}`, which no gateway offers: a policy may import `{CONTRACT}*` only"
        );
    }
    Ok(component)
}
