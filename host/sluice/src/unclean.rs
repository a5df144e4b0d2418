//! Unclean stop: noticed at the next start, with the sessions that it cut.
//!
//! While the gateway runs, a file in the data folder names the sessions that stream. A clean stop
//! deletes it. So a start that finds one follows a crash, a kill or a power failure. The file is
//! written anew every two seconds if the sessions are others, so it may lack the last ones.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::schema::{self, CutSession, UncleanStop};
use base::blocking::LOADING;
use base::instance;
use gateway::connections::{LiveConnection, Stage};
use gateway::routes::Gateway;
use session::registry::unix_ms;

/// Name of the file in the data folder.
const NAME: &str = "gateway.running";
/// Time between two looks at the sessions.
const LOOK: Duration = Duration::from_secs(2);
/// Maximum number of sessions that the file names.
const MAX: usize = 10_000;
/// Maximum number of sessions that `GET /status` names.
const MAX_SHOWN: usize = 100;
/// Maximum size of a file that is read, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// Time that the end waits for the disk.
const LAST: Duration = Duration::from_secs(1);

/// Content of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Running {
    instance: String,
    started: String,
    /// Time of the latest look.
    seen: String,
    /// Number of sessions that streamed.
    sessions: u64,
    /// As many of them as the file names.
    named: Vec<CutSession>,
}

/// Looks for the file of a run that has not ended cleanly, and logs what it says.
#[must_use]
pub(crate) fn notice(data_dir: &Path) -> Option<UncleanStop> {
    let found = read(&data_dir.join(NAME))?;
    let Running {
        instance,
        started,
        seen,
        sessions,
        mut named,
    } = match found {
        Ok(running) => running,
        Err(error) => {
            tracing::warn!(%error, "the gateway before this one has not stopped cleanly, and its file cannot be read");
            return Some(UncleanStop::default());
        }
    };
    tracing::warn!(
        before = instance,
        started,
        seen,
        sessions,
        "the gateway before this one has not stopped cleanly"
    );
    for cut in &named {
        tracing::warn!(
            cut = cut.session,
            route = cut.route,
            user = cut.user,
            meeting = cut.meeting,
            recording = cut.recording,
            "an unclean stop has cut this session"
        );
    }
    named.truncate(MAX_SHOWN);
    Some(UncleanStop {
        instance: Some(instance),
        started: Some(started),
        seen: Some(seen),
        sessions,
        cut: named,
    })
}

fn read(file: &Path) -> Option<io::Result<Running>> {
    let read = || -> io::Result<Running> {
        let length = std::fs::metadata(file)?.len();
        if length > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(serde_json::from_slice(&std::fs::read(file)?)?)
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read),
    }
}

/// The file of this run.
#[derive(Debug, Clone)]
pub(crate) struct RunFile {
    file: PathBuf,
    started: String,
    /// Whether the run has ended, and nothing is written any more.
    ended: Arc<Mutex<bool>>,
}

impl RunFile {
    /// Writes the file, and keeps it up to date until [`RunFile::end`].
    pub(crate) async fn begin(data_dir: &Path, gateway: Arc<Gateway>) -> Self {
        let this = Self {
            file: data_dir.join(NAME),
            started: schema::time(unix_ms()),
            ended: Arc::default(),
        };
        // The start waits for it, so that a crash right after it is noticed.
        let first = this.look(&gateway).await;
        if let Err(error) = this.write(first.0).await {
            let file = this.file.display();
            tracing::warn!(%file, %error, "an unclean stop would not be noticed: the file cannot be written");
            return this;
        }
        tokio::spawn(this.clone().follow(gateway, first.1));
        this
    }

    async fn follow(self, gateway: Arc<Gateway>, mut before: u64) {
        let mut failing = false;
        loop {
            tokio::time::sleep(LOOK).await;
            let (running, now) = self.look(&gateway).await;
            if now == before {
                continue;
            }
            match self.write(running).await {
                Ok(()) => (before, failing) = (now, false),
                // Tried again at the next look.
                Err(error) if !failing => {
                    failing = true;
                    let file = self.file.display();
                    tracing::warn!(%file, %error, "the file of this run cannot be written");
                }
                Err(_) => {}
            }
        }
    }

    /// Sessions that stream now, and a digest of which they are.
    async fn look(&self, gateway: &Gateway) -> (Running, u64) {
        let mut digest = DefaultHasher::new();
        let (mut sessions, mut named) = (0, Vec::new());
        let looking = gateway.connections.visit("", |live| {
            if matches!(live.stage(), Stage::Stream | Stage::Seal | Stage::Parked) {
                sessions += 1;
                live.id().hash(&mut digest);
                if named.len() < MAX {
                    named.push(cut(live));
                }
            }
            ControlFlow::Continue(())
        });
        looking.await;
        let running = Running {
            instance: instance::id().to_owned(),
            started: self.started.clone(),
            seen: schema::time(unix_ms()),
            sessions,
            named,
        };
        (running, digest.finish())
    }

    async fn write(&self, running: Running) -> io::Result<()> {
        let this = self.clone();
        let writing = LOADING.run(move || {
            let ended = this.ended.lock().unwrap_or_else(PoisonError::into_inner);
            if *ended {
                return Ok(());
            }
            replace(&this.file, &serde_json::to_vec(&running)?)
        });
        writing.await?
    }

    /// Deletes the file: the gateway has stopped cleanly. A disk that hangs is not waited for.
    pub(crate) async fn end(self) {
        let deleting = LOADING.run(move || {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            *ended = true;
            std::fs::remove_file(&self.file)
        });
        if let Ok(Ok(Err(error))) = timeout(LAST, deleting).await
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "the file of this run cannot be deleted");
        }
    }
}

/// Replaces the file in one step, so that it is whole whenever the process ends.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    let new = file.with_extension("running.new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&new)?.write_all(content)?;
    std::fs::rename(&new, file)
}

fn cut(live: &LiveConnection) -> CutSession {
    let facts = &live.session().facts;
    let places = live.destination().map(|to| to.places());
    let recording = places.and_then(|places| places.recording);
    CutSession {
        session: facts.session_id.to_string(),
        route: facts.route.to_string(),
        user: live.user(),
        tenant: live.tenant(),
        meeting: live.meeting(),
        recording: recording.map(|file| base::text::clean(&file.to_string_lossy(), 1024)),
    }
}
