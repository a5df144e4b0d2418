//! Gateway in a separate process.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::config::Config;
use crate::output::Output;
use crate::still::Still;
use crate::warm::warm;
use crate::{command, eventually};

mod admin;
mod folder;

/// Running gateway with its own port and data folder. Dropping it kills the process, and fails the
/// test if the log or the metrics report a bug.
pub struct Gateway {
    child: Child,
    address: SocketAddr,
    output: Output,
    folder: TempDir,
    bugs: Bugs,
}

/// Whether bugs of the gateway (dropped connections, panics) are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bugs {
    None,
    /// The test causes them.
    Injected,
}

impl Gateway {
    /// Starts a gateway, and waits until it listens.
    ///
    /// # Panics
    /// If it does not. The message has its output.
    pub fn start(config: &Config) -> Self {
        Self::start_as(config, |command| command)
    }

    /// Starts a gateway with these files beside its configuration.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_with_files(config: &Config, files: &[(&str, &[u8])]) -> Self {
        Self::start_in(command::binary(), config, files, |command| command)
    }

    /// Starts a gateway with these files, and with the command that `change` returns.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_with_files_as(
        config: &Config,
        files: &[(&str, &[u8])],
        change: impl FnOnce(Command) -> Command,
    ) -> Self {
        Self::start_in(command::binary(), config, files, change)
    }

    /// Starts a gateway with the command that `change` returns.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_as(config: &Config, change: impl FnOnce(Command) -> Command) -> Self {
        Self::start_in(command::binary(), config, &[], change)
    }

    /// Starts a gateway whose upstreams fail as their names say.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_faulty(config: &Config) -> Self {
        let mut gateway = Self::start_in(command::faulty(), config, &[], |command| command);
        gateway.bugs = Bugs::Injected;
        gateway
    }

    fn start_in(
        binary: &Path,
        config: &Config,
        files: &[(&str, &[u8])],
        change: impl FnOnce(Command) -> Command,
    ) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("sluice-test-")
            .tempdir()
            .expect("a folder");
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).expect("a file");
        }
        let file = folder.path().join("sluice.toml");
        std::fs::write(&file, config.to_string()).expect("a configuration file");
        warm(&folder.path().join("data"));
        Self::launch(change(serve(binary, folder.path())), folder)
    }

    /// Starts the gateway again in the same folder, after [`Gateway::wait`].
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_again(&mut self) {
        let aside = tempfile::tempdir().expect("a folder");
        let folder = std::mem::replace(&mut self.folder, aside);
        *self = Self::launch(serve(command::binary(), folder.path()), folder);
    }

    /// Starts another gateway in the same folder, which takes over from this one. Gives the earlier
    /// one, which may still have streams.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    #[must_use]
    pub fn take_over(&mut self) -> Self {
        let aside = tempfile::tempdir().expect("a folder");
        let folder = std::mem::replace(&mut self.folder, aside);
        let address = self.address.to_string();
        let serve = serve_on(
            command::binary(),
            folder.path(),
            &["--take-over", "--listen", &address],
        );
        let next = Self::launch(serve, folder);
        std::mem::replace(self, next)
    }

    /// Runs a command that serves on port 0. `folder` is deleted with the gateway.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn launch(mut serve: Command, folder: TempDir) -> Self {
        let mut child = serve.spawn().expect("the gateway starts");
        let output = Output::default();
        output.follow(child.stdout.take().expect("piped"));
        output.follow(child.stderr.take().expect("piped"));
        // Made before it listens, so that a gateway that never does is killed too.
        let mut gateway = Self {
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            output,
            folder,
            bugs: Bugs::None,
        };
        let address = gateway.output.find("the gateway listens", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let listening = event["message"] == "listening";
            listening.then(|| event["address"].as_str()?.parse().ok())?
        });
        gateway.address = address.expect("the gateway starts");
        gateway
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Address of its listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resident memory, in bytes.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn memory(&self) -> u64 {
        self.bytes_of("VmRSS:")
    }

    /// Size of the process in bytes, by its name in proc(5).
    fn bytes_of(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the gateway runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        1024 * kib.expect("a number of kB")
    }

    /// Targets of its open descriptors.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn descriptors(&self) -> Vec<PathBuf> {
        let folder = format!("/proc/{}/fd", self.child.id());
        let entries = std::fs::read_dir(folder).expect("the gateway runs");
        // A descriptor may be closed in the meantime.
        let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.collect()
    }

    /// `ws:` URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// Waits for the log line of a reload to this generation.
    ///
    /// # Panics
    /// If it does not come.
    pub fn reloaded(&self, generation: u64) -> Value {
        let line = self.output.find("a reload", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let this = event["message"] == "reloaded" && event["generation"] == generation;
            this.then_some(event)
        });
        line.expect("the gateway runs")
    }

    /// Peak of the resident memory, in bytes.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn peak_memory(&self) -> u64 {
        self.bytes_of("VmHWM:")
    }

    /// Output of the process.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Log entry of a session, once the session has ended.
    ///
    /// # Panics
    /// If it does not come.
    pub fn connection_log(&self, session: &str) -> Value {
        let entry = self.output.find("the log entry of a session", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let whole = event["close_code"].is_number() && line.contains(session);
            whole.then_some(event)
        });
        entry.expect("the gateway runs")
    }

    /// Lets the process stand still.
    pub fn stand_still(&self) -> Still {
        Still::new(&self.child)
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(pid, signal).expect("the gateway is there to be told");
    }

    /// Waits for the end of the process, after [`Gateway::signal`].
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        let status = eventually("the end of the gateway", || self.child.try_wait().unwrap());
        self.output.go_on();
        self.output.wait_for_end();
        status
    }

    /// Kills the process.
    ///
    /// # Panics
    /// If it had ended before.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(
            self.wait().signal(),
            Some(9),
            "it ended before it was killed"
        );
    }

    /// Whether the process runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let sound = failed || self.bugs == Bugs::Injected;
        let mut bugs = if sound {
            Vec::new()
        } else {
            self.counted_bugs()
        };
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.output.go_on();
        if failed {
            eprintln!("--- the gateway printed:\n{}", self.output.text());
        }
        if !sound {
            self.output.wait_for_end();
            bugs.extend(self.bugs());
            assert!(bugs.is_empty(), "the gateway has survived bugs: {bugs:#?}");
        }
    }
}

/// Command that serves the configuration in a folder.
fn serve(binary: &Path, folder: &Path) -> Command {
    serve_on(binary, folder, &["--listen", "127.0.0.1:0"])
}

fn serve_on(binary: &Path, folder: &Path, options: &[&str]) -> Command {
    let mut serve = command::quiet(binary, &["serve"]);
    serve
        .args(options)
        .arg("--config")
        .arg(folder.join("sluice.toml"))
        .arg("--data-dir")
        .arg(folder.join("data"));
    serve
}
