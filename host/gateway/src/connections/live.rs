//! A connection as operators see it while it lasts.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::kept::Kept;
use super::meter::{Format, Level, Meter};
use super::rate::Rate;
use super::{Connections, Stage};
use crate::revocations::{Owner, Revocations};
use base::text;
use policy::Record;
use session::facts::Credentials;
use session::handshake::Handshake;
use session::registry::{Session, unix_ms};
use traces::trace::Trace;
use upstream::Destination;

/// Maximum length of a client's text that is shown, in bytes.
const MAX_SHOWN: usize = 128;

/// What is known of a connection when it begins.
pub struct Beginning {
    /// Its session.
    pub session: Arc<Session>,
    /// Number of the generation that serves it.
    pub generation: u64,
    /// Policies of its route whose attributes say who the client is.
    pub identified_by: Arc<[String]>,
    /// Its trace, if it is recorded.
    pub trace: Option<Box<Trace>>,
}

/// A connection as operators see it while it lasts. Its own task writes to it, and never waits: a
/// reader sees each value as it was a moment ago. Only the rates are written by who looks at them.
#[derive(Debug)]
pub struct LiveConnection {
    session: Arc<Session>,
    generation: u64,
    identified_by: Arc<[String]>,
    trace: Option<Box<Trace>>,
    began_ms: u64,
    stage: AtomicU8,
    received: AtomicU64,
    sent: AtomicU64,
    receiving: Rate,
    sending: Rate,
    /// Set once the client has said what it sends, where its level can be computed.
    audio: OnceLock<Format>,
    /// Bytes of the stream that an earlier connection has brought.
    earlier: AtomicU64,
    meter: Meter,
    destination: OnceLock<Arc<Destination>>,
    decisions: Mutex<Vec<Kept>>,
    connections: Arc<Connections>,
}

impl LiveConnection {
    pub(super) fn new(beginning: Beginning, connections: Arc<Connections>) -> Self {
        let Beginning {
            session,
            generation,
            identified_by,
            trace,
        } = beginning;
        Self {
            session,
            generation,
            identified_by,
            trace,
            began_ms: unix_ms(),
            stage: AtomicU8::new(Stage::Connect as u8),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            receiving: Rate::default(),
            sending: Rate::default(),
            audio: OnceLock::new(),
            earlier: AtomicU64::new(0),
            meter: Meter::default(),
            destination: OnceLock::new(),
            decisions: Mutex::default(),
            connections,
        }
    }

    /// Session id.
    #[must_use]
    pub fn id(&self) -> Arc<str> {
        Arc::clone(&self.session.facts.session_id)
    }

    /// Its session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Number of the generation that serves it.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its trace, if it is recorded.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// Time of its upgrade, in milliseconds since 1970.
    #[must_use]
    pub fn began_ms(&self) -> u64 {
        self.began_ms
    }

    /// Tenant that a policy has verified.
    #[must_use]
    pub fn tenant(&self) -> Option<String> {
        let tenant = self.session.facts.said_by(&self.identified_by, "tenant_id");
        tenant.map(|tenant| text::clean(&tenant, MAX_SHOWN))
    }

    /// User that a policy has verified.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        self.session.user().map(|user| text::clean(user, MAX_SHOWN))
    }

    /// Whether a policy has verified that it is theirs.
    #[must_use]
    pub fn is_of(&self, owner: &Owner) -> bool {
        owner.has(&self.session, &self.identified_by)
    }

    /// Sentence for the client, if its user or tenant is refused now.
    pub(crate) fn is_revoked(&self, revocations: &Revocations) -> Option<String> {
        revocations.reason(&self.session, &self.identified_by)
    }

    /// The meeting in the path, which is the client's text.
    #[must_use]
    pub fn meeting(&self) -> Option<String> {
        let facts = &self.session.facts;
        let shown = |id| text::clean(&facts.presentable(id), MAX_SHOWN);
        facts.param("meeting_id").map(shown)
    }

    /// The source in the query, which is the client's text.
    #[must_use]
    pub fn source(&self) -> Option<String> {
        let facts = &self.session.facts;
        let source = facts.query("source", Credentials::Withheld)?;
        Some(text::clean(&facts.presentable(&source), MAX_SHOWN))
    }

    /// Current stage.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let stage = self.stage.load(Ordering::Relaxed);
        let is_it = |other: &Stage| *other as u8 == stage;
        Stage::ALL.into_iter().find(is_it).unwrap_or(Stage::Close)
    }

    /// Bytes of BINARY payload from the client.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes of payload from the upstream to the client.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes of BINARY payload from the client, per second; `None` before the first look.
    #[must_use]
    pub fn receiving(&self) -> Option<u64> {
        self.receiving.per_second()
    }

    /// Bytes of payload from the upstream to the client, per second; `None` before the first look.
    #[must_use]
    pub fn sending(&self) -> Option<u64> {
        self.sending.per_second()
    }

    /// Takes the rates, so long after the look before.
    pub(super) fn look(&self, passed: Duration) {
        let age = Duration::from_millis(unix_ms().saturating_sub(self.began_ms));
        let passed = passed.min(age);
        self.receiving.look(self.received(), passed);
        self.sending.look(self.sent(), passed);
    }

    /// Where its stream goes, once it has one.
    #[must_use]
    pub fn destination(&self) -> Option<&Arc<Destination>> {
        self.destination.get()
    }

    /// Decisions of policies about it, in their order.
    #[must_use]
    pub fn decisions(&self) -> Vec<Record> {
        self.lock().iter().map(Kept::record).collect()
    }

    /// Number of decisions about it that are kept.
    pub(crate) fn decisions_told(&self) -> usize {
        self.lock().len()
    }

    /// Enters a stage. A parked stream stays one, while the socket of its last connection closes.
    pub(crate) fn enter(&self, stage: Stage) {
        if self.stage() != Stage::Parked {
            self.stage.store(stage as u8, Ordering::Relaxed);
        }
    }

    /// Enters the stage after this one.
    pub(crate) fn has_left(&self, stage: Stage) {
        self.enter(stage.next());
    }

    pub(crate) fn has_received(&self, payload: &[u8]) {
        if let Some(format) = self.audio.get() {
            let before = self.earlier.load(Ordering::Relaxed) + self.received();
            self.meter.add(*format, before, payload);
        }
        add(&self.received, payload.len());
    }

    /// The client has said what it sends.
    pub(crate) fn speaks(&self, handshake: &Handshake) {
        if let Some(format) = Format::of(handshake) {
            // A client says it once.
            let _ = self.audio.set(format);
        }
    }

    pub(crate) fn has_sent(&self, bytes: usize) {
        add(&self.sent, bytes);
    }

    /// Its stream goes there, on from this many bytes.
    pub(crate) fn streams_to(&self, destination: &Arc<Destination>, from: u64) {
        self.earlier.store(from, Ordering::Relaxed);
        // A connection has one stream.
        let _ = self.destination.set(Arc::clone(destination));
    }

    /// Adds decisions, but no more than make `most` together.
    pub(crate) fn decided(&self, records: impl Iterator<Item = Record>, most: usize) {
        let mut decisions = self.lock();
        let records: Vec<_> = records.take(most.saturating_sub(decisions.len())).collect();
        // An idle connection keeps these for hours, so there is no spare room.
        decisions.reserve_exact(records.len());
        decisions.extend(records.into_iter().map(Kept::from));
    }

    // A vector keeps its invariants at every step, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.decisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection's task is the only writer, so that a frame costs no locked instruction.
fn add(counter: &AtomicU64, bytes: usize) {
    let before = counter.load(Ordering::Relaxed);
    counter.store(before + bytes as u64, Ordering::Relaxed);
}

/// Listener to the level of a stream, until this is dropped.
#[derive(Debug)]
pub struct Listener(Weak<LiveConnection>);

impl Listener {
    /// A listener; `None` if the level of the stream cannot be computed.
    pub(super) fn to(live: &Arc<LiveConnection>) -> Option<Self> {
        live.audio.get()?;
        live.meter.join();
        Some(Self(Arc::downgrade(live)))
    }

    /// Number of levels so far, and those of them after the first `seen` that are kept: at most the
    /// latest 100.
    #[must_use]
    pub fn since(&self, seen: u64) -> (u64, Vec<Level>) {
        let live = self.0.upgrade();
        live.map_or((seen, Vec::new()), |live| live.meter.since(seen))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(live) = self.0.upgrade() {
            live.meter.leave();
        }
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        self.connections.remove(&self.session.facts.session_id);
    }
}
