//! What the schedules came to: every row of the table of close codes that a
//! connection can end with has to be among it.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::oracle::resumption;
use super::output::Said;
use super::run::Report;
use super::trace::Event;

#[derive(Default)]
pub struct Seen {
    /// Close codes, and what was said with them.
    ends: BTreeSet<(u16, String)>,
    resumptions: BTreeSet<&'static str>,
    /// A hash of all that happened, in whatever order the seeds were played.
    pub traces: u64,
}

/// The rows: a close code, and how its reason begins.
const ROWS: [(u16, &str); 53] = [
    (1000, "finalized"),
    (1000, "closed"),
    // The client's own.
    (1000, ""),
    (1001, "going away"),
    (3000, "g\u{fc}le g\u{fc}le"),
    (4999, "g\u{fc}le g\u{fc}le"),
    (1001, "the gateway is shutting down"),
    (1001, "the client does not read"),
    (1002, "the connection ended without a Close"),
    (1002, "message was not finished in time"),
    (1002, "frame is not masked"),
    (1002, "reserved bit is set"),
    (1002, "reserved opcode"),
    (1002, "control frame is fragmented"),
    (1002, "control frame is too long"),
    (1002, "length is not in its shortest form"),
    (1002, "continuation of no message"),
    (1002, "message inside a fragmented message"),
    (1002, "close body of one byte"),
    (1002, "close code that is never on the wire"),
    (1007, "text is not UTF-8"),
    (1009, "message is larger"),
    (1013, "the gateway is overloaded"),
    (1013, "too many attempts"),
    (4000, "Handshake invalid: "),
    (4000, "no handshake was received in time"),
    (4000, "Internal error"),
    (4001, "auth failed: token expired"),
    (4002, "Ingest already active"),
    (4003, "superseded by a newer connection"),
    (4003, "the stream goes on over another connection"),
    (4004, "no such route"),
    (4004, "no such place"),
    // A policy that gives no words.
    (4005, ""),
    (4005, "web pages of this origin may not connect"),
    (4006, "the upstream refused"),
    (4006, "the upstream refused the stream"),
    (4006, "the upstream did not open in time"),
    (4006, "the upstream takes nothing any more"),
    (4006, "the upstream is lost"),
    (4006, "the upstream closed the stream"),
    (4006, "the stream could not be completed"),
    (4007, "policy "),
    (4007, "admission took too long"),
    (4008, "nothing was received for too long"),
    (4009, "audio comes faster than this route allows"),
    (4009, "the stream is longer than this route allows"),
    (4010, "the token expired"),
    (4011, "this stream cannot be resumed: start afresh"),
    (4012, "the token cannot be checked at the moment"),
    // A policy's own, and an upstream's own.
    (4100, "x"),
    (4001, "no room"),
    (3000, super::upstream::CLOSE_REASON),
];

impl Seen {
    pub fn add(&mut self, report: &Report) {
        let mut hasher = DefaultHasher::new();
        report.schedule.seed.hash(&mut hasher);
        for entry in &report.entries {
            format!("{entry:?}").hash(&mut hasher);
            if let Event::Said(Said::Close { code, reason }) = &entry.event {
                self.ends.insert((*code, reason.clone()));
            }
        }
        self.traces = self.traces.wrapping_add(hasher.finish());
        self.resumptions.extend(resumption::kinds(report));
    }

    /// What should have been seen, and was not.
    pub fn missing(&self) -> Vec<String> {
        let saw = |row: &(u16, &str)| {
            let mut ends = self.ends.iter().filter(|(code, _)| *code == row.0);
            match row.1 {
                "" => ends.any(|(_, reason)| reason.is_empty()),
                begins => ends.any(|(_, reason)| reason.starts_with(begins)),
            }
        };
        let rows = ROWS.iter().filter(|row| !saw(row));
        let rows = rows.map(|(code, reason)| format!("{code} {reason}"));
        let kinds = resumption::ALL.iter();
        let kinds = kinds.filter(|kind| !self.resumptions.contains(*kind));
        rows.chain(kinds.map(|kind| (*kind).to_owned())).collect()
    }
}
