//! Policy projects, as authors have them: made by `sluice policy new` or copied from the examples.
//! Each is built once for all tests, and kept between runs while its files are unchanged.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tempfile::TempDir;

use crate::command::{self, Done};
use crate::config::Config;
use crate::gateway::Gateway;

/// Project that takes long to build.
#[derive(Debug, Clone, Copy)]
pub enum Project {
    /// Result of `sluice policy new interface --lang js`.
    JavaScript,
    /// Result of the same command for Python.
    Python,
    /// [`Project::JavaScript`], whose rule throws for the tenant `crash`, and answers what is no
    /// decision for the tenant `seven`.
    ThrowingJavaScript,
    /// [`Project::Python`], whose rule raises for the tenant `crash`, prints for `printer`, and
    /// exits for `exit`. For `seven` the policy answers what is no decision.
    RaisingPython,
    /// Example in JavaScript.
    OfficeHours,
    /// Example in Python.
    TenantQuota,
}

/// Project that was built, and has passed its own cases.
#[derive(Debug)]
pub struct Tested {
    /// Folder of the project.
    pub folder: PathBuf,
    /// Component of the project.
    pub component: PathBuf,
    /// Output of `sluice policy test`.
    pub told: String,
}

impl Project {
    /// The project. The first call builds and tests it.
    ///
    /// # Panics
    /// If it does not build, or a case fails.
    pub fn tested(self) -> &'static Tested {
        static ALL: [OnceLock<Tested>; 6] = [const { OnceLock::new() }; 6];
        ALL[self as usize].get_or_init(|| {
            let folder = self.kept();
            let told = succeeds(&["test", "--strict"], &folder);
            Tested {
                component: folder.join(format!("build/{}.wasm", self.name())),
                folder,
                told,
            }
        })
    }

    fn name(self) -> &'static str {
        match self {
            // Names that are keywords in the languages that a project passes through.
            Self::JavaScript => "interface",
            Self::Python => "import",
            Self::ThrowingJavaScript | Self::RaisingPython => "mine",
            Self::OfficeHours => "office-hours",
            Self::TenantQuota => "tenant-quota",
        }
    }

    /// Folder of the project from an earlier run, if its files are unchanged.
    fn kept(self) -> PathBuf {
        let kept = workshop().join(format!("{self:?}")).join(self.name());
        let place = place(&format!("{self:?}-fresh"));
        let fresh = place.join(self.name());
        match self {
            Self::JavaScript => drop(succeeds(&["new", self.name(), "--lang", "js"], &place)),
            Self::Python => drop(succeeds(&["new", self.name(), "--lang", "python"], &place)),
            Self::ThrowingJavaScript => {
                succeeds(&["new", "mine", "--lang", "js"], &place);
                edit(
                    &fresh.join("src/rule.js"),
                    "  if (tenants.includes(tenant)) {",
                    "  if (tenant === \"crash\") {\n    throw new TypeError(\"no rule for crash\");\n  }\n  \
                     if (tenant === \"seven\") {\n    return 7;\n  }\n  \
                     if (tenants.includes(tenant)) {",
                );
            }
            Self::RaisingPython => {
                succeeds(&["new", "mine", "--lang", "python"], &place);
                edit(
                    &fresh.join("src/rule.py"),
                    "    return tenant in listed",
                    "    if tenant == \"crash\":\n        raise KeyError(\"no rule for crash\")\n    \
                     if tenant == \"exit\":\n        raise SystemExit(\"enough\")\n    \
                     if tenant == \"printer\":\n        print(\"looked\", tenant)\n    \
                     return tenant in listed",
                );
                edit(
                    &fresh.join("src/policy.py"),
                    "        if rule.admits(",
                    "        if c.attribute(\"auth.tenant_id\") == \"seven\":\n            return 7\n        \
                     if rule.admits(",
                );
            }
            Self::OfficeHours | Self::TenantQuota => {
                let examples = command::root().join("plugins/examples");
                copy(&examples.join(self.name()), &fresh);
            }
        }
        if same(&fresh, &kept) {
            return kept;
        }
        let _ = std::fs::remove_dir_all(&kept);
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::rename(&fresh, &kept).unwrap();
        let with_packages = matches!(
            self,
            Self::JavaScript | Self::ThrowingJavaScript | Self::OfficeHours
        );
        if with_packages {
            let packages = command::root().join("tests/.componentize/node_modules");
            std::os::unix::fs::symlink(packages, kept.join("node_modules")).unwrap();
        }
        // What one project compiles is not compiled again for another.
        std::fs::create_dir_all(data()).unwrap();
        std::os::unix::fs::symlink(data(), kept.join("data")).unwrap();
        kept
    }
}

/// Running gateway that uses the compiled components of these tests. One at a time serves from
/// their folder, so the next waits until this one has ended.
pub struct Served {
    gateway: Gateway,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Served {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

/// Starts a gateway that uses the compiled components of these tests.
///
/// # Panics
/// As [`Gateway::start`].
pub fn serve(config: &Config) -> Served {
    static TURN: Mutex<()> = Mutex::new(());
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("sluice.toml");
    let text = format!("data_dir = {:?}\n{config}", data());
    std::fs::write(&file, text).expect("a configuration file");
    // Compiling a new component may take longer than tests wait for a gateway.
    let mut check = command::sluice(&["check", "--config"]);
    let done = run(check.arg(&file), folder.path());
    assert_eq!(done.status, Some(0), "{done:?}");
    let args = ["serve", "--listen", "127.0.0.1:0", "--config"];
    let mut serve = command::quiet(command::binary(), &args);
    serve.arg(file);
    // A test that failed in its turn has left nothing behind that matters.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Served {
        gateway: Gateway::launch(serve, folder),
        _turn: turn,
    }
}

/// Folder of the projects. Compiled components in it are kept between runs.
pub fn workshop() -> PathBuf {
    let target = command::binary().parent().unwrap().parent().unwrap();
    target.join("kit")
}

fn data() -> PathBuf {
    workshop().join("data")
}

/// Empty folder for the project of one test.
///
/// # Panics
/// If it cannot be made.
pub fn place(test: &str) -> PathBuf {
    let place = workshop().join(test);
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// Runs a command in a folder, with the time limit of a compiler. Cargo runs without a network,
/// with the crates of the workspace.
///
/// # Panics
/// If it cannot be run.
pub fn run(command: &mut Command, folder: &Path) -> Done {
    let output = command
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", workshop().join("target"))
        .env("CARGO_NET_OFFLINE", "true")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Done {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sets the paths of the tools of each language, as `make setup` installs them.
fn with_tools(command: &mut Command) -> &mut Command {
    let tools = command::root().join("tests/.venv/bin");
    let path = std::env::var_os("PATH").unwrap();
    let path = std::iter::once(tools).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(path).unwrap())
}

/// Runs `sluice policy`.
///
/// # Panics
/// As [`run`].
pub fn policy(args: &[&str], folder: &Path) -> Done {
    run(with_tools(command::sluice(&["policy"]).args(args)), folder)
}

/// Runs `sluice policy`, which must succeed. Returns its output.
///
/// # Panics
/// If it fails.
pub fn succeeds(args: &[&str], folder: &Path) -> String {
    let done = policy(args, folder);
    assert_eq!(done.status, Some(0), "sluice policy {args:?}: {done:?}");
    done.stdout
}

/// Component of a Python module with all WASI imports of its interpreter. `sluice policy build`
/// would replace them; here the gateway has to.
///
/// # Panics
/// If it does not build.
pub fn with_wasi(module: &Path) -> PathBuf {
    let Tested { folder, .. } = Project::Python.tested();
    let place = workshop().join("with-wasi");
    let (source, component) = (place.join("policy.py"), place.join("policy.wasm"));
    let text = std::fs::read(module).unwrap();
    if component.exists() && std::fs::read(&source).is_ok_and(|kept| kept == text) {
        return component;
    }
    let place = self::place("with-wasi");
    std::fs::write(&source, text).unwrap();
    let mut build = Command::new("componentize-py");
    build
        .arg("--quiet")
        .arg("--wit-path")
        .arg(folder.join("wit"));
    build.args([
        "--world",
        "policy",
        "componentize",
        "policy",
        "--output",
        "policy.wasm",
    ]);
    let done = run(with_tools(&mut build), &place);
    assert_eq!(done.status, Some(0), "{done:?}");
    component
}

/// Replaces text in a file, which must contain it.
///
/// # Panics
/// If it is not.
pub fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{}: {text}", file.display());
    std::fs::write(file, text.replace(from, to)).unwrap();
}

/// Copies a project's sources.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        // Files that were built or installed beside the sources.
        if ["build", "node_modules", ".venv", "data", "__pycache__"]
            .map(AsRef::as_ref)
            .contains(&name)
        {
            continue;
        }
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Whether another folder has every file of a folder unchanged.
fn same(folder: &Path, other: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().all(|entry| {
        let path = entry.unwrap().path();
        let twin = other.join(path.file_name().unwrap());
        if path.is_dir() {
            same(&path, &twin)
        } else {
            std::fs::read(path).unwrap() == std::fs::read(twin).unwrap_or_default()
        }
    })
}
