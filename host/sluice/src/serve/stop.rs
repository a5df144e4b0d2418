//! Graceful shutdown: drains, closes the remaining connections, and waits for their end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::handover::{Offer, Successor};
use super::held::{End, Held};
use super::signals::listen;
use crate::supervisor::Supervisor;
use config::Server;
use gateway::routes::Gateway;
use gateway::socket::linger;

/// Maximum time until the streams that another process can go on with have ended here.
const LEAVING: Duration = Duration::from_secs(5);
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

/// A gateway that runs, and what its end needs.
pub(super) struct Stopping {
    pub(super) gateway: Arc<Gateway>,
    pub(super) supervisor: Supervisor,
    /// The accept loops.
    pub(super) listeners: Vec<JoinHandle<()>>,
    pub(super) held: Held,
}

impl Stopping {
    /// Waits for a signal or another process, then for a graceful shutdown. A second signal ends it at
    /// once; recordings are valid at every moment.
    ///
    /// # Errors
    /// If a listener has panicked, or the other process is gone before it has the listening sockets.
    pub(super) async fn run(
        self,
        mut signals: Signals,
        offer: Offer,
        server: &Server,
    ) -> anyhow::Result<()> {
        let successor = tokio::select! {
            biased;
            () = signals.next() => None,
            successor = offer.successor() => Some(successor),
        };
        drop(offer);
        let Self {
            gateway,
            supervisor,
            listeners,
            held,
        } = self;
        // A service manager need not know that its process hands over.
        if successor.is_none() {
            let longest = server.drain_timeout + patience(&gateway, server.header_timeout);
            supervisor.stopping(longest + LAST);
        }
        let mut first = successor.is_some();
        let mut held = Some(held);
        let ended = {
            let ending = end(&gateway, successor, listeners, &mut held, server);
            let mut ending = pin!(ending);
            loop {
                tokio::select! {
                    biased;
                    () = signals.next() => {
                        if std::mem::take(&mut first) {
                            tracing::info!("a signal: the remaining connections are closed");
                            gateway.shutdown.close();
                            continue;
                        }
                        tracing::warn!("a second signal: stopping at once");
                        gateway.shutdown.abandon();
                        break Ok(());
                    }
                    ended = &mut ending => break ended,
                }
            }
        };
        if let Some(held) = held {
            let end = if gateway.shutdown.is_abandoned() {
                End::Abandoned
            } else {
                End::Clean
            };
            held.let_go(end).await;
        }
        ended
    }
}

/// Hands over, if there is a successor, and winds down.
async fn end(
    gateway: &Gateway,
    successor: Option<Successor>,
    listeners: Vec<JoinHandle<()>>,
    held: &mut Option<Held>,
    server: &Server,
) -> anyhow::Result<()> {
    let Some(successor) = successor else {
        return wind_down(gateway, listeners, server).await;
    };
    let handed_over = match held.take() {
        Some(held) => hand_over(gateway, successor, listeners, held, server).await,
        None => Ok(()),
    };
    // Also if nobody serves any more: every client is told.
    wind_down(gateway, Vec::new(), server).await?;
    handed_over
}

/// Hands over to another process: the streams that can go on there, the data folder, and the
/// listening sockets.
async fn hand_over(
    gateway: &Gateway,
    successor: Successor,
    listeners: Vec<JoinHandle<()>>,
    held: Held,
    server: &Server,
) -> anyhow::Result<()> {
    tracing::info!(live = gateway.tasks.len(), "another process takes over");
    gateway.shutdown.hand_over();
    for listener in listeners {
        // One that has panicked accepts no more either.
        let _ = listener.await;
    }
    if timeout(LEAVING, gateway.parking.is_left()).await.is_err() {
        // What a disk that hangs writes later must not meet what the other process writes.
        tracing::warn!("some streams are not sealed in time, so all others end here too");
        gateway.shutdown.close();
        gateway.tasks.close();
        let patience = patience(gateway, server.header_timeout);
        drop(timeout(patience, gateway.tasks.wait()).await);
    }
    held.let_go(End::Clean).await;
    let told = successor.go().await;
    told.context("the process that takes over is gone: no gateway listens any more")?;
    tracing::info!(live = gateway.tasks.len(), "another process has taken over");
    Ok(())
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
