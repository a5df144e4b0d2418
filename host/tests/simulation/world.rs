//! What everybody in a run shares, and the invariants that can be checked the
//! moment something happens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::FutureExt as _;
use sluice::facts::Facts;
use sluice::lanes::Lanes;
use sluice::policy::Rejection;
use sluice::session::{ClaimError, Registry, Session, SessionGuard};

use super::oracle::WRITE;
use super::output::{Output, Said};
use super::schedule::{RouteKind, Schedule};
use super::trace::{Event, Trace};

mod invariants;

pub struct World {
    pub schedule: Schedule,
    pub trace: Trace,
    pub registry: Registry,
    pub lanes: Lanes,
    /// A session that claims nothing but to find out who holds what.
    probe: SessionGuard,
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    connections: Vec<Connection>,
    by_session: HashMap<String, usize>,
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
    /// Held when the link was opened.
    exclusive: Vec<String>,
}

/// Where a connection's link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    #[default]
    Never,
    /// It may not be given anything.
    Held,
    Ready,
    Sealing,
    Gone,
}

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
        };
        Self {
            probe: SessionGuard::new(facts, registry.clone()),
            trace: Trace::begin(),
            live: Mutex::new(live),
            registry,
            lanes: Lanes::new(schedule.places, schedule.connections.len()),
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
            if said == Said::Ack && link == Link::Never {
                self.trace
                    .fault(me, "the ack came before the upstream was open");
            }
            self.trace.record(me, Event::Said(said));
        }
    }

    /// Places that the next connections would find.
    pub fn free_places(&self) -> usize {
        let sockets = std::iter::from_fn(|| self.lanes.socket().now_or_never());
        let seats: Vec<_> = sockets.map(|socket| self.lanes.seat(socket)).collect();
        seats.iter().filter(|seat| seat.place.is_some()).count()
    }

    /// Connections that could still be accepted.
    pub fn free_sockets(&self) -> usize {
        let sockets = std::iter::from_fn(|| self.lanes.socket().now_or_never());
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
                let loser = self.of(&holder.session_id).unwrap();
                self.trace.record(loser, Event::Evicted);
                self.trace.record(me, Event::Evicts);
            }
            claimed => claimed.map_err(|_| ())?,
        }
        self.lock().connections[me].claimed.push(key.to_owned());
        Ok(())
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
