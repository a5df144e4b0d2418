//! The gateway as a process of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::config::Config;
use crate::output::Output;
use crate::warm::warm;
use crate::{DEADLINE, command, eventually};

/// A running gateway on a port of its own, with a data folder of its own.
/// Killed when dropped.
pub struct Gateway {
    child: Child,
    address: SocketAddr,
    output: Output,
    folder: TempDir,
    bugs: Bugs,
}

/// Whether it may have bugs: connections that are dropped, panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bugs {
    None,
    /// They are put in.
    Injected,
}

/// How the log tells of a bug that was survived.
const BUGS: [&str; 2] = [
    "\"message\":\"a connection was dropped without being closed",
    "\"message\":\"panic: ",
];

/// From here on it does not close what it has, as it was told.
const TOLD_TWICE: &str = "a second signal: stopping at once";

impl Gateway {
    /// Starts a gateway, and waits until it listens.
    ///
    /// # Panics
    /// When it does not, with what it printed.
    pub fn start(config: &Config) -> Self {
        Self::start_as(config, |command| command)
    }

    /// The same, with these files beside the configuration.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_with_files(config: &Config, files: &[(&str, &[u8])]) -> Self {
        Self::start_in(command::binary(), config, files, |command| command)
    }

    /// The same, with the command as `change` makes it.
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

    /// The same, with the command as `change` makes it.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_as(config: &Config, change: impl FnOnce(Command) -> Command) -> Self {
        Self::start_in(command::binary(), config, &[], change)
    }

    /// Starts a gateway whose upstreams fail where their names say so.
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

    /// Starts it again, after [`Gateway::wait`], with all that it has left in
    /// its folder.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn start_again(&mut self) {
        let aside = tempfile::tempdir().expect("a folder");
        let folder = std::mem::replace(&mut self.folder, aside);
        *self = Self::launch(serve(command::binary(), folder.path()), folder);
    }

    /// Runs any command that serves on port 0, and ties `folder` to its life.
    ///
    /// # Panics
    /// As [`Gateway::start`].
    pub fn launch(mut serve: Command, folder: TempDir) -> Self {
        let mut child = serve.spawn().expect("the gateway starts");
        let output = Output::default();
        output.follow(child.stdout.take().expect("piped"));
        output.follow(child.stderr.take().expect("piped"));
        // Made before it listens, so that a gateway which never does is killed too.
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

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes of memory that it has at the moment.
    ///
    /// # Panics
    /// When it is gone.
    pub fn memory(&self) -> u64 {
        self.bytes_of("VmRSS:")
    }

    /// A size that the kernel knows of its process, by its name in proc(5).
    fn bytes_of(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("the gateway runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        1024 * kib.expect("a number of kB")
    }

    /// What its open descriptors lead to.
    ///
    /// # Panics
    /// When it is gone.
    pub fn descriptors(&self) -> Vec<PathBuf> {
        let folder = format!("/proc/{}/fd", self.child.id());
        let entries = std::fs::read_dir(folder).expect("the gateway runs");
        // One may be closed meanwhile.
        let links = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.collect()
    }

    /// A `ws:` URL of it.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    /// Asks its admin listener, which its configuration must have on port 0.
    /// `request` is the line and what headers are needed beyond the host's.
    /// Returns the status and the body.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn admin(&self, request: &str) -> (u16, String) {
        let address = self.output.find("the admin listener", admin_address);
        ask(address.expect("the gateway runs"), request).expect("an answer")
    }

    /// A sample of its metrics, by its name and labels, of its admin listener;
    /// zero where nothing was counted yet.
    ///
    /// # Panics
    /// When there is no metric of that name.
    pub fn metric(&self, sample: &str) -> f64 {
        let (name, _) = sample.split_once('{').unwrap_or((sample, ""));
        let mut known = base::metrics::ALL.iter();
        assert!(known.any(|metric| metric.name == name), "no metric {name}");
        let (_, metrics) = self.admin("GET /metrics");
        find_metric(&metrics, sample).unwrap_or_default()
    }

    /// What went wrong in it, though nobody may have noticed.
    fn bugs(&self) -> Vec<String> {
        let lines = self.output.lines();
        let orderly = lines.iter().take_while(|line| !line.contains(TOLD_TWICE));
        let bugs = orderly.filter(|line| BUGS.iter().any(|bug| line.contains(bug)));
        bugs.cloned().collect()
    }

    /// The counters of bugs that are not zero, where it has an admin listener
    /// and still runs.
    fn counted_bugs(&self) -> Vec<String> {
        let lines = self.output.lines();
        let admin = lines.iter().find_map(|line| admin_address(line));
        let answer = admin.and_then(|admin| ask(admin, "GET /metrics").ok());
        let Some((200, metrics)) = answer else {
            return Vec::new();
        };
        let counters = ["sluice_connections_dropped_total", "sluice_panics_total"];
        counters
            .into_iter()
            .map(|name| format!("{name} {:?}", find_metric(&metrics, name)))
            .filter(|counted| !counted.ends_with("Some(0.0)"))
            .collect()
    }

    /// Replaces a file of its folder in one step, as a deployment does.
    ///
    /// # Panics
    /// When that is not possible.
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let aside = self.folder.path().join(format!("{name}.new"));
        std::fs::write(&aside, content).expect("a file");
        std::fs::rename(aside, self.folder.path().join(name)).expect("a file");
    }

    /// Waits for the line that says it has reloaded, to this generation.
    ///
    /// # Panics
    /// When it does not come.
    pub fn reloaded(&self, generation: u64) -> Value {
        let line = self.output.find("a reload", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let this = event["message"] == "reloaded" && event["generation"] == generation;
            this.then_some(event)
        });
        line.expect("the gateway runs")
    }

    /// The most memory that it ever had, in bytes.
    ///
    /// # Panics
    /// When it has ended.
    pub fn peak_memory(&self) -> u64 {
        self.bytes_of("VmHWM:")
    }

    /// What it prints.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The folder that holds its configuration and its data, for this test alone.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// All its recordings so far, whatever became of them.
    pub fn recordings(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.data(), &mut found);
        found.sort();
        found
    }

    /// The one recording that it has made.
    ///
    /// # Panics
    /// When there is none or more than one.
    pub fn recording(&self) -> PathBuf {
        let mut found = self.recordings();
        assert_eq!(found.len(), 1, "one recording was expected: {found:?}");
        found.swap_remove(0)
    }

    /// Log entry of a session, once the session has ended.
    ///
    /// # Panics
    /// When it does not come.
    pub fn connection_log(&self, session: &str) -> Value {
        let entry = self.output.find("the log entry of a session", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let whole = event["close_code"].is_number() && line.contains(session);
            whole.then_some(event)
        });
        entry.expect("the gateway runs")
    }

    /// Asks it to stop.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(pid, signal).expect("the gateway is there to be told");
    }

    /// Waits for its end, after [`Gateway::signal`].
    ///
    /// # Panics
    /// When it goes on.
    pub fn wait(&mut self) -> ExitStatus {
        let status = eventually("the end of the gateway", || self.child.try_wait().unwrap());
        self.output.go_on();
        self.output.wait_for_end();
        status
    }

    /// Kills it, with no word to anybody.
    ///
    /// # Panics
    /// When it had ended by itself before.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(
            self.wait().signal(),
            Some(9),
            "it ended before it was killed"
        );
    }

    /// Whether it is still there.
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

fn admin_address(line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    let listening = event["message"] == "admin listening";
    listening.then(|| event["address"].as_str()?.parse().ok())?
}

fn ask(admin: SocketAddr, request: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let (line, headers) = request.split_once("\r\n").unwrap_or((request, ""));
    let head =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let parsed = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    });
    parsed.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn find_metric(metrics: &str, sample: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

/// The command that serves what is in a folder.
fn serve(binary: &Path, folder: &Path) -> Command {
    let args = ["serve", "--listen", "127.0.0.1:0", "--config"];
    let mut serve = command::quiet(binary, &args);
    serve
        .arg(folder.join("sluice.toml"))
        .arg("--data-dir")
        .arg(folder.join("data"));
    serve
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "wav") {
            found.push(path);
        }
    }
}
