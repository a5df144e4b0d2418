//! Servers whose admissions are compared: the floor, this gateway, and a peer.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::cli::{Cli, Mode};
use crate::target::Target;
use crate::{floor, machine, token};

/// Time limit for a server to listen.
const START: Duration = Duration::from_secs(20);
/// The peer: an app of FastAPI.
const PEER: &str = include_str!("../../../peers/admission.py");
/// Path of all streams.
const INGEST_PATH: &str = "/ws/ingest/meetings/{meeting_id}";

/// Server that admits streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// Bare tokio, which checks nothing.
    Floor,
    /// This gateway, with three policies.
    Sluice,
    /// `FastAPI` under uvicorn, with the same checks.
    FastApi,
}

/// A running server.
pub struct Running {
    /// Where clients are admitted.
    pub admits: Arc<Target>,
    /// Where those with an expired token are refused.
    pub refuses: Arc<Target>,
    _process: Option<Process>,
}

struct Process {
    child: Child,
    _folder: Option<TempDir>,
}

impl Server {
    /// All of them, in the order of the table. The floor is first: the others are compared with it.
    pub const ALL: [Self; 3] = [Self::Floor, Self::Sluice, Self::FastApi];

    /// As in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Sluice => "Sluice",
            Self::FastApi => "FastAPI",
        }
    }

    /// Starts it. `None` where its program is not installed.
    pub async fn start(self, cli: &Cli, mode: &Mode) -> anyhow::Result<Option<Running>> {
        machine::pin(cli.cores.0);
        let started = match self {
            Self::Sluice => {
                let target = Arc::new(Target::prepare(cli, mode).await?);
                Ok(Some(Running {
                    admits: Arc::clone(&target),
                    refuses: target,
                    _process: None,
                }))
            }
            Self::Floor => floor_process().map(Some),
            Self::FastApi => peer(&cli.python),
        };
        machine::pin(cli.cores.1);
        started
    }
}

fn floor_process() -> anyhow::Result<Running> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("floor")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("the floor does not start")?;
    let mut line = String::new();
    let output = child.stdout.take().context("it has no output")?;
    BufReader::new(output).read_line(&mut line)?;
    let pid = child.id();
    let process = Process {
        child,
        _folder: None,
    };
    let address = line.trim().parse().context("the floor has no address")?;
    let target = |path: &str| Arc::new(Target::running(address, pid, String::new(), path));
    Ok(Running {
        admits: target(INGEST_PATH),
        refuses: target(&format!("{}{{meeting_id}}", floor::REFUSED)),
        _process: Some(process),
    })
}

fn peer(python: &Path) -> anyhow::Result<Option<Running>> {
    let imports = "import fastapi, jwt, uvicorn, websockets";
    let has = Command::new(python)
        .args(["-c", imports])
        .stderr(Stdio::null())
        .status();
    if !has.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let folder = TempDir::new().context("there is no temporary folder")?;
    std::fs::write(folder.path().join("admission.py"), PEER)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let secret = token::fresh_secret()?;
    let child = Command::new(std::path::absolute(python)?)
        .args(["-m", "uvicorn", "admission:app", "--log-level", "critical"])
        .args(["--backlog", "4096", "--port", &address.port().to_string()])
        .current_dir(folder.path())
        .env("SECRET", &secret)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("uvicorn does not start")?;
    let mut process = Process {
        child,
        _folder: Some(folder),
    };
    process.listens(address)?;
    let pid = process.child.id();
    let target = Arc::new(Target::running(address, pid, secret, INGEST_PATH));
    Ok(Some(Running {
        admits: Arc::clone(&target),
        refuses: target,
        _process: Some(process),
    }))
}

impl Process {
    fn listens(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let end = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("uvicorn ended with {status}");
            }
            if Instant::now() > end {
                bail!("uvicorn does not listen after {START:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing of it is to be kept.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
