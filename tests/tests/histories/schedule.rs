//! What happens in a history, made from its seed, and what happens to the servers meanwhile.

use std::time::Duration;

use fastrand::Rng;
use sluice_tests::proxy::Fault;

use crate::said::Manner;

/// Number of gateways of a history.
pub const GATEWAYS: usize = 3;
/// Number of keys of a history.
pub const KEYS: usize = 2;
/// Number of histories that are played side by side, with the same faults of the servers.
pub const BATCH: u64 = 5;
/// Time without faults at the beginning and at the end of a history.
const QUIET: u64 = 500;

/// One step of a history.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// A session at this gateway wants this key.
    Claim {
        gateway: usize,
        key: usize,
        manner: Manner,
        patience_ms: u64,
    },
    /// The session that has this key ends.
    Release { key: usize },
    /// The client of the stream comes to this gateway.
    Take { gateway: usize },
    /// Something happens to this gateway.
    Begin { gateway: usize, fault: Trouble },
    /// It is over.
    End { gateway: usize, fault: Trouble },
}

/// What happens to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its process stands still.
    StandsStill,
    /// Its process is killed, and another one starts.
    Killed,
    /// Its connections to the servers.
    Network(Fault),
}

/// What happens to the servers during a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// The leader of these messages is killed, and starts again.
    Killed(Messages),
    /// The leader of these messages stands still.
    StandsStill(Messages),
    /// The leader of these messages is cut off from the others, which stand still.
    CutOff(Messages),
    /// Nothing.
    Nothing,
}

/// Messages of a stream of `JetStream`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Messages {
    Claims,
    Chains,
}

/// Outages of the batches, in turn. The first ones, which few histories come to, have one of each kind.
const OUTAGES: [Outage; 7] = [
    Outage::Killed(Messages::Claims),
    Outage::CutOff(Messages::Chains),
    Outage::StandsStill(Messages::Claims),
    Outage::Nothing,
    Outage::CutOff(Messages::Claims),
    Outage::Killed(Messages::Chains),
    Outage::StandsStill(Messages::Chains),
];

/// What happens to the servers during the batch of a history, for how long.
pub fn outage(seed: u64) -> (Outage, Duration) {
    let batch = seed / BATCH;
    let place = usize::try_from(batch).unwrap() % OUTAGES.len();
    let lasts = Rng::with_seed(batch).u64(2500..5500);
    (OUTAGES[place], Duration::from_millis(lasts))
}

/// Time of a history, in milliseconds. The servers need some seconds to elect another leader.
pub fn lasts(seed: u64) -> u64 {
    match outage(seed).0 {
        Outage::Killed(_) | Outage::StandsStill(_) => 13_000,
        Outage::CutOff(_) => 10_000,
        Outage::Nothing => 8_000,
    }
}

/// Steps of a history, with their times in milliseconds.
pub fn steps(seed: u64) -> Vec<(u64, Step)> {
    let mut rng = Rng::with_seed(seed);
    let lasts = lasts(seed);
    let mut steps = Vec::new();
    let mut at = 0;
    while at < lasts {
        let (gateway, key) = (rng.usize(..GATEWAYS), rng.usize(..KEYS));
        let manner = match rng.u8(..4) {
            0 => Manner::Evicts,
            _ => Manner::Waits,
        };
        let claim = Step::Claim {
            gateway,
            key,
            manner,
            patience_ms: rng.u64(500..6000),
        };
        let step = match rng.u8(..5) {
            0 => Step::Release { key },
            _ => claim,
        };
        steps.push((at, step));
        at += rng.u64(100..700);
    }
    at = rng.u64(500..2500);
    while at < lasts {
        let gateway = rng.usize(..GATEWAYS);
        steps.push((at, Step::Take { gateway }));
        at += rng.u64(500..3000);
    }
    for gateway in 0..GATEWAYS {
        at = QUIET + rng.u64(..lasts / 2);
        while at + QUIET < lasts {
            let fault = trouble(&mut rng);
            let end = (at + rng.u64(300..6000)).min(lasts - QUIET);
            steps.push((at, Step::Begin { gateway, fault }));
            steps.push((end, Step::End { gateway, fault }));
            at = end + rng.u64(500..lasts);
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    steps
}

fn trouble(rng: &mut Rng) -> Trouble {
    match rng.u8(..8) {
        0 | 1 => Trouble::StandsStill,
        2 => Trouble::Killed,
        3 => Trouble::Network(Fault::Stall),
        4 => Trouble::Network(Fault::BlackHole),
        5 => Trouble::Network(Fault::Mute),
        6 => Trouble::Network(Fault::Cut),
        _ => Trouble::Network(Fault::Latency(Duration::from_millis(rng.u64(10..150)))),
    }
}
