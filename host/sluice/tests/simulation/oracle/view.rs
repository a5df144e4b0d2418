//! One connection's part of a report.

use super::super::item::{Item, Meaning, Text};
use super::super::output::Said;
use super::super::run::Report;
use super::super::schedule::{Plan, Readiness, Reading, RouteKind, Schedule, Step};
use super::super::script::FOREIGN_ORIGIN;
use super::super::trace::{Entry, Event, Gone};

pub struct View<'a> {
    pub me: usize,
    pub schedule: &'a Schedule,
    pub plan: &'a Plan,
    pub entries: Vec<(u64, &'a Event)>,
    /// When the host had read how many bytes.
    pub reads: Vec<(u64, usize)>,
    /// What the client may send, each with the place of its first byte.
    pub items: Vec<(usize, &'a Item)>,
    report: &'a Report,
}

impl<'a> View<'a> {
    pub fn of(report: &'a Report, me: usize) -> Self {
        let schedule = &report.schedule;
        let plan = &schedule.connections[me];
        let mine = report.entries.iter().filter(|it| it.connection == me);
        let entries: Vec<_> = mine.map(|it| (it.at, &it.event)).collect();
        let mut total = 0;
        let reads = entries.iter().filter_map(|(at, event)| match event {
            Event::Read(count) => {
                total += count;
                Some((*at, total))
            }
            _ => None,
        });
        let reads = reads.collect();
        let mut place = 0;
        let sent = plan.script.iter().filter_map(|step| match step {
            Step::Send(item, _) => {
                let begins = place;
                place += item.bytes.0.len();
                Some((begins, item))
            }
            _ => None,
        });
        let items = sent.collect();
        Self {
            me,
            schedule,
            plan,
            entries,
            reads,
            items,
            report,
        }
    }

    /// Whether the connection was accepted beyond the places that there are.
    pub fn is_overload(&self) -> bool {
        self.first(|event| *event == Event::GotPlace(false))
            .is_some()
    }

    pub fn other(&self, me: usize) -> Self {
        Self::of(self.report, me)
    }

    pub fn others(&self) -> impl Iterator<Item = Self> {
        let all = 0..self.schedule.connections.len();
        all.filter(|other| *other != self.me)
            .map(|other| self.other(other))
    }

    /// The connection that began the stream of this one.
    pub fn stream_id(&self) -> usize {
        self.plan.returns.map_or(self.me, |returns| returns.stream)
    }

    /// What happened to all connections of its stream.
    pub fn stream(&self) -> impl Iterator<Item = &'a Entry> {
        let stream = self.stream_id();
        let plans = &self.report.schedule.connections;
        let of = move |it: &&Entry| {
            let returns = plans[it.connection].returns;
            returns.map_or(it.connection, |returns| returns.stream) == stream
        };
        self.report.entries.iter().filter(of)
    }

    /// To whom the token was told with which it comes back.
    pub fn presents(&self) -> Option<usize> {
        self.entries.iter().find_map(|(_, event)| match event {
            Event::Presents(told) => *told,
            _ => None,
        })
    }

    /// Whether a client that comes back is the one whose stream it names.
    pub fn is_owner(&self) -> bool {
        let stream = self.stream_id();
        let told = self.presents().map(|told| self.other(told).stream_id());
        let first = &self.schedule.connections[stream].connect[0];
        told == Some(stream) && first.attribute == self.plan.connect[0].attribute
    }

    pub fn origin_is_foreign(&self) -> bool {
        let request = self.items.first().map(|(_, item)| &item.bytes.0);
        let origin = FOREIGN_ORIGIN.as_bytes();
        request.is_some_and(|it| it.windows(origin.len()).any(|it| it == origin))
    }

    /// When the connection let go of its stream.
    pub fn parks(&self) -> Option<u64> {
        self.first(|event| *event == Event::Parks)
    }

    /// Whether the connection had a stream.
    pub fn streams(&self) -> bool {
        let began = |event: &Event| matches!(event, Event::Opened | Event::Takes);
        self.first(began).is_some()
    }

    /// The handshake that it sent.
    pub fn greeting(&self) -> Option<Text> {
        self.items.iter().find_map(|(_, item)| match item.meaning {
            Meaning::Text(text) if text.greets() => Some(text),
            _ => None,
        })
    }

    /// Whether its client may come back: it was told how, or would have been.
    pub fn is_resumable(&self) -> bool {
        let asked = self.greeting() == Some(Text::HandshakeToResume);
        let returns = self.plan.returns.is_some();
        self.is_ingest() && (returns || asked && self.schedule.bounds.resume_grace.is_some())
    }

    /// Whether something that an upstream says goes to the client as it is.
    /// Receipts of a stream that was away are told in one.
    pub fn passes(&self, said: &Said) -> bool {
        match said {
            Said::Text(_) | Said::Binary(_) => true,
            Said::Status(status) => status == "upstream_lost" && self.is_ingest(),
            Said::Kept { .. } => self.plan.returns.is_none(),
            _ => false,
        }
    }

    /// What the upstream said while its client was away, before this connection
    /// took the stream, and how much of that a connection before may have told
    /// it.
    pub fn said_away(&self) -> (usize, Vec<Said>) {
        let (mut had, mut away) = (0, Vec::new());
        if self.first(|event| *event == Event::Takes).is_none() {
            return (had, away);
        }
        for entry in self.stream() {
            match &entry.event {
                Event::Takes if entry.connection == self.me => break,
                Event::Takes => had = away.len(),
                Event::Away(Gone::Emitted(said)) if self.passes(said) => away.push(said.clone()),
                _ => {}
            }
        }
        (had, away)
    }

    /// When this connection counted as an attempt, if it did.
    fn attempted(&self) -> Option<u64> {
        let counts = matches!(self.plan.route, RouteKind::Ingest | RouteKind::BadSource);
        let counts = counts && self.request_is_valid() && !self.is_overload();
        counts.then(|| self.request_read()).flatten()
    }

    /// Attempts that were made before this one, and at the latest with it.
    pub fn attempts_before(&self) -> (usize, usize) {
        let Some(mine) = self.attempted() else {
            return (0, 0);
        };
        let all = 0..self.schedule.connections.len();
        let all = all.filter_map(|other| Self::of(self.report, other).attempted());
        let all: Vec<u64> = all.collect();
        let before = all.iter().filter(|at| **at < mine).count();
        let with_it = all.iter().filter(|at| **at <= mine).count();
        (before, with_it - 1)
    }

    /// When the first event of a kind happened.
    pub fn first(&self, is: impl Fn(&Event) -> bool) -> Option<u64> {
        let found = self.entries.iter().find(|(_, event)| is(event));
        found.map(|(at, _)| *at)
    }

    pub fn all(&self, is: impl Fn(&Event) -> bool) -> impl Iterator<Item = u64> {
        let found = self.entries.iter().filter(move |(_, event)| is(event));
        found.map(|(at, _)| *at)
    }

    /// When the host had read the byte before this place.
    pub fn read_at(&self, place: usize) -> Option<u64> {
        let index = self.reads.partition_point(|(_, total)| *total < place);
        self.reads.get(index).map(|(at, _)| *at)
    }

    pub fn said(&self) -> impl Iterator<Item = (u64, &'a Said)> {
        self.entries.iter().filter_map(|(at, event)| match event {
            Event::Said(said) => Some((*at, said)),
            _ => None,
        })
    }

    pub fn heads(&self) -> impl Iterator<Item = u16> {
        self.said().filter_map(|(_, said)| match said {
            Said::Head(status) => Some(*status),
            _ => None,
        })
    }

    pub fn upgraded(&self) -> Option<u64> {
        self.first(|event| *event == Event::Said(Said::Head(101)))
    }

    pub fn dropped(&self) -> Option<u64> {
        self.first(|event| matches!(event, Event::Dropped { .. }))
    }

    pub fn request_is_valid(&self) -> bool {
        matches!(self.items.first(), Some((_, item)) if item.meaning == Meaning::Upgrade)
    }

    /// When the host had read the whole request, if it is one.
    pub fn request_read(&self) -> Option<u64> {
        let (_, request) = self.items.first()?;
        let whole = matches!(request.meaning, Meaning::Upgrade | Meaning::NoUpgrade);
        whole.then(|| self.read_at(request.bytes.0.len())).flatten()
    }

    /// When the gateway was told to close everything.
    pub fn closes(&self) -> u64 {
        self.schedule.close_at
    }

    pub fn is_ingest(&self) -> bool {
        self.plan.route != RouteKind::Raw
    }

    /// Whether the host learned that the transport is broken.
    pub fn transport_broke(&self) -> bool {
        let broke = |event: &Event| matches!(event, Event::ReadFailed | Event::WriteFailed);
        self.first(broke).is_some()
    }

    pub fn client_is_slow(&self) -> bool {
        self.plan.reading != Reading::Eagerly
    }

    /// Whether the host is never held back, so that it acts on what it reads
    /// in the instant in which it reads it.
    pub fn is_free(&self) -> bool {
        !self.client_is_slow() && self.plan.link.ready == Readiness::Always
    }
}
