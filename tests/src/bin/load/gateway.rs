//! Gateway of this run: the release binary with a configuration in a temporary folder.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::token::{AUDIENCE, ISSUER};

/// Policies of a stream, as in the gateway's own benchmark.
const POLICIES: &str = include_str!("../../../../host/sluice/benches/policies.toml");

/// Policy with a configurable behaviour.
const GUEST: &str = include_str!("../../../guests/connect.wat");

/// Behaviours of the policies of attackers, each on its own route. The first one is harmless, and
/// shows the cost of the visits alone.
pub const HOSTILE: [(&str, &str); 4] = [
    (
        "refuse",
        "(call $drop (local.get 0)) (i32.store8 (i32.const 0) (i32.const 1)) (i32.const 0)",
    ),
    ("loop", "(loop (br 0)) (unreachable)"),
    ("trap", "(unreachable)"),
    // 12 MiB, written and freed.
    (
        "memory",
        "(drop (memory.grow (i32.const 192))) (memory.fill (i32.const 0) (i32.const 1) (i32.const 12582912)) (unreachable)",
    ),
];

/// Time limit for the start, which compiles the policies.
const START: Duration = Duration::from_mins(5);

/// Interval of looking at the log for the start.
const LOOK: Duration = Duration::from_millis(1);

/// Folder of a gateway, with its configuration and data.
pub struct Home {
    folder: TempDir,
    program: PathBuf,
}

/// Running gateway. Dropping it kills the process.
pub struct Gateway {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    took: Duration,
}

impl Home {
    /// A fresh one, with more of the configuration than what the modes need.
    pub fn new(program: Option<&Path>, secret: &str, more: &str) -> anyhow::Result<Self> {
        Self::of(program, configuration(secret, DISCARD) + more)
    }

    /// One whose streams go to a backend that sends everything back.
    pub fn relaying(
        program: Option<&Path>,
        secret: &str,
        backend: SocketAddr,
    ) -> anyhow::Result<Self> {
        // As any plain proxy: each session makes its own connection.
        let upstream = format!(
            "kind = \"websocket\"\nurl = \"ws://{backend}/echo\"\nreplies = \"none\"\nwarm_connections = 0"
        );
        Self::of(program, configuration(secret, &upstream))
    }

    fn of(program: Option<&Path>, config: String) -> anyhow::Result<Self> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => beside()?,
        };
        let folder = TempDir::new().context("there is no temporary folder")?;
        fs::write(folder.path().join("sluice.toml"), config)?;
        for (name, body) in HOSTILE {
            let hostile = wat::parse_str(GUEST.replace("BODY", body))?;
            fs::write(folder.path().join(format!("{name}.wasm")), hostile)?;
        }
        Ok(Self { folder, program })
    }

    /// Starts the gateway, and waits until it listens.
    pub async fn start(&self) -> anyhow::Result<Gateway> {
        // Not beside the configuration: that folder is watched, and each line would wake the watcher.
        let logs = self.folder.path().join("logs");
        fs::create_dir_all(&logs)?;
        let log = logs.join("log");
        let started = Instant::now();
        let child = Command::new(&self.program)
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(self.folder.path().join("sluice.toml"))
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| {
                format!(
                    "{} does not start; build it with `cargo build --release`, or name it with --gateway",
                    self.program.display()
                )
            })?;
        let mut gateway = Gateway {
            child,
            address: SocketAddr::from(([0; 4], 0)),
            admin: SocketAddr::from(([0; 4], 0)),
            took: Duration::ZERO,
        };
        // The last of its listeners.
        gateway.admin = gateway.wait(&log, "admin listening").await?;
        gateway.took = started.elapsed();
        gateway.address = gateway.wait(&log, "listening").await?;
        Ok(gateway)
    }
}

impl Gateway {
    /// How long it took from its start until it listened.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells its metrics.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    async fn wait(&mut self, log: &Path, says: &str) -> anyhow::Result<SocketAddr> {
        let deadline = Instant::now() + START;
        loop {
            let lines = fs::read_to_string(log)?;
            if let Some(address) = lines.lines().find_map(|line| address_of(line, says)) {
                return Ok(address);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the gateway ended with {status}; it printed:\n{lines}");
            }
            if Instant::now() > deadline {
                bail!("the gateway does not listen after {START:?}; it printed:\n{lines}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Nothing of it is to be kept, so it need not drain.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address_of(line: &str, says: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    (event["message"] == says).then(|| event["address"].as_str()?.parse().ok())?
}

/// Both programs are built into the same folder.
fn beside() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program cannot find itself")?;
    Ok(own.with_file_name("sluice"))
}

/// An upstream that drops what it gets.
const DISCARD: &str = "kind = \"discard\"";

/// The routes of the built-in configuration, with `discard` in the place of
/// recordings, an echo, and one for each kind of attack. What keeps failing is
/// not left alone for a while, as it is by default: that would be the end of
/// the attack.
fn configuration(secret: &str, upstream: &str) -> String {
    let attacks: String = HOSTILE
        .iter()
        .map(|(name, _)| {
            format!(
                r#"
[policies.{name}]
component = "{name}.wasm"
quarantine = "0s"

[routes.{name}]
paths = ["/attack/{name}"]
handshake = "none"
on_connect = ["{name}"]
settle = "0s"
upstream = "echo"
"#
            )
        })
        .collect();
    format!(
        r#"{POLICIES}
[server]
admin_listen = "127.0.0.1:0"

[key_sets.main]
secret = "{secret}"
issuers = ["{ISSUER}"]
audiences = ["{AUDIENCE}"]

[upstreams.streams]
{upstream}

[upstreams.echo]
kind = "echo"

[routes.ingest]
paths = ["/ws/ingest/meetings/{{meeting_id}}", "/api/v1/ws/ingest/meetings/{{meeting_id}}"]
on_connect = ["auth", "duplicate"]
on_handshake = ["sample-rate"]
upstream = "streams"
max_rate = "0B"

[routes.echo]
paths = ["/echo"]
handshake = "none"
upstream = "echo"
max_rate = "0B"
{attacks}"#
    )
}
