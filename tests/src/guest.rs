//! Policies for tests: from text, and from the crates of the examples.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::json;

use crate::config::Config;

/// The gateway's own policies. Every build names all of them, so that shared dependencies are built
/// once.
const BUILT_IN: [&str; 3] = ["sluice-auth", "sluice-duplicate", "sluice-sample-rate"];

/// Component of an example in Rust, built on the first request.
///
/// # Panics
/// If it does not build.
pub fn example(name: &str) -> PathBuf {
    // Cargo runs one build at a time in a folder, and would print that it waits.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in a workspace");
    // Tests run from target/<profile>/deps, and the gateway's own policies are built in the same
    // folder.
    let test = std::env::current_exe().expect("a test knows where it is");
    let target = test.ancestors().nth(3).expect("cargo's target directory");
    let folder = target.join("guests");
    let package = format!("sluice-example-{name}");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let packages = BUILT_IN.iter().copied().chain([package.as_str()]);
    let output = ::guest::cargo(&cargo, workspace)
        .args(["build", "--locked", "--profile", "guest"])
        .args(["--target", ::guest::TARGET, "--target-dir"])
        .arg(&folder)
        .args(packages.flat_map(|package| ["--package", package]))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{package} does not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let file = package.replace('-', "_");
    let module = folder.join(::guest::TARGET).join("guest").join(file);
    let module = std::fs::read(module.with_extension("wasm")).expect("what cargo built");
    let encoded = ::guest::encode(&module).expect("a component");
    let components = folder.join("components");
    std::fs::create_dir_all(&components).expect("a folder");
    let component = components.join(&package).with_extension("wasm");
    // A gateway may be reading or watching the file. It stays if its content is the same, and is
    // replaced atomically otherwise.
    if std::fs::read(&component).is_ok_and(|old| old == encoded) {
        return component;
    }
    let fresh = component.with_extension(format!("{}.new", std::process::id()));
    std::fs::write(&fresh, encoded).expect("a file");
    std::fs::rename(&fresh, &component).expect("a component's file");
    component
}

/// Adds a policy with this component and these grants to the ingest routes.
#[must_use]
pub fn with_policy(config: Config, name: &str, component: &Path, grants: &[&str]) -> Config {
    let section = format!("policies.{name}");
    config
        .set(&section, "component", json!(component))
        .set(&section, "grants", json!(grants))
}
