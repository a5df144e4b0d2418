//! An open connection with everything that it holds, at whatever stage it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::cause::Cause;
use super::open_socket::{OpenSocket, Parts};
use crate::routes::Gateway;
use base::permits::{Share, ShareHolder};
use policy::{Chain, ChainRefusal, Question};
use session::facts::Facts;
use session::registry::{Session, SessionGuard};

/// Code of a policy's refusal of a token.
const AUTH_FAILED: &str = "auth_failed";

/// A connection that must be closed, and the cause.
pub struct Refused {
    pub(super) connection: Connection,
    pub(super) cause: Cause,
}

/// An open connection with everything that it holds.
///
/// A drop releases the fields in their order: the claims first, so that a client which comes back
/// at once is not refused by its own ghost, and the socket last.
pub struct Connection {
    pub(super) claims: SessionGuard,
    /// Place among the connections that the gateway serves. An overloaded gateway has none left.
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// Shares of the gateway that its address, user and tenant have.
    pub(super) shares: Vec<Share<ShareHolder>>,
    pub(super) budget: Budget,
    pub(super) socket: OpenSocket,
}

impl Connection {
    pub(super) fn refuse(self, cause: Cause) -> Refused {
        Refused {
            connection: self,
            cause,
        }
    }

    /// Releases everything that keeps others out, before the client can know that this connection
    /// is over.
    pub(super) fn release(self) -> OpenSocket {
        self.socket
    }

    /// The session of this connection.
    pub(super) fn session(&self) -> &Arc<Session> {
        &self.socket.session
    }

    /// Runs a chain within the budget, unless something else ends the connection first.
    pub(super) async fn ask(
        &mut self,
        chain: &Chain,
        question: impl FnOnce() -> Question,
    ) -> Result<(), Cause> {
        if chain.is_empty() {
            return Ok(());
        }
        let Parts {
            session,
            gateway,
            log,
            ..
        } = &mut **self.socket;
        let question = question();
        let mut records = Vec::new();
        session.must_be_decided_by(self.budget.ends());
        let answer = {
            let asked = chain.ask(session, &gateway.registry, &question, &mut records);
            let asked = self.budget.spend(asked);
            tokio::select! {
                biased;
                cause = interrupted(session, gateway) => Err(cause),
                answer = asked => Ok(answer),
            }
        };
        let last = records.last().map(|record| Arc::clone(&record.policy));
        log.decided(records);
        match answer? {
            // The policies may have just verified who it is.
            Some(Ok(())) => match log.live.is_revoked(&gateway.revocations) {
                None => Ok(()),
                Some(reason) => Err(Cause::EndedByOperator(reason)),
            },
            Some(Err(refused)) => Err(explained(refusal(refused, last), &session.facts)),
            None if gateway.registry.waits_for_others(session) => {
                let why = "the admission timeout ran out while claims waited for other gateways";
                Err(Cause::ClaimsUnknown(why.to_owned()))
            }
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

/// Cause that a chain's refusal is to a connection. `last` is the policy that was asked last.
pub(super) fn refusal(refused: ChainRefusal, last: Option<Arc<str>>) -> Cause {
    match refused {
        ChainRefusal::Denied(rejection) => Cause::Denied(rejection),
        ChainRefusal::AuthUnavailable => Cause::AuthUnavailable,
        ChainRefusal::Unanswered(unanswered) => Cause::ServiceUnavailable(unanswered),
        ChainRefusal::NotNow(why) => Cause::ClaimsUnknown(why),
        ChainRefusal::Failed(failure) => Cause::PolicyFailed {
            policy: last,
            detail: failure.to_string(),
        },
    }
}

/// Adds to a policy's refusal of a token what is wrong with the form of that token. No policy can
/// see that.
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

/// Waits until another connection takes over, an operator ends this one, or the gateway shuts down. Both may end a connection
/// at any stage.
pub(super) async fn interrupted(session: &Session, gateway: &Gateway) -> Cause {
    tokio::select! {
        biased;
        notice = session.evicted() => notice.into(),
        () = gateway.shutdown.closing() => Cause::Draining,
    }
}

/// Time that the gateway may still take before the ack. Waiting for the client does not count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    left: Duration,
}

impl Budget {
    pub(super) fn new(total: Duration) -> Self {
        Self { left: total }
    }

    /// Time when it runs out, if it is spent from now on.
    pub(super) fn ends(&self) -> Instant {
        Instant::now() + self.left
    }

    /// Runs `work` within the time that is left. `None` if that is not enough.
    pub(super) async fn spend<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let started = Instant::now();
        let result = timeout(self.left, work).await.ok();
        self.left = self.left.saturating_sub(started.elapsed());
        result
    }

    /// Runs `work` within half of the time that is left, and leaves the rest to what must succeed.
    /// `None` if that is not enough.
    pub(super) async fn spend_half<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let half = timeout(self.left / 2, work);
        self.spend(half).await?.ok()
    }
}
