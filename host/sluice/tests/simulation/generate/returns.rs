//! Clients that are cut off, and come back for their streams.

use fastrand::Rng;

use super::super::schedule::{
    Bounds, ClaimPlan, OnClose, Open, Plan, PolicyPlan, Readiness, Reading, Return, RouteKind,
    Token,
};
use super::super::script;
use super::{chance, even, pick, pipe, plan};

/// A stream or two, clients that come back for them, and now and then somebody
/// else who wants the same key.
pub fn connections(rng: &mut Rng, bounds: Bounds) -> Vec<Plan> {
    let streams = pick(rng, &[1, 1, 1, 2]);
    let mut connections = Vec::new();
    for n in 0..streams {
        connections.push(first(rng, n, bounds));
    }
    let mut start = 0;
    for _ in 0..rng.usize(1..4) {
        let below = pick(rng, &[200, 3000, 3000, 12_000, 40_000, 130_000]);
        start += even(rng, below);
        let stream = rng.usize(..streams);
        let token = match rng.u8(..20) {
            0 => Token::Unknown,
            1 => Token::Foreign((stream + 1) % streams),
            2..5 => Token::First,
            _ => Token::Last,
        };
        let before = connections[stream].clone();
        let back = Return { stream, token };
        connections.push(again(rng, start, before, back, bounds));
    }
    if chance(rng, 25) {
        let mut rival = plan(rng, connections.len(), bounds);
        rival.start = even(rng, 20_000);
        rival.connect[0].claim = Some(ClaimPlan {
            key: 0,
            takeover: true,
        });
        connections.push(rival);
    }
    connections
}

/// It mostly gets as far as its ack.
fn first(rng: &mut Rng, n: usize, bounds: Bounds) -> Plan {
    let mut plan = plan(rng, n, bounds);
    for policy in policies(&mut plan) {
        if chance(rng, 90) {
            *policy = PolicyPlan::accepts();
        }
    }
    if chance(rng, 60) {
        plan.connect[0].claim = Some(ClaimPlan {
            key: n as u8,
            takeover: chance(rng, 50),
        });
    }
    plan.connect[0].attribute = chance(rng, 50);
    if chance(rng, 90) {
        plan.link.open = Open::Succeeds;
        plan.link.open_after = 0;
    }
    if chance(rng, 80) {
        plan.link.fault = None;
        plan.link.ready = Readiness::Always;
    }
    // Who comes back does not find it in the middle of a rest.
    if matches!(plan.link.ready, Readiness::Every(rest) if rest >= 30_000) {
        plan.link.ready = Readiness::Every(500);
    }
    if chance(rng, 80) {
        plan.link.closes = None;
    }
    plan.start = even(rng, 400);
    speaks(rng, &mut plan, n, None, bounds);
    plan
}

/// The same client, as far as it can be told.
fn again(rng: &mut Rng, start: u64, before: Plan, back: Return, bounds: Bounds) -> Plan {
    let mut plan = Plan {
        start: before.start + start,
        returns: Some(back),
        ..before
    };
    if chance(rng, 5) {
        plan.connect[0].attribute = !plan.connect[0].attribute;
    }
    if chance(rng, 10) {
        plan.handshake = super::policy(rng);
    }
    speaks(rng, &mut plan, back.stream, Some(back), bounds);
    plan
}

fn policies(plan: &mut Plan) -> impl Iterator<Item = &mut PolicyPlan> {
    plan.connect.iter_mut().chain([&mut plan.handshake])
}

fn speaks(rng: &mut Rng, plan: &mut Plan, n: usize, back: Option<Return>, bounds: Bounds) {
    plan.route = RouteKind::Ingest;
    plan.script = script::speech(rng, n, back, bounds);
    plan.pipe = pipe(rng, &plan.link, &plan.script);
    plan.reading = match rng.u8(..10) {
        0 => Reading::Until(pick(rng, &[1, 400, 700, 5000])),
        1 => super::reading(rng),
        _ => Reading::Eagerly,
    };
    plan.on_close = pick(rng, &[OnClose::Reply, OnClose::Leave, OnClose::GoOn]);
}
