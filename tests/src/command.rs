//! Commands of the `sluice` binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::output::Output;
use crate::warm::warm;

/// Binary for these tests.
///
/// # Panics
/// If it was not built, or is older than its sources.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("sluice"))
}

/// Gateway with upstreams that fail on demand.
///
/// # Panics
/// As [`binary`].
pub fn faulty() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("faulty"))
}

/// Load generator of the benches.
///
/// # Panics
/// As [`binary`].
pub fn load() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("load"))
}

fn built(name: &str) -> PathBuf {
    // Tests are run from target/<profile>/deps.
    let test = std::env::current_exe().expect("a test knows where it is");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("cargo's target directory");
    let binary = profile.join(name);
    let built = modified(&binary).unwrap_or_else(|| {
        panic!(
            "{} is missing: run `make test`, or `cargo build` first",
            binary.display()
        )
    });
    for source in sources(&binary.with_extension("d")) {
        assert!(
            modified(&source).is_none_or(|changed| changed <= built),
            "{} is older than {}: run `make test`, or `cargo build` first",
            binary.display(),
            source.display()
        );
    }
    binary
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata()
        .and_then(|metadata| metadata.modified())
        .ok()
}

/// Sources of the binary, from the list that cargo writes for make.
fn sources(list: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let (_, sources) = text.split_once(": ").unwrap_or_default();
    let marked = sources.trim_end().replace("\\ ", "\0");
    let paths = marked
        .split(' ')
        .map(|path| PathBuf::from(path.replace('\0', " ")));
    paths.filter(|path| path.is_file()).collect()
}

/// Root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

/// `sluice` with arguments, without environment variables that change its output.
pub fn sluice(args: &[&str]) -> Command {
    quiet(binary(), args)
}

/// Any binary with arguments, without environment variables that change its output.
pub fn quiet(binary: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for variable in [
        "RUST_LOG",
        "RUST_BACKTRACE",
        "NO_COLOR",
        "FORCE_COLOR",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Result of a command.
#[derive(Debug)]
pub struct Done {
    /// Exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command until it ends.
///
/// # Panics
/// If it takes longer than the deadline.
pub fn run(command: &mut Command) -> Done {
    let mut child = command.spawn().expect("the command starts");
    let (stdout, stderr) = (Output::default(), Output::default());
    stdout.follow(child.stdout.take().expect("piped"));
    stderr.follow(child.stderr.take().expect("piped"));
    let status = crate::eventually("the end of a command", || child.try_wait().unwrap());
    Done {
        status: status.code(),
        stdout: stdout.wait_for_end(),
        stderr: stderr.wait_for_end(),
    }
}

/// Runs `sluice check` on a configuration. The built-in policies are compiled already for the folder that it is in.
///
/// # Panics
/// As [`run`].
pub fn check(config: &Path) -> Done {
    warm(&config.with_file_name("data"));
    run(sluice(&["check", "--config"]).arg(config))
}
