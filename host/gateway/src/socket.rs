//! The life of one connection.
//!
//! ```text
//! Accepted --connect--> Admitted --handshake--> Ready --stream--> Finished
//!     \                     \                     \                 |
//!      `---- Refused --------`------ Refused ------`--- Refused ----+--> close
//! ```
//!
//! Each stage is a value that only the stage before can make, and that the next
//! consumes, so a second Close, a message before the 101 or one after the Close
//! does not compile. What is never dropped in silence is a [`Connection`]: its
//! `Drop` hands the socket to a task that closes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use crate::parking::Returning;
use crate::routes::{Gateway, Route};
use base::lanes::{Holder, Share};
use base::limits::Limits;
use base::metrics::Live;
use policy::{Chain, Question, Refused as PolicyRefused};
use session::facts::Facts;
use session::registry::{Session, SessionGuard};

pub mod accept;
pub mod cause;
pub mod close;
pub mod connect;
#[cfg(test)]
mod document;

pub mod handshake;
pub mod message;
pub mod report;
mod resume;
pub mod story;
pub mod stream;
pub mod watch;
pub mod wire;

use cause::Cause;
use report::Report;
use story::Story;
use wire::Wire;

/// The word of a policy that refuses a token.
const AUTH_FAILED: &str = "auth_failed";

/// Drives a connection from its upgrade to its end. The sequence of calls is
/// the protocol. All stages but the one that lasts are in boxes, so that an idle
/// connection does not hold memory for what it has behind it.
pub async fn drive(accepted: accept::Accepted) {
    let admitted = match Box::pin(connect::admit(accepted)).await {
        Ok(admitted) => admitted,
        Err(refused) => return Box::pin(close::refuse(refused)).await,
    };
    let ready = match Box::pin(handshake::negotiate(admitted)).await {
        Ok(ready) => ready,
        Err(refused) => return Box::pin(close::refuse(refused)).await,
    };
    let finished = stream::relay(ready).await;
    Box::pin(close::finish(finished)).await;
}

/// A connection that is not to go on, and why.
pub struct Refused {
    connection: Box<Connection>,
    cause: Cause,
}

/// An open connection with everything that it holds.
///
/// The order of the fields is the order in which a drop releases them: the
/// claims first, so that a client which comes back at once is not refused by
/// its own ghost.
pub struct Connection {
    guard: Option<SessionGuard>,
    place: Option<OwnedSemaphorePermit>,
    /// What its address, user and tenant have of the gateway.
    shares: Vec<Share<Holder>>,
    wire: Option<Wire>,
    session: Arc<Session>,
    route: Option<Arc<Route>>,
    limits: Arc<Limits>,
    gateway: Arc<Gateway>,
    budget: Budget,
    story: Story,
    report: Option<Report>,
    /// The stream that the client came back for.
    resuming: Option<Returning>,
    live: Option<Live>,
}

impl Connection {
    fn refuse(self: Box<Self>, cause: Cause) -> Refused {
        Refused {
            connection: self,
            cause,
        }
    }

    /// Lets go of everything that keeps others out, before the client can know
    /// that this connection is over.
    fn release(&mut self) {
        self.guard.take();
        self.place.take();
        self.shares.clear();
    }

    /// The client's end, for stages that read and write.
    fn wire(&mut self) -> Option<&mut Wire> {
        self.wire.as_mut()
    }

    /// Runs a chain within the budget, unless something else ends the
    /// connection first.
    async fn ask(
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
        self.story.decided(records);
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
            close::reap(wire, self);
        }
    }
}

/// What a chain's refusal is to a connection; `last` is the policy that was
/// asked last.
fn refusal(refused: PolicyRefused, last: Option<Arc<str>>) -> Cause {
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
async fn interrupted(session: &Session, gateway: &Gateway) -> Cause {
    tokio::select! {
        biased;
        notice = session.evicted() => Cause::Evicted(notice),
        () = gateway.shutdown.closing() => Cause::Draining,
    }
}

/// What is left of the host's own time before the ack. Waiting for the client
/// does not count.
#[derive(Debug, Clone, Copy)]
struct Budget {
    left: Duration,
}

impl Budget {
    fn new(total: Duration) -> Self {
        Self { left: total }
    }

    /// Runs `work` within what is left; `None` where that is not enough.
    async fn spend<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let started = Instant::now();
        let result = timeout(self.left, work).await.ok();
        self.left = self.left.saturating_sub(started.elapsed());
        result
    }
}
