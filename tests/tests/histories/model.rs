//! What must be true of a history, by what its gateways said and what the servers have kept.
//!
//! A session *uses* a key from the moment when its gateway lets it in, until it ends. It *counts on*
//! the key for as long as its gateway also counts on its lease, without a gap, by its own clock. The
//! promise is that no two sessions count on one key at once. These are the exceptions, which
//! `host/docs/cluster.md` names:
//!
//! - A gateway whose lease has lapsed by its own clock lets its sessions go on until it has heard who
//!   has their keys. They use the key then, and do not count on it.
//! - A session that is evicted by another gateway's ends first. But nobody waits for its end if its
//!   gateway cannot be reached, or takes too long. So what it does after the eviction does not count
//!   if something happened to its gateway, to the one that evicts it, or to the servers.
//!
//! In the end, when nothing happens any more, each key has one user at most.

use std::collections::HashMap;

use cluster::Place;

use crate::said::{Event, Nanos, Waited, What, audio};

/// What was seen of a history.
pub struct Seen {
    /// What its gateways said, with their names.
    pub said: Vec<(String, Event)>,
    /// When something happened to a gateway, by its name.
    pub troubles: HashMap<String, Vec<(Nanos, Nanos)>>,
    /// When a gateway was killed.
    pub killed: HashMap<String, Nanos>,
    /// Where its stream is.
    pub place: Place,
}

/// Stream as the reference reader reads it: its writers in their order.
#[derive(Debug, Default)]
pub struct Stream {
    pub writers: Vec<Writer>,
    /// Number of bytes, once it has ended.
    pub end: Option<u64>,
}

/// What one writer has written.
#[derive(Debug)]
pub struct Writer {
    pub generation: u32,
    pub from: u64,
    pub bytes: Vec<u8>,
}

/// How often what is to be put to the test was.
#[derive(Debug, Default)]
pub struct Counts {
    pub bytes: u64,
    pub writers: usize,
    pub fenced: usize,
    pub grants: usize,
    pub lapses: usize,
    pub evictions: usize,
    pub incarnations: usize,
}

impl Counts {
    /// Sum of both.
    pub fn and(self, other: &Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            writers: self.writers + other.writers,
            fenced: self.fenced + other.fenced,
            grants: self.grants + other.grants,
            lapses: self.lapses + other.lapses,
            evictions: self.evictions + other.evictions,
            incarnations: self.incarnations + other.incarnations,
        }
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = [
            ("writers that were fenced off", self.fenced),
            ("keys of a lease that had lapsed", self.lapses),
            ("evictions", self.evictions),
            ("leases that were lost", self.incarnations),
        ];
        let none = all.into_iter().filter(|(_, count)| *count == 0);
        none.map(|(what, _)| what).collect()
    }
}

/// Session that has a key.
#[derive(Debug)]
struct Grant<'a> {
    gateway: &'a str,
    session: &'a str,
    key: &'a str,
    began: Nanos,
    at: Nanos,
    /// Time until which it counts on the key.
    until: Nanos,
    /// Time when it ended.
    ended: Nanos,
}

impl Writer {
    fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }
}

/// What is wrong with the stream.
pub fn judge_stream(seen: &Seen, stream: &Stream) -> Vec<String> {
    let mut faults = Vec::new();
    for writer in &stream.writers {
        let generation = writer.generation;
        if writer.bytes != audio(generation, writer.from, writer.bytes.len()) {
            faults.push(format!(
                "bytes {}..{} are not what generation {generation} sent",
                writer.from,
                writer.end()
            ));
        }
    }
    let of = |generation: u32| {
        let mut writers = stream.writers.iter();
        writers.find(|writer| writer.generation == generation)
    };
    for (name, event) in &seen.said {
        let fault = match event.what {
            What::Taken { generation, from } => match of(generation) {
                Some(writer) if writer.from == from => None,
                found => Some(format!(
                    "generation {generation} took the stream from {from}, and it is {:?}",
                    found.map(|writer| writer.from)
                )),
            },
            What::Acked { generation, bytes } => match of(generation) {
                Some(writer) if writer.end() >= bytes => None,
                found => Some(format!(
                    "generation {generation} acknowledged {bytes} bytes, and it ends at {:?}",
                    found.map(Writer::end)
                )),
            },
            What::Finished { generation, bytes } => {
                let last = stream.writers.last();
                let is_last = last.is_some_and(|last| last.generation == generation);
                (!is_last || stream.end != Some(bytes)).then(|| {
                    format!(
                        "generation {generation} ended it with {bytes} bytes, and its end is {:?}",
                        stream.end
                    )
                })
            }
            _ => None,
        };
        faults.extend(fault.map(|fault| format!("{name}: {fault}")));
    }
    faults
}

/// What is wrong with the claims.
pub fn judge_claims(seen: &Seen, outages: &[(Nanos, Nanos)]) -> Vec<String> {
    let grants = grants(seen, outages);
    let mut faults = Vec::new();
    for (number, one) in grants.iter().enumerate() {
        for other in &grants[number + 1..] {
            let is_apart = one.until <= other.at || other.until <= one.at;
            if one.key == other.key && !is_apart {
                faults.push(format!(
                    "{} and {} count on {:?} at once",
                    told(one),
                    told(other),
                    one.key
                ));
            }
        }
    }
    faults
}

/// How often what is to be put to the test was.
pub fn count(seen: &Seen, stream: &Stream, outages: &[(Nanos, Nanos)]) -> Counts {
    let grants = grants(seen, outages);
    let whats = || seen.said.iter().map(|(_, event)| &event.what);
    let lapses = grants.iter().filter(|one| {
        let mut others = grants.iter().filter(|other| other.key == one.key);
        // It was used while another gateway got it, and nobody counted on it.
        others.any(|other| one.until < other.at && other.at < one.ended && other.at > one.at)
    });
    let incarnations = whats().filter_map(|what| match what {
        What::Term { incarnation, .. } => Some(*incarnation),
        _ => None,
    });
    Counts {
        bytes: stream.end.unwrap_or_default(),
        writers: stream.writers.len(),
        fenced: whats()
            .filter(|what| matches!(what, What::Over { why, .. } if why.contains("taken")))
            .count(),
        grants: grants.len(),
        lapses: lapses.count(),
        evictions: whats()
            .filter(|what| matches!(what, What::Told { .. }))
            .count(),
        incarnations: incarnations.filter(|it| *it > 1).count(),
    }
}

fn told(grant: &Grant) -> String {
    format!(
        "{} at {} ({}..{})",
        grant.session, grant.gateway, grant.at, grant.until
    )
}

fn grants<'a>(seen: &'a Seen, outages: &[(Nanos, Nanos)]) -> Vec<Grant<'a>> {
    let mut grants = Vec::new();
    for (name, event) in &seen.said {
        let What::Granted {
            session,
            key,
            began,
            ..
        } = &event.what
        else {
            continue;
        };
        let killed = seen.killed.get(name).copied().unwrap_or(Nanos::MAX);
        let ended = seen.said.iter().find_map(|(_, event)| {
            let is_it = matches!(&event.what, What::Ended { session: of } if of == session);
            is_it.then_some(event.at)
        });
        let ended = ended.unwrap_or(Nanos::MAX).min(killed);
        grants.push(Grant {
            gateway: name,
            session,
            key,
            began: *began,
            at: event.at,
            until: ended.min(lease(seen, name, event.at)),
            ended,
        });
    }
    // What an eviction in trouble cuts short.
    for grant in &mut grants {
        let cut = seen.said.iter().filter_map(|(name, event)| {
            let What::Evicting { key, over, session } = &event.what else {
                return None;
            };
            let is_it = key == grant.key && over == grant.session && event.at >= grant.began;
            let until = |name: &str| seen.troubles.get(name).cloned().unwrap_or_default();
            let long = seen.said.iter().any(|(_, event)| {
                matches!(&event.what, What::Granted { session: of, waited: Waited::Long, .. }
                    if of == session)
            });
            let in_trouble = [until(name), until(grant.gateway), outages.to_vec()];
            let mut in_trouble = in_trouble.iter().flatten();
            let in_trouble =
                in_trouble.any(|(from, to)| *from <= event.at + SOON && event.at <= *to);
            (is_it && (in_trouble || long)).then_some(event.at)
        });
        grant.until = cut.fold(grant.until, Nanos::min);
    }
    grants
}

/// Time until which a gateway counts without a gap on the lease that it has at this time.
fn lease(seen: &Seen, gateway: &str, at: Nanos) -> Nanos {
    let said = seen.said.iter().filter(|(name, _)| name == gateway);
    let mut held: Option<(u64, Nanos, Nanos)> = None;
    for (_, event) in said {
        match event.what {
            What::Term {
                incarnation,
                since,
                until,
            } => {
                let term = (incarnation, since, until);
                held = match held {
                    // The latest one before.
                    _ if event.at <= at => Some(term),
                    Some(before) => {
                        let goes_on = before.0 == incarnation
                            && before.1.abs_diff(since) < SAME
                            && event.at <= before.2;
                        if !goes_on {
                            break;
                        }
                        Some(term)
                    }
                    None => break,
                };
            }
            What::NoTerm if event.at <= at => held = None,
            What::NoTerm => {
                let until = held.map_or(at, |held| held.2);
                return until.min(event.at);
            }
            _ => {}
        }
    }
    held.map_or(at, |held| held.2)
}

/// Time in which an eviction is told, if nothing is in its way.
const SOON: Nanos = 3_000_000_000;
/// Times that two clock readings say of one moment differ by less.
const SAME: Nanos = 50_000_000;
