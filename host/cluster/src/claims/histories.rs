//! Histories of claims, made from seeds, with servers in memory and a clock that is moved at will.
//!
//! Real servers fail in few ways in the time of a test. Here they lose answers, are cut off, and answer
//! with what they had, at any moment and for as long as leases live.

use std::time::Duration;

use fastrand::Rng;
use session::registry::SessionGuard;
use tokio::time::sleep;

use super::fake::Server;
use super::lease::Term;
use super::tests::Node;

/// Number of histories.
const RUNS: u64 = 60;
/// Number of steps of each.
const STEPS: usize = 80;
/// Interval in which it is checked who counts on the key.
const CHECK: Duration = Duration::from_millis(250);

/// Session that was let in with the key.
struct Holder {
    node: usize,
    guard: SessionGuard,
    /// The lease at that time.
    term: Term,
}

/// Gateways that want one key, and who has it.
struct World {
    nodes: [Node; 3],
    holders: Vec<Holder>,
    grants: usize,
    lapses: usize,
}

impl World {
    fn start() -> Self {
        let first = Node::start("one", super::fake::Fake::new());
        let another = |name| Node::start(name, first.records.another());
        let others = [another("two"), another("three")];
        let [second, third] = others;
        Self {
            nodes: [first, second, third],
            holders: Vec::new(),
            grants: 0,
            lapses: 0,
        }
    }

    fn term(&self, node: usize) -> Option<Term> {
        *self.nodes[node].claims.0.lease.terms().borrow()
    }

    /// Whether a session counts on its key: its gateway does on the lease of then, without a gap.
    fn counts(&self, holder: &Holder) -> bool {
        let is_it = |term: Term| {
            let same =
                (term.incarnation, term.since) == (holder.term.incarnation, holder.term.since);
            same && self.nodes[holder.node]
                .claims
                .0
                .lease
                .holds(term.incarnation)
        };
        !holder.guard.session().is_evicted() && self.term(holder.node).is_some_and(is_it)
    }

    fn check(&self, seed: u64) {
        let counting = self.holders.iter().filter(|holder| self.counts(holder));
        let counting: Vec<_> = counting.map(|holder| holder.node).collect();
        assert!(
            counting.len() <= 1,
            "seed {seed}: the gateways {counting:?} have the key"
        );
    }

    /// Lets time pass, and checks meanwhile.
    async fn passes(&mut self, mut time: Duration, seed: u64) {
        while !time.is_zero() {
            let some = time.min(CHECK);
            sleep(some).await;
            self.check(seed);
            time -= some;
        }
        // A session that was told ends.
        let is_told = |holder: &Holder| holder.guard.session().is_evicted();
        self.holders.retain(|holder| !is_told(holder));
    }

    async fn step(&mut self, rng: &mut Rng, seed: u64, number: usize) {
        let node = rng.usize(..self.nodes.len());
        match rng.u8(..10) {
            0..4 => self.claims(node, &format!("{number}")).await,
            4 if !self.holders.is_empty() => {
                let holder = rng.usize(..self.holders.len());
                self.holders.swap_remove(holder);
            }
            5 | 6 => self.nodes[node].records.is_alone(None),
            _ => {
                let server = [
                    Server::Away,
                    Server::Mute,
                    Server::HalfMute,
                    Server::CutOff,
                    Server::Lags,
                ];
                let server = server[rng.usize(..server.len())];
                self.nodes[node].records.is_alone(Some(server));
            }
        }
        self.check(seed);
        self.passes(Duration::from_millis(rng.u64(..9000)), seed)
            .await;
    }

    async fn claims(&mut self, node: usize, id: &str) {
        let guard = session::testing::start(&self.nodes[node].registry, id);
        if self.nodes[node].claim(&guard, "k").await.is_err() {
            return;
        }
        let Some(term) = self.term(node) else { return };
        self.grants += 1;
        let others = self.holders.iter().filter(|holder| holder.node != node);
        self.lapses += others.filter(|holder| !self.counts(holder)).count();
        self.holders.push(Holder { node, guard, term });
    }
}

#[test]
fn no_history_of_failing_servers_gives_a_key_to_two_gateways_that_hold_their_leases() {
    let (mut grants, mut lapses) = (0, 0);
    for seed in 0..RUNS {
        // With its own runtime, which ends what its gateways do in the background.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let world = runtime.unwrap().block_on(play(seed));
        grants += world.grants;
        lapses += world.lapses;
    }
    // What was never put to the test is not kept.
    assert!(
        grants > 200 && lapses > 10,
        "{grants} grants, {lapses} lapses"
    );
}

async fn play(seed: u64) -> World {
    fastrand::seed(seed);
    let mut rng = Rng::with_seed(seed);
    let mut world = World::start();
    for number in 0..STEPS {
        world.step(&mut rng, seed, number).await;
    }
    // In the end the servers answer, and the key has one user at most.
    for node in &world.nodes {
        node.records.is_alone(None);
    }
    world.passes(Duration::from_secs(45), seed).await;
    let users = world.holders.len();
    assert!(users <= 1, "seed {seed}: the key has {users} users");
    world
}
