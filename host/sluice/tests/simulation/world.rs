//! What everybody in a run shares, and the invariants that can be checked the
//! moment something happens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base::permits::{Permits, Shares};
use base::rejection::Rejection;
use futures_util::FutureExt as _;
use session::facts::Facts;
use session::registry::{ClaimError, Registry, Session, SessionGuard};
use tokio::task;

use super::oracle::WRITE;
use super::output::{Output, Said};
use super::schedule::{Return, RouteKind, Schedule, Token};
use super::trace::{Event, Trace};

mod invariants;

pub struct World {
    pub schedule: Schedule,
    pub trace: Trace,
    pub registry: Registry,
    pub permits: Permits,
    /// A session that claims nothing but to find out who holds what.
    probe: SessionGuard,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    connections: Vec<Connection>,
    by_session: HashMap<String, usize>,
    by_task: HashMap<task::Id, usize>,
}

#[derive(Default)]
struct Connection {
    output: Output,
    session: Option<Weak<Session>>,
    claimed: Vec<String>,
    /// Claimed by a policy that then failed, and was passed over.
    undone: Vec<String>,
    /// Bytes that the link has said, and that the transport has taken since the
    /// upgrade.
    emitted: usize,
    written: usize,
    link: Link,
    /// Until when the host waits for the link to be sealed.
    sealing_until: u64,
    /// Held when the link was opened, or taken over.
    exclusive: Vec<String>,
    /// What leads back to the stream, as far as its client was told.
    token: Option<String>,
    /// Of the stream that the connection began: bytes that its upstream was
    /// given, and bytes that it said since its client is away.
    taken: u64,
    kept: usize,
}

/// Where a connection's link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    #[default]
    Never,
    /// It may not be given anything.
    Held,
    Ready,
    /// Nobody's: its client is away.
    Parked,
    Sealing,
    Gone,
}

/// Which connection this is. Each has a port of its own.
pub fn who(facts: &Facts) -> usize {
    usize::from(facts.remote.port() - FIRST_PORT)
}

pub const FIRST_PORT: u16 = 10_000;

impl World {
    pub fn new(schedule: Schedule) -> Self {
        let registry = Registry::default();
        let facts = Facts::new(
            "probe".into(),
            "".into(),
            &"/".parse().unwrap(),
            vec![],
            axum::http::HeaderMap::new(),
            ([127, 0, 0, 1], 1).into(),
        );
        let connections = schedule.connections.iter().map(|plan| Connection {
            output: Output::new(plan.route != RouteKind::Raw),
            ..Connection::default()
        });
        let live = Live {
            connections: connections.collect(),
            by_session: HashMap::new(),
            by_task: HashMap::new(),
        };
        Self {
            probe: SessionGuard::new(facts, registry.clone()),
            trace: Trace::begin(),
            live: Mutex::new(live),
            registry,
            permits: Permits::new(schedule.places, schedule.connections.len()).with_shares(
                Shares {
                    per_address: Some(schedule.per_client),
                    ..Shares::default()
                },
            ),
            schedule,
        }
    }

    /// The transport has taken bytes from the host.
    pub fn has_written(&self, me: usize, bytes: &[u8]) {
        let (closes, said, link) = {
            let connection = &mut self.lock().connections[me];
            let was_closing = connection.output.in_close();
            if connection.link != Link::Never {
                connection.written += bytes.len();
            }
            let said = connection.output.push(bytes);
            let closes = connection.output.in_close()
                || said.iter().any(|said| matches!(said, Said::Close { .. }));
            (closes && !was_closing, said, connection.link)
        };
        if closes {
            self.trace.record(me, Event::CloseBegins);
            self.closes(me, link);
        }
        for said in said {
            if let Said::Ack { from, .. } = said {
                self.acknowledges(me, from, link);
            }
            self.trace.record(me, Event::Said(said));
        }
    }

    /// Places that the next connections would find.
    pub fn free_places(&self) -> usize {
        let sockets = std::iter::from_fn(|| self.permits.socket().now_or_never());
        let granted: Vec<_> = sockets.map(|socket| self.permits.grant(socket)).collect();
        granted
            .iter()
            .filter(|permit| permit.place.is_some())
            .count()
    }

    /// Connections that could still be accepted.
    pub fn free_sockets(&self) -> usize {
        let sockets = std::iter::from_fn(|| self.permits.socket().now_or_never());
        sockets.collect::<Vec<_>>().len()
    }

    pub fn link(&self, me: usize) -> Link {
        self.lock().connections[me].link
    }

    pub fn set_link(&self, me: usize, link: Link) {
        let connection = &mut self.lock().connections[me];
        connection.link = link;
        if link == Link::Sealing {
            connection.sealing_until = self.trace.now() + WRITE;
        }
    }

    pub fn begins(&self, me: usize, session: &Arc<Session>) {
        let mut live = self.lock();
        let id = session.facts.session_id.to_string();
        live.by_session.insert(id, me);
        // Everything of a connection that is not sealing is done in one task.
        live.by_task.insert(task::id(), me);
        live.connections[me].session = Some(Arc::downgrade(session));
    }

    /// Takes a key, from whoever has it if `takeover` says so.
    pub fn claim(&self, session: &Arc<Session>, key: &str, takeover: bool) -> Result<(), ()> {
        let me = self.of(&session.facts.session_id).unwrap();
        match self.registry.claim(session, key) {
            Err(ClaimError::Held(holder)) if takeover => {
                let notice = Rejection::new(4003, "superseded", "superseded by a newer connection");
                self.registry
                    .evict(session, key, &holder.session_id, notice)
                    .map_err(|_| ())?;
                for loser in self.under(key, &holder.session_id) {
                    self.trace.record(loser, Event::Evicted);
                }
                self.trace.record(me, Event::Evicts);
            }
            claimed => claimed.map_err(|_| ())?,
        }
        self.lock().connections[me].claimed.push(key.to_owned());
        Ok(())
    }

    /// Who loses a key with its holder: every connection of its stream.
    fn under(&self, key: &str, holder: &str) -> Vec<usize> {
        let holder = self.of(holder).unwrap();
        let live = self.lock();
        let loses = |other: &usize| {
            let connection = &live.connections[*other];
            let is_there = connection
                .session
                .as_ref()
                .is_some_and(|it| it.strong_count() > 0);
            let claims = connection.claimed.iter().any(|it| it == key);
            self.stream(*other) == self.stream(holder) && is_there && claims
        };
        (0..live.connections.len()).filter(loses).collect()
    }

    /// The connection that began the stream of this one.
    pub fn stream(&self, me: usize) -> usize {
        let returns = self.schedule.connections[me].returns;
        returns.map_or(me, |returns| returns.stream)
    }

    /// The connection whose task this is.
    pub fn whose_task(&self) -> Option<usize> {
        self.lock().by_task.get(&task::try_id()?).copied()
    }

    /// A client was told a token.
    pub fn tells(&self, me: usize, token: String) {
        let mut live = self.lock();
        // Who comes back for what is complete gets no other one.
        let known = live
            .connections
            .iter()
            .any(|it| it.token.as_ref() == Some(&token));
        live.connections[me].token = Some(token).filter(|_| !known);
    }

    /// The token with which a client comes back, and to whom it was told.
    pub fn token(&self, back: Return) -> Option<(usize, String)> {
        let stream = match back.token {
            Token::Last | Token::First => back.stream,
            Token::Foreign(other) => other,
            Token::Unknown => return None,
        };
        let live = self.lock();
        let told = live.connections.iter().enumerate();
        let told = told.filter(|(other, _)| self.stream(*other) == stream);
        let mut told = told.filter_map(|(other, it)| Some((other, it.token.clone()?)));
        match back.token {
            Token::First => told.next(),
            _ => told.next_back(),
        }
    }

    /// Every token that was told.
    pub fn tokens(&self) -> Vec<String> {
        let live = self.lock();
        let tokens = live.connections.iter().filter_map(|it| it.token.clone());
        tokens.collect()
    }

    /// How many claims a connection made, to return to with [`World::forget`].
    pub fn claims(&self, me: usize) -> usize {
        self.lock().connections[me].claimed.len()
    }

    pub fn forget(&self, me: usize, claims: usize) {
        let connection = &mut self.lock().connections[me];
        let undone = connection.claimed.split_off(claims);
        connection.undone.extend(undone);
    }

    /// Connections whose session is still held by somebody.
    pub fn sessions_alive(&self) -> Vec<usize> {
        let live = self.lock();
        let alive = |session: &Option<Weak<Session>>| {
            session.as_ref().is_some_and(|weak| weak.strong_count() > 0)
        };
        (0..live.connections.len())
            .filter(|me| alive(&live.connections[*me].session))
            .collect()
    }

    /// Whether something that the host began to say was left unfinished.
    pub fn torn(&self) -> Vec<bool> {
        let live = self.lock();
        let torn = live.connections.iter().map(|it| it.output.is_torn());
        torn.collect()
    }

    fn holder(&self, key: &str) -> Option<usize> {
        let probe = self.probe.session();
        let mark = self.registry.mark(probe);
        match self.registry.claim(probe, key) {
            Err(ClaimError::Held(holder)) => self.of(&holder.session_id),
            _ => {
                self.registry.undo(probe, mark);
                None
            }
        }
    }

    fn of(&self, session_id: &str) -> Option<usize> {
        self.lock().by_session.get(session_id).copied()
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
