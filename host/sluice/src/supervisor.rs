//! Notifications for the service manager, as systemd takes them (sd_notify(3)): when the gateway is
//! ready, reloads and stops, that it lives, and how it is in one line.
//!
//! A thread of its own sends them, so that nothing waits for a manager that does not read. Without
//! the variable `NOTIFY_SOCKET` there is no such thread, and every notification is nothing.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use sd_notify::NotifyState;

use gateway::routes::Gateway;

/// Maximum number of notifications that wait for the thread.
const MAX_WAITING: usize = 16;
/// Time between two status lines, if the manager sets no watchdog.
const PAUSE: Duration = Duration::from_secs(10);

/// Sends notifications. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Supervisor(Option<SyncSender<Note>>);

/// What the service manager is told.
#[derive(Debug)]
enum Note {
    Ready(String),
    Reloading,
    Stopping(Duration),
    Alive(String),
}

impl Supervisor {
    /// Connects to the service manager, if there is one.
    ///
    /// # Errors
    /// If the machine does not give a thread.
    pub fn start() -> anyhow::Result<Self> {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self::default());
        }
        let (sender, notes) = sync_channel(MAX_WAITING);
        std::thread::Builder::new()
            .name("supervisor".to_owned())
            .spawn(move || send_all(&notes))
            .context("the thread for the service manager could not be started")?;
        Ok(Self(Some(sender)))
    }

    /// The gateway serves, after its start or a reload.
    pub(crate) fn ready(&self, gateway: &Gateway) {
        self.note(|| Note::Ready(status(gateway)));
    }

    /// A reload begins. [`Supervisor::ready`] follows.
    pub(crate) fn reloading(&self) {
        self.note(|| Note::Reloading);
    }

    /// The gateway stops, and that takes so long at the most.
    pub(crate) fn stopping(&self, longest: Duration) {
        self.note(|| Note::Stopping(longest));
    }

    /// Says again and again that the gateway lives, and how it is, until the process ends. A task of
    /// the runtime does so: a runtime that runs nothing is restarted.
    pub(crate) async fn attend(self, gateway: Arc<Gateway>) {
        if self.0.is_none() {
            return;
        }
        // Twice in the time after which the manager gives up.
        let pause = sd_notify::watchdog_enabled().map_or(PAUSE, |longest| longest / 2);
        let mut pause = tokio::time::interval(pause.max(Duration::from_millis(1)));
        loop {
            pause.tick().await;
            self.note(|| Note::Alive(status(&gateway)));
        }
    }

    fn note(&self, note: impl FnOnce() -> Note) {
        if let Some(sender) = &self.0
            && sender.try_send(note()).is_err()
        {
            tracing::debug!("the service manager does not read its notifications");
        }
    }
}

/// How the gateway is, in one line.
fn status(gateway: &Gateway) -> String {
    let sessions = gateway.connections.count();
    let generation = gateway.generation.load().number;
    let doing = if gateway.shutdown.is_stopping() {
        "stopping"
    } else if gateway.shutdown.is_draining() {
        "drained"
    } else {
        "serving"
    };
    format!("{doing}, sessions: {sessions}, generation: {generation}")
}

fn send_all(notes: &Receiver<Note>) {
    while let Ok(note) = notes.recv() {
        if let Err(error) = send(&note) {
            tracing::warn!(%error, "the service manager could not be notified");
        }
    }
}

fn send(note: &Note) -> std::io::Result<()> {
    match note {
        Note::Ready(status) => {
            sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
        }
        Note::Reloading => sd_notify::notify(&[
            NotifyState::Reloading,
            NotifyState::monotonic_usec_now()?,
            NotifyState::Status("reloading"),
        ]),
        Note::Stopping(longest) => {
            let longest = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
            sd_notify::notify(&[
                NotifyState::Stopping,
                NotifyState::ExtendTimeoutUsec(longest),
                NotifyState::Status("stopping"),
            ])
        }
        Note::Alive(status) => {
            sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Status(status)])
        }
    }
}
