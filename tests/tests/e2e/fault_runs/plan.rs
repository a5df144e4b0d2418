//! What befalls the lines of one run, and when.

use std::time::Duration;

use sluice_tests::proxy::{Fault, Proxy};

/// Faults, each at the byte of the stream that the client has come to.
pub struct Plan(Vec<(usize, Stroke)>);

/// Something that happens to one of the two lines.
#[derive(Debug, Clone, Copy)]
pub struct Stroke {
    line: Line,
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    OfTheClient,
    OfTheBackend,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// From now on.
    Becomes(Fault),
    /// All that is open ends with RST, and what comes is in order.
    Breaks,
}

impl Plan {
    /// The plan of a seed, for a stream of so many bytes.
    pub fn of(seed: u64, length: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut strokes = Vec::new();
        let mut at = 0;
        for _ in 0..random.usize(1..5) {
            at += random.usize(0..length / 3);
            let line = random
                .choice([Line::OfTheClient, Line::OfTheBackend])
                .unwrap_or(Line::OfTheClient);
            let later = at + random.usize(1..40_000);
            let fault = |what| Stroke { line, what };
            let breaks = fault(What::Breaks);
            let becomes = |what| fault(What::Becomes(what));
            let (first, then) = match random.u8(0..7) {
                0 => (breaks, None),
                1 => (becomes(Fault::Cut), Some(becomes(Fault::None))),
                2 => (becomes(Fault::Reset), Some(becomes(Fault::None))),
                3 => (becomes(Fault::Stall), Some(becomes(Fault::None))),
                4 => (becomes(Fault::BlackHole), Some(breaks)),
                5 => (
                    becomes(Fault::CutAfter(random.usize(0..50_000))),
                    Some(becomes(Fault::None)),
                ),
                _ => (
                    becomes(Fault::Latency(Duration::from_millis(1))),
                    Some(becomes(Fault::None)),
                ),
            };
            strokes.push((at.min(length), first));
            if let Some(then) = then {
                strokes.push((later.min(length), then));
                at = later;
            }
        }
        Self(strokes)
    }

    /// The next stroke that is due where the client has come to `sent`.
    pub fn next(&mut self, sent: usize) -> Option<Stroke> {
        let due = self.0.first().is_some_and(|(at, _)| *at <= sent);
        due.then(|| self.0.remove(0).1)
    }
}

impl Stroke {
    /// Does it.
    pub fn befall(self, client: &Proxy, backend: &Proxy) {
        let line = match self.line {
            Line::OfTheClient => client,
            Line::OfTheBackend => backend,
        };
        match self.what {
            What::Becomes(fault) => line.set(fault),
            What::Breaks => {
                line.reset_all();
                line.set(Fault::None);
            }
        }
    }
}
