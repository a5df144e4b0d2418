//! An open connection with everything that it holds, at whatever stage it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::cause::Cause;
use super::connection_log::ConnectionLog;
use super::reap;
use super::report::Report;
use super::wire::Wire;
use crate::parking::Returning;
use crate::routes::{Gateway, Route};
use base::limits::Limits;
use base::metrics::Live;
use base::permits::{Holder, Share};
use policy::{Chain, Question, Refused as PolicyRefused};
use session::facts::Facts;
use session::registry::{Session, SessionGuard};

/// The word of a policy that refuses a token.
const AUTH_FAILED: &str = "auth_failed";

/// A connection that is not to go on, and why.
pub struct Refused {
    pub(super) connection: Box<Connection>,
    pub(super) cause: Cause,
}

/// An open connection with everything that it holds.
///
/// The order of the fields is the order in which a drop releases them: the
/// claims first, so that a client which comes back at once is not refused by
/// its own ghost.
pub struct Connection {
    pub(super) guard: Option<SessionGuard>,
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// What its address, user and tenant have of the gateway.
    pub(super) shares: Vec<Share<Holder>>,
    pub(super) wire: Option<Wire>,
    pub(super) session: Arc<Session>,
    pub(super) route: Option<Arc<Route>>,
    pub(super) limits: Arc<Limits>,
    pub(super) gateway: Arc<Gateway>,
    pub(super) budget: Budget,
    pub(super) log: ConnectionLog,
    pub(super) report: Option<Report>,
    /// The stream that the client came back for.
    pub(super) resuming: Option<Returning>,
    pub(super) live: Option<Live>,
}

impl Connection {
    pub(super) fn refuse(self: Box<Self>, cause: Cause) -> Refused {
        Refused {
            connection: self,
            cause,
        }
    }

    /// Lets go of everything that keeps others out, before the client can know
    /// that this connection is over.
    pub(super) fn release(&mut self) {
        self.guard.take();
        self.place.take();
        self.shares.clear();
    }

    /// Parts that are needed to close the connection after it is dropped.
    fn remains(&mut self) -> reap::Remains {
        reap::Remains {
            session_id: Arc::clone(&self.session.facts.session_id),
            limits: Arc::clone(&self.limits),
            tasks: self.gateway.tasks.clone(),
            log: self.log.take(),
            report: self.report.take(),
            live: self.live.take(),
        }
    }

    /// The client's end, for stages that read and write.
    pub(super) fn wire(&mut self) -> Option<&mut Wire> {
        self.wire.as_mut()
    }

    /// Runs a chain within the budget, unless something else ends the
    /// connection first.
    pub(super) async fn ask(
        &mut self,
        chain: impl Fn(&Route) -> &Chain,
        question: Question<'_>,
    ) -> Result<(), Cause> {
        let Some(route) = self.route.clone() else {
            return Err(Cause::NotFound);
        };
        let chain = chain(&route);
        if chain.is_empty() {
            return Ok(());
        }
        let mut records = Vec::new();
        let answer = {
            let asked = chain.ask(
                &self.session,
                &self.gateway.registry,
                question,
                &mut records,
            );
            let asked = self.budget.spend(asked);
            tokio::select! {
                biased;
                cause = interrupted(&self.session, &self.gateway) => Err(cause),
                answer = asked => Ok(answer),
            }
        };
        let last = records.last().map(|record| Arc::clone(&record.policy));
        self.log.decided(records);
        match answer? {
            Some(Ok(())) => Ok(()),
            Some(Err(refused)) => Err(explained(refusal(refused, last), &self.session.facts)),
            None => Err(Cause::PolicyFailed {
                policy: None,
                detail: match last {
                    Some(last) => {
                        format!("the admission timeout ran out while policy {last} was asked")
                    }
                    None => {
                        "the admission timeout had run out before policies were asked".to_owned()
                    }
                },
            }),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.release();
        // That a process which is told twice to stop closes nobody is no bug.
        if self.gateway.shutdown.is_abandoned() {
            return;
        }
        if let Some(wire) = self.wire.take() {
            self.gateway.defects.connection_dropped();
            reap::reap(wire, self.remains());
        }
    }
}

/// What a chain's refusal is to a connection; `last` is the policy that was
/// asked last.
pub(super) fn refusal(refused: PolicyRefused, last: Option<Arc<str>>) -> Cause {
    match refused {
        PolicyRefused::Denied(rejection) => Cause::Denied(rejection),
        PolicyRefused::AuthUnavailable => Cause::AuthUnavailable,
        PolicyRefused::Failed(failure) => Cause::PolicyFailed {
            policy: last,
            detail: failure.to_string(),
        },
    }
}

/// Adds what is wrong with the form of a token, which no policy can see, to a policy's refusal of
/// it.
fn explained(cause: Cause, facts: &Facts) -> Cause {
    match cause {
        Cause::Denied(mut rejection) if rejection.code == AUTH_FAILED => {
            if let Some(flaw) = facts.token_flaw() {
                rejection.message = format!("{} ({flaw})", rejection.message);
            }
            Cause::Denied(rejection)
        }
        other => other,
    }
}

/// Waits for what may end a connection from outside at any stage.
pub(super) async fn interrupted(session: &Session, gateway: &Gateway) -> Cause {
    tokio::select! {
        biased;
        notice = session.evicted() => Cause::Evicted(notice),
        () = gateway.shutdown.closing() => Cause::Draining,
    }
}

/// What is left of the host's own time before the ack. Waiting for the client
/// does not count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    left: Duration,
}

impl Budget {
    pub(super) fn new(total: Duration) -> Self {
        Self { left: total }
    }

    /// Runs `work` within what is left; `None` where that is not enough.
    pub(super) async fn spend<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let started = Instant::now();
        let result = timeout(self.left, work).await.ok();
        self.left = self.left.saturating_sub(started.elapsed());
        result
    }
}
