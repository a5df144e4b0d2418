//! Another token for a stream that runs.
//!
//! The connect policies that newcomers of the route meet now decide about it, with the keys of now: one
//! that was replaced since verifies no further token. Only the same user may bring it. The stream goes on meanwhile, and also if the token is refused: the one before is good
//! until it expires. Nothing but the deadline depends on the answer.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use crate::routes::{Gateway, Route};
use crate::socket::cause::Cause;
use crate::socket::connection::refusal;
use crate::socket::message::ClientToken;
use base::limits::{Limits, TokenExpiry};
use base::rejection::Rejection;
use policy::{Question, Record};
use session::registry::Session;

/// Maximum number of tokens that a client may send within [`PER`]. Each costs as much as a
/// connection.
const MOST: u32 = 10;
const PER: Duration = Duration::from_mins(1);
/// Answer of the policies about a token.
type Answer = (Result<(), Cause>, Vec<Record>);

/// Tokens of one stream.
pub(super) struct Renewals<'a> {
    session: &'a Arc<Session>,
    gateway: &'a Gateway,
    route: &'a Route,
    /// Time when the token expires, if the stream ends then.
    pub(super) ends: Option<Instant>,
    /// Time when the client is to be told that its token expires.
    pub(super) notice_at: Option<Instant>,
    /// Whether the client wants to be told.
    asked: bool,
    began: Instant,
    attempts: u32,
    pending: Option<Box<Pending>>,
}

/// Token that the policies think about.
struct Pending {
    renewal: Arc<Session>,
    /// Route whose policies are asked.
    route: Arc<Route>,
    answer: BoxFuture<'static, Answer>,
}

impl<'a> Renewals<'a> {
    /// The token that a stream begins with. `asked`: the client wants to be told before it expires.
    pub(super) fn begin(
        session: &'a Arc<Session>,
        gateway: &'a Gateway,
        route: &'a Route,
        asked: bool,
    ) -> Self {
        let mut renewals = Self {
            session,
            gateway,
            route,
            ends: None,
            notice_at: None,
            asked,
            began: Instant::now(),
            attempts: 0,
            pending: None,
        };
        renewals.look();
        renewals
    }

    /// Sets the times by the expiry of the session.
    fn look(&mut self) {
        let limits = &self.route.limits;
        self.ends = ends(self.session, limits);
        self.notice_at = match self.ends {
            Some(ends) if self.asked && !limits.token_notice.is_zero() => {
                Some(ends.checked_sub(limits.token_notice).unwrap_or(self.began))
            }
            _ => None,
        };
    }

    /// Whether a further token may be sent now.
    fn may_try(&mut self) -> bool {
        if self.began.elapsed() > PER {
            self.began = Instant::now();
            self.attempts = 0;
        }
        self.attempts += 1;
        self.attempts <= MOST
    }

    /// Takes a token that the client has sent.
    ///
    /// # Errors
    /// If it is not even looked at, in words for the client.
    pub(super) fn take(&mut self, token: &ClientToken) -> Result<(), &'static str> {
        let generation = self.gateway.generation.load();
        let now = generation.routes.named(&self.route.name);
        let Some(route) = now.filter(|route| route.renews) else {
            return Err("tokens of this route cannot be renewed");
        };
        if token.expose().is_empty() {
            Err("auth failed: token missing")
        } else if self.pending.is_some() {
            Err("another token is being checked")
        } else if !self.may_try() {
            Err("too many tokens were sent")
        } else {
            self.ask(token, Arc::clone(route));
            Ok(())
        }
    }

    /// Ready once the policies have decided about a token.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Result<(), Cause>, Vec<Record>)> {
        let Some(pending) = &mut self.pending else {
            return Poll::Pending;
        };
        let (answer, records) = ready!(pending.answer.poll_unpin(cx));
        let (renewal, route) = (Arc::clone(&pending.renewal), Arc::clone(&pending.route));
        self.pending = None;
        let answer = answer.and_then(|()| {
            if !self.is_same_user(&renewal, &route) {
                return Err(Cause::Denied(another_user()));
            }
            self.session.renewed(&renewal);
            self.look();
            Ok(())
        });
        Poll::Ready((answer, records))
    }

    /// Asks the policies.
    fn ask(&mut self, token: &ClientToken, route: Arc<Route>) {
        let renewal = Session::renewal(self.session, token.expose().into());
        let (session, asked) = (Arc::clone(&renewal), Arc::clone(&route));
        let registry = self.gateway.registry.clone();
        session.must_be_decided_by(Instant::now() + route.limits.admission_timeout);
        let asking = async move {
            let mut records = Vec::new();
            let chain = &asked.on_connect;
            let asking = chain.ask(&session, &registry, &Question::Connect, &mut records);
            let answer = timeout(asked.limits.admission_timeout, asking).await;
            let last = records.last().map(|record| Arc::clone(&record.policy));
            let answer = match answer {
                Ok(answer) => answer.map_err(|refused| refusal(refused, last)),
                Err(_) => Err(Cause::PolicyFailed {
                    policy: last,
                    detail: "the admission timeout ran out while a token was renewed".to_owned(),
                }),
            };
            (answer, records)
        };
        self.pending = Some(Box::new(Pending {
            renewal,
            route,
            answer: asking.boxed(),
        }));
    }

    /// Whether both are the same user, as far as the policies say who a client is.
    fn is_same_user(&self, renewal: &Session, route: &Route) -> bool {
        let known = |session: &Session| session.facts.attributes_of(&route.identified_by);
        let before = known(self.session);
        !before.is_empty() && before == known(renewal)
    }
}

fn another_user() -> Rejection {
    let message = "auth failed: the token is of another user";
    Rejection::new(4001, "auth_failed", message)
}

/// Time when the token of a session expires, if its stream ends then.
fn ends(session: &Session, limits: &Limits) -> Option<Instant> {
    match limits.token_expiry {
        TokenExpiry::Close => session.expires_in().map(|left| Instant::now() + left),
        TokenExpiry::Ignore => None,
    }
}
