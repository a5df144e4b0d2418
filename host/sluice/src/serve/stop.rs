//! Graceful shutdown: drains, closes the remaining connections, and waits for their end.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::signals::listen;
use crate::supervisor::Supervisor;
use config::Server;
use gateway::routes::Gateway;
use gateway::socket::linger;

/// Time for the last lines, decisions and spans, once every connection has ended.
const LAST: Duration = Duration::from_secs(5);

/// Signals that stop the gateway.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    /// Handles the signals, which no longer end the process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// Waits for a signal, then for a graceful shutdown. A second signal ends it at once; recordings
/// are valid at every moment.
///
/// # Errors
/// If a listener has panicked.
pub(super) async fn stop(
    gateway: &Gateway,
    mut signals: Signals,
    listeners: Vec<JoinHandle<()>>,
    server: &Server,
    supervisor: &Supervisor,
) -> anyhow::Result<()> {
    signals.next().await;
    let longest = server.drain_timeout + patience(gateway, server.header_timeout);
    supervisor.stopping(longest + LAST);
    tokio::select! {
        biased;
        () = signals.next() => {
            tracing::warn!("a second signal: stopping at once");
            gateway.shutdown.abandon();
            Ok(())
        }
        ended = wind_down(gateway, listeners, server) => ended,
    }
}

/// Lets live streams finish, closes the others, and waits for their end.
async fn wind_down(
    gateway: &Gateway,
    listeners: Vec<JoinHandle<()>>,
    server: &Server,
) -> anyhow::Result<()> {
    tracing::info!(live = gateway.tasks.len(), deadline = ?server.drain_timeout, "draining");
    gateway.shutdown.drain();
    gateway.tasks.close();
    if timeout(server.drain_timeout, gateway.tasks.wait())
        .await
        .is_err()
    {
        tracing::info!(
            live = gateway.tasks.len(),
            "closing the remaining connections"
        );
    }
    gateway.shutdown.close();
    // The last connections are registered once the listeners have ended.
    let mut listened = Ok(());
    for listener in listeners {
        listened = listened.and(listener.await.context("a listener failed"));
    }
    let patience = patience(gateway, server.header_timeout);
    if timeout(patience, gateway.tasks.wait()).await.is_err() {
        tracing::warn!(
            live = gateway.tasks.len(),
            "connections did not end in time"
        );
    }
    listened
}

/// Maximum time until every connection has ended, of this generation and of earlier ones. A new
/// client may have just begun its request.
fn patience(gateway: &Gateway, header_timeout: Duration) -> Duration {
    let generation = gateway.generation.load();
    let ends = generation.routes.in_use().map(|route| {
        // Completing and sealing may each wait for a backend that is away.
        let upstream = route.upstream.outage() * 2;
        linger::longest(&route.limits) + upstream + route.on_close.longest()
    });
    header_timeout + ends.fold(linger::longest(&gateway.default_limits), Duration::max)
}

#[cfg(test)]
mod tests;
