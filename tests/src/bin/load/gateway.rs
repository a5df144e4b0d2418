//! A gateway of this run's own: the release binary with a configuration in a
//! temporary folder.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::token::{AUDIENCE, ISSUER};

/// What a stream goes through, as in the gateway's own bench.
const POLICIES: &str = include_str!("../../../../host/benches/policies.toml");

/// A policy that does what it is told to.
const GUEST: &str = include_str!("../../../guests/connect.wat");

/// How long it may take until it listens: it compiles its policies first.
const START: Duration = Duration::from_secs(60);

/// A running gateway. Killed when dropped.
pub struct Gateway {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    _folder: TempDir,
}

impl Gateway {
    /// Starts it, and waits until it listens.
    pub async fn start(program: Option<&Path>, secret: &str) -> anyhow::Result<Self> {
        Self::configured(program, &configuration(secret, DISCARD)).await
    }

    /// Starts one whose streams go to a backend that sends everything back.
    pub async fn relaying(
        program: Option<&Path>,
        secret: &str,
        backend: SocketAddr,
    ) -> anyhow::Result<Self> {
        // As any plain proxy: each session makes its own connection.
        let upstream = format!(
            "kind = \"websocket\"\nurl = \"ws://{backend}/echo\"\nreplies = \"none\"\nwarm_connections = 0"
        );
        Self::configured(program, &configuration(secret, &upstream)).await
    }

    async fn configured(program: Option<&Path>, text: &str) -> anyhow::Result<Self> {
        let program = match program {
            Some(program) => program.to_owned(),
            None => beside()?,
        };
        let folder = TempDir::new().context("there is no temporary folder")?;
        let config = folder.path().join("sluice.toml");
        let log = folder.path().join("log");
        fs::write(&config, text)?;
        let hostile = wat::parse_str(GUEST.replace("BODY", "(loop (br 0)) (i32.const 0)"))?;
        fs::write(folder.path().join("hostile.wasm"), hostile)?;
        let child = Command::new(&program)
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| {
                format!(
                    "{} does not start; build it with `cargo build --release`, or name it with --gateway",
                    program.display()
                )
            })?;
        let mut gateway = Self {
            child,
            address: SocketAddr::from(([0; 4], 0)),
            admin: SocketAddr::from(([0; 4], 0)),
            _folder: folder,
        };
        // The last of its listeners.
        gateway.admin = gateway.wait(&log, "admin listening").await?;
        gateway.address = gateway.wait(&log, "listening").await?;
        Ok(gateway)
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
            tokio::time::sleep(Duration::from_millis(20)).await;
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

/// The routes of the built-in configuration, with another upstream in the place
/// of recordings, an echo, and one whose policy loops.
fn configuration(secret: &str, upstream: &str) -> String {
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

[policies.hostile]
component = "hostile.wasm"

[routes.attack]
paths = ["/attack"]
handshake = "none"
on_connect = ["hostile"]
settle = "0s"
upstream = "echo"

[routes.echo]
paths = ["/echo"]
handshake = "none"
upstream = "echo"
"#
    )
}
