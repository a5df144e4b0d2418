//! A schedule: everything that happens to a gateway in one run, decided before
//! it starts. All times are milliseconds from the start of the run.
//!
//! Delays are even and the steps of a shutdown odd, so that the two never fall
//! on the same instant and the oracle need not guess which came first.

use std::time::Duration;

use base::limits::Limits;

use super::item::Item;

/// One run.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub seed: u64,
    pub bounds: Bounds,
    pub drain_at: Option<u64>,
    pub close_at: u64,
    /// Connections beyond so many are refused.
    pub places: usize,
    /// Streams that may wait for their clients at once.
    pub parking: usize,
    /// Attempts that the `ingest.v1` route allows one address in the whole run.
    pub attempts: Option<u32>,
    /// Connections that one address may have at once, and streams of it that may wait.
    pub per_client: usize,
    pub connections: Vec<Plan>,
}

/// The limits that differ between runs; all others are the defaults.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub max_message: usize,
    pub max_outbound: usize,
    pub max_discard: u64,
    /// In milliseconds, as the next two.
    pub max_duration: Option<u64>,
    pub max_ahead: Option<u64>,
    pub resume_grace: Option<u64>,
}

impl Bounds {
    pub fn limits(self) -> Limits {
        Limits {
            max_message: self.max_message,
            max_outbound: self.max_outbound,
            max_discard: self.max_discard,
            max_duration: self.max_duration.map(millis),
            max_ahead: self.max_ahead.map(millis),
            resume_grace: self.resume_grace.map(millis),
            ..Limits::default()
        }
    }
}

/// One connection: its client, and what policies and the upstream do with it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub start: u64,
    /// Where the client is.
    pub address: [u8; 4],
    pub route: RouteKind,
    /// The stream that the client comes back for.
    pub returns: Option<Return>,
    pub pipe: PipePlan,
    pub connect: [PolicyPlan; 2],
    pub handshake: PolicyPlan,
    /// What is answered about which window of the stream; others may go on.
    pub frames: Option<(u64, PolicyPlan)>,
    /// Whether the policy breaks that is told of the end.
    pub deaf: bool,
    pub link: LinkPlan,
    pub reading: Reading,
    pub on_close: OnClose,
    pub script: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// `ingest.v1`.
    Ingest,
    /// Messages pass as they are.
    Raw,
    /// No route has the path.
    Nowhere,
    /// `ingest.v1`, with a source in the query that there is not.
    BadSource,
}

/// A client that comes back.
#[derive(Debug, Clone, Copy)]
pub struct Return {
    /// The connection that began the stream.
    pub stream: usize,
    pub token: Token,
}

/// With which token a client comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// The last one that a client of its stream was told.
    Last,
    /// The first one: it may have been used.
    First,
    /// The last one of another stream.
    Foreign(usize),
    /// One that nobody was told.
    Unknown,
}

/// How a transport behaves.
#[derive(Debug, Clone, Copy)]
pub struct PipePlan {
    /// Bytes that wait to be read by the host at most.
    pub up: usize,
    /// Bytes that wait to be read by the client at most.
    pub down: usize,
    /// Bytes that one read of the host takes at most.
    pub read: usize,
    /// Bytes that one write of the host places at most.
    pub write: usize,
    /// One poll in so many is pending for no reason; 0 for none.
    pub stutter: u32,
}

#[derive(Debug, Clone)]
pub struct PolicyPlan {
    pub before: u64,
    pub claim: Option<ClaimPlan>,
    pub after: u64,
    pub attribute: bool,
    /// Leaves an expiry that has passed.
    pub expired: bool,
    pub act: Act,
}

impl PolicyPlan {
    /// Accepts at once.
    pub fn accepts() -> Self {
        Self {
            before: 0,
            claim: None,
            after: 0,
            attribute: false,
            expired: false,
            act: Act::Accept,
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct ClaimPlan {
    pub key: u8,
    pub takeover: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Accept,
    Reject(u16),
    Trap,
    OutOfTime,
    Busy,
    KeysUnavailable,
    Panic,
}

#[derive(Debug, Clone)]
pub struct LinkPlan {
    pub open_after: u64,
    pub open: Open,
    pub ready: Readiness,
    pub echo: bool,
    pub talk: Option<Talk>,
    /// Says so often how much is safe, to whoever asked.
    pub receipts: Option<u64>,
    /// Says after so long that what is behind it is away.
    pub away_after: Option<u64>,
    /// Sends one more message to a stream that is complete, after so long.
    pub last_message: Option<u64>,
    /// Closes after so long, with this code.
    pub closes: Option<(u64, u16)>,
    pub fault: Option<Fault>,
    pub seal_after: u64,
    pub seal: Seal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    Succeeds,
    Fails,
    Panics,
    /// With its own message, and with this code.
    Refuses(u16),
    NoPlace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Always,
    /// Not for so long after each message.
    Every(u64),
    /// Never again after so many messages.
    Until(usize),
}

/// What an upstream says by itself.
#[derive(Debug, Clone, Copy)]
pub struct Talk {
    pub every: u64,
    pub bytes: usize,
    pub times: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Once it has taken so many messages.
    LostAt(usize),
    /// So long after it was opened.
    LostAfter(u64),
    PanicAt(usize),
    PanicInSend(usize),
    PanicAfter(u64),
    /// In the call, not in the future that it returns.
    PanicInSeal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    Succeeds,
    Fails,
    Never,
}

/// How a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    Eagerly,
    /// Not while it waits to send: who is busy sending reads only when somebody
    /// takes what it sends.
    BetweenSends,
    Slowly {
        bytes: usize,
        pause: u64,
    },
    /// Not any more after so many bytes.
    Until(usize),
    /// After so many bytes not for so long.
    Rests {
        after: usize,
        pause: u64,
    },
}

/// What a client does when it sees the host's Close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnClose {
    Reply,
    Leave,
    GoOn,
}

#[derive(Debug, Clone)]
pub enum Step {
    Send(Item, Pace),
    Wait(u64),
    AwaitUpgrade,
    /// The ack, or whatever else is the first text.
    AwaitText,
    HalfClose,
    Reset,
    Leave,
}

/// In which pieces something is written.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub bytes: usize,
    pub pause: u64,
}

pub fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
