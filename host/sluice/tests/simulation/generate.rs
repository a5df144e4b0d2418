//! Makes a schedule from a seed.

use fastrand::Rng;

use super::schedule::{
    Act, Bounds, ClaimPlan, Fault, LinkPlan, OnClose, Open, PipePlan, Plan, PolicyPlan, Readiness,
    Reading, RouteKind, Schedule, Seal, Step, Talk,
};
use super::script;

mod returns;

pub fn schedule(seed: u64) -> Schedule {
    let mut rng = Rng::with_seed(seed);
    let rng = &mut rng;
    let bounds = Bounds {
        max_message: pick(rng, &[300, 4096, 20_000]),
        max_outbound: pick(rng, &[200, 2000, 64 * 1024]),
        max_discard: pick(rng, &[100, 5000, 16 * 1024 * 1024]),
        max_duration: chance(rng, 6).then(|| pick(rng, &[1000, 6000, 40_000])),
        max_ahead: chance(rng, 10).then(|| pick(rng, &[0, 20, 60, 1000])),
        resume_grace: pick(rng, &[None, Some(2000), Some(30_000), Some(30_000)]),
    };
    // Past everything that ends by itself, unless it is to cut in.
    let close_at = match rng.u8(..10) {
        0..3 => odd(rng, 8000),
        3 => odd(rng, 120_000),
        _ => 600_001,
    };
    let drain_at = chance(rng, 30).then(|| odd(rng, 6000).min(close_at));
    let count = pick(rng, &[1, 1, 1, 2, 2, 3, 4, 5]);
    let mut connections: Vec<_> = (0..count).map(|n| plan(rng, n, bounds)).collect();
    if chance(rng, 30) {
        rival(rng, &mut connections);
    }
    if chance(rng, 25) {
        connections = returns::connections(rng, bounds);
    }
    Schedule {
        seed,
        bounds,
        drain_at,
        close_at,
        parking: pick(rng, &[0, 1, 8, 8, 8]),
        places: pick(rng, &[1, 2, 8, 8, 8]),
        attempts: pick(rng, &[None, None, None, Some(1), Some(3)]),
        per_client: usize::MAX,
        connections,
    }
}

/// One client by itself, and the same client as the last of those of a seed, who are all one
/// other client. There is plenty of what they share, and little of what each client has for
/// itself: the others use that up, and it must make no difference.
pub fn neighbours(seed: u64) -> (Schedule, Schedule) {
    const ITS_OWN_KEY: u8 = 200;
    let mut others = schedule(seed);
    let connections = std::mem::take(&mut others.connections);
    let mut rng = Rng::with_seed(!seed);
    let mut mine = plan(&mut rng, connections.len(), others.bounds);
    mine.pipe.stutter = 0;
    mine.address = [127, 0, 0, 2];
    // Whose policies say who it is has its share by that, wherever it is.
    mine.connect[0].attribute = false;
    let policies = mine.connect.iter_mut().chain([&mut mine.handshake]);
    for claim in policies.filter_map(|policy| policy.claim.as_mut()) {
        claim.key = ITS_OWN_KEY;
    }
    let alone = Schedule {
        drain_at: None,
        close_at: 600_001,
        places: 16,
        parking: 16,
        per_client: pick(&mut rng, &[1, 2, 16]),
        connections: vec![mine.clone()],
        ..others
    };
    let mut among = alone.clone();
    among.connections = connections;
    among.connections.push(mine);
    (alone, among)
}

/// Everybody wants the same key, while those who had it still seal.
fn rival(rng: &mut Rng, connections: &mut [Plan]) {
    for plan in connections {
        plan.start = even(rng, 6000);
        plan.connect[0].claim = Some(ClaimPlan {
            key: 0,
            takeover: true,
        });
        plan.link.seal_after = even(rng, 8000);
    }
}

fn plan(rng: &mut Rng, n: usize, bounds: Bounds) -> Plan {
    let route = match rng.u8(..40) {
        0..28 => RouteKind::Ingest,
        28..37 => RouteKind::Raw,
        37 => RouteKind::Nowhere,
        _ => RouteKind::BadSource,
    };
    let link = link(rng);
    let script = script::script(rng, n, route, bounds);
    Plan {
        start: if chance(rng, 40) { 0 } else { even(rng, 3000) },
        address: [127, 0, 0, 1],
        route,
        returns: None,
        pipe: pipe(rng, &link, &script),
        connect: [policy(rng), policy(rng)],
        handshake: policy(rng),
        frames: chance(rng, 15).then(|| (rng.u64(..4), about_frames(rng))),
        deaf: chance(rng, 10),
        link,
        reading: reading(rng),
        on_close: pick(
            rng,
            &[
                OnClose::Reply,
                OnClose::Reply,
                OnClose::Leave,
                OnClose::GoOn,
            ],
        ),
        script,
    }
}

/// Pipe with a tiny buffer, but not so tiny that it takes many thousands of polls to get everything
/// through.
fn pipe(rng: &mut Rng, link: &LinkPlan, script: &[Step]) -> PipePlan {
    let sent = script.iter().map(|step| match step {
        Step::Send(item, _) => item.bytes.0.len(),
        _ => 0,
    });
    let up = sent.sum::<usize>();
    let talk = link.talk.map_or(0, |talk| talk.bytes * talk.times as usize);
    let down = talk + if link.echo { up } else { 0 };
    PipePlan {
        up: pick(rng, &[16, 200, 4096, 64 * 1024]).max(up / 300),
        down: pick(rng, &[8, 200, 4096, 64 * 1024]).max(down / 300),
        read: pick(rng, &[1, 7, 100, 4096, 64 * 1024, 64 * 1024]),
        write: pick(rng, &[1, 7, 100, 64 * 1024, 64 * 1024]),
        stutter: pick(rng, &[0, 0, 2, 5, 20]),
    }
}

fn policy(rng: &mut Rng) -> PolicyPlan {
    let act = if chance(rng, 88) {
        Act::Accept
    } else {
        let rejected = pick(rng, &[4001, 4002, 4005, 4100]);
        let acts = [
            Act::Reject(rejected),
            Act::Reject(rejected),
            Act::Trap,
            Act::OutOfTime,
            Act::Busy,
            Act::KeysUnavailable,
            Act::Panic,
        ];
        pick(rng, &acts)
    };
    PolicyPlan {
        before: delay(rng),
        claim: chance(rng, 30).then(|| ClaimPlan {
            key: rng.u8(..3),
            takeover: chance(rng, 60),
        }),
        after: delay(rng),
        attribute: chance(rng, 20),
        expired: chance(rng, 2),
        act,
    }
}

/// A stream that is under way claims nothing: nobody would wait for the loser.
fn about_frames(rng: &mut Rng) -> PolicyPlan {
    PolicyPlan {
        claim: None,
        expired: false,
        ..policy(rng)
    }
}

/// Mostly none; now and then longer than the whole admission may take.
fn delay(rng: &mut Rng) -> u64 {
    match rng.u8(..20) {
        0..12 => 0,
        12..16 => even(rng, 100),
        16..19 => even(rng, 2000),
        _ => even(rng, 10_000),
    }
}

fn link(rng: &mut Rng) -> LinkPlan {
    let at = rng.usize(..8);
    let after = even(rng, 4000);
    let faults = [
        Fault::LostAt(at),
        Fault::LostAfter(after),
        Fault::PanicAt(at),
        Fault::PanicInSend(at),
        Fault::PanicAfter(after),
        Fault::PanicInSeal,
    ];
    LinkPlan {
        open_after: delay(rng),
        open: match rng.u8(..100) {
            0..3 => Open::Fails,
            3..5 => Open::Panics,
            5 => Open::NoPlace,
            6..8 => Open::Refuses(pick(rng, &[1000, 1008, 3000, 4001, 4999])),
            _ => Open::Succeeds,
        },
        ready: match rng.u8(..20) {
            0..14 => Readiness::Always,
            14..18 => {
                let below = pick(rng, &[500, 500, 500, 120_000]);
                Readiness::Every(even(rng, below).max(2))
            }
            _ => Readiness::Until(rng.usize(..6)),
        },
        echo: chance(rng, 30),
        talk: chance(rng, 25).then(|| Talk {
            every: even(rng, 400).max(2),
            bytes: pick(rng, &[0, 10, 130, 3000, 70_000]),
            times: rng.u32(1..30),
        }),
        receipts: chance(rng, 50).then(|| even(rng, 1000).max(20)),
        away_after: chance(rng, 5).then(|| even(rng, 4000)),
        last_message: chance(rng, 25).then(|| match rng.u8(..10) {
            0 => even(rng, 60_000),
            1..4 => even(rng, 5000),
            _ => 0,
        }),
        closes: chance(rng, 6).then(|| {
            let code = pick(rng, &[1000, 1001, 1011, 3000, 4999]);
            (even(rng, 4000), code)
        }),
        fault: chance(rng, 12).then(|| pick(rng, &faults)),
        seal_after: match rng.u8(..20) {
            0..12 => 0,
            12..17 => even(rng, 1000),
            17..19 => even(rng, 8000),
            _ => even(rng, 60_000),
        },
        seal: match rng.u8(..20) {
            0 => Seal::Fails,
            1 => Seal::Never,
            _ => Seal::Succeeds,
        },
    }
}

fn reading(rng: &mut Rng) -> Reading {
    match rng.u8(..20) {
        0..12 => Reading::Eagerly,
        12..14 => Reading::BetweenSends,
        14..17 => {
            let bytes = pick(rng, &[1, 20, 500]);
            let pause = even(rng, 200).max(40);
            Reading::Slowly { bytes, pause }
        }
        // Around what the host has patience for.
        17 => Reading::Rests {
            after: pick(rng, &[129, 400, 5000]),
            pause: pick(rng, &[500, 30_000, 30_040, 30_080, 30_100, 30_400, 31_000]),
        },
        _ => Reading::Until(pick(rng, &[1, 129, 200, 400, 5000])),
    }
}

pub fn chance(rng: &mut Rng, percent: u8) -> bool {
    rng.u8(..100) < percent
}

pub fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

pub fn even(rng: &mut Rng, below: u64) -> u64 {
    rng.u64(..below) / 2 * 2
}

fn odd(rng: &mut Rng, below: u64) -> u64 {
    even(rng, below) + 1
}
