//! Policies whose claims other gateways may hold.

use std::collections::VecDeque;
use std::sync::Mutex;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::*;
use crate::Chain;
use crate::counters::{Account, Change, Counters};
use crate::destinations::Destinations;
use crate::lists::Lists;
use crate::record::notes::Notes;
use crate::window::Window;
use crate::world::{Live, World};
use base::rejection::Rejection;
use keys::KeySets;
use session::registry::shared::{Granted, Over, SharedClaim, SharedClaimError, SharedClaims};
use session::registry::{ClaimError, Holder, SessionGuard};
use session::testing::start;

/// Other gateways, which answer what they are told to.
#[derive(Debug, Default)]
struct Others {
    answers: Mutex<VecDeque<SharedClaimError>>,
    claimed: Mutex<Vec<(String, Over)>>,
}

impl SharedClaims for Others {
    fn claim(
        &self,
        claim: SharedClaim,
        over: Over,
    ) -> BoxFuture<'static, Result<Granted, SharedClaimError>> {
        self.claimed.lock().unwrap().push((claim.key, over));
        let answer = match self.answers.lock().unwrap().pop_front() {
            Some(error) => Err(error),
            None => Ok(Granted::Now(None)),
        };
        std::future::ready(answer).boxed()
    }

    fn follow(&self, _: &str) {}

    fn leave(&self, _: &str, _: &Arc<str>) {}

    fn let_go(&self, _: &str, _: &str, _: &str) {}

    fn close(&self) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }
}

/// What a policy does about a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Refuses,
    Evicts,
}

/// Policy that claims a key, and counts its calls.
struct Claiming {
    name: Arc<str>,
    mode: Mode,
    world: Arc<dyn World>,
    calls: Mutex<Vec<String>>,
}

impl Claiming {
    fn decide(&self, session: &Arc<Session>, world: &dyn World) -> Verdict {
        let life = Duration::from_mins(1);
        let count = |key, change| world.count(Account::of("claiming", 9), key, change);
        count("calls", Change::Add { amount: 1, life }).unwrap();
        count("last", Change::Replace { value: 7, life }).unwrap();
        session
            .facts
            .set_attribute("claiming", "was", "here".to_owned())
            .unwrap();
        let holder = match world.claim(session, "k") {
            Ok(()) => {
                self.calls.lock().unwrap().push("free".to_owned());
                return Verdict::Accept;
            }
            Err(ClaimError::Held(holder)) => holder.session_id,
            Err(error) => panic!("{error}"),
        };
        self.calls.lock().unwrap().push(holder.clone());
        let notice = Rejection::new(4003, "superseded", "superseded");
        match self.mode {
            Mode::Evicts if world.evict(session, "k", &holder, notice).is_ok() => Verdict::Accept,
            _ => Verdict::Reject(Rejection::new(4002, "ingest_exists", "exists")),
        }
    }
}

impl Policy for Claiming {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Closed
    }

    fn ask<'a>(&'a self, _: &'a Arc<Session>, _: &'a Question) -> BoxFuture<'a, Verdict> {
        unreachable!("it is asked with notes")
    }

    fn ask_noted<'a>(
        &'a self,
        session: &'a Arc<Session>,
        _: &'a Question,
        notes: &'a Notes,
    ) -> BoxFuture<'a, Verdict> {
        let world = notes.of(&self.world);
        async move { self.decide(session, &*world) }.boxed()
    }
}

struct Scene {
    registry: Registry,
    others: Arc<Others>,
    counters: Arc<Counters>,
    policy: Arc<Claiming>,
    guard: SessionGuard,
}

impl Scene {
    fn new(mode: Mode, answers: &[SharedClaimError]) -> Self {
        let registry = Registry::default();
        let others = Arc::new(Others::default());
        others.answers.lock().unwrap().extend(answers.to_vec());
        registry.share(Arc::clone(&others) as Arc<dyn SharedClaims>);
        let counters = Arc::<Counters>::default();
        let world = Arc::new(Live {
            key_sets: Arc::new(KeySets::default()),
            registry: registry.clone(),
            counters: Arc::clone(&counters),
            lists: Lists::default(),
            destinations: Destinations::default(),
        });
        let policy = Arc::new(Claiming {
            name: "claiming".into(),
            mode,
            world,
            calls: Mutex::default(),
        });
        let guard = start(&registry, "s");
        Self {
            registry,
            others,
            counters,
            policy,
            guard,
        }
    }

    async fn ask(&self, question: &Question) -> (Result<(), ChainRefusal>, usize) {
        let chain = Chain::new(vec![Arc::clone(&self.policy) as Arc<dyn Policy>]);
        let mut records = Vec::new();
        let session = self.guard.session();
        let asked = chain.ask(session, &self.registry, question, &mut records);
        (asked.await, records.len())
    }

    fn calls(&self) -> Vec<String> {
        self.policy.calls.lock().unwrap().clone()
    }

    fn counted(&self, key: &str) -> i64 {
        let account = Account::of("claiming", 9);
        self.counters.change(account, key, Change::None).unwrap()
    }
}

fn held(by: &str) -> SharedClaimError {
    SharedClaimError::Held(Holder {
        session_id: by.to_owned(),
        since_ms: 1,
        attributes: Vec::new(),
    })
}

fn away() -> SharedClaimError {
    SharedClaimError::Away("NATS is away".to_owned())
}

#[tokio::test]
async fn a_policy_whose_key_another_gateway_holds_is_asked_again_and_told_so() {
    let scene = Scene::new(Mode::Refuses, &[held("far")]);
    let (answer, records) = scene.ask(&Question::Connect).await;
    let refused = Rejection::new(4002, "ingest_exists", "exists");
    assert_eq!(answer, Err(ChainRefusal::Denied(refused)));
    assert_eq!(scene.calls(), ["free", "far"]);
    assert_eq!(records, 1);
    assert_eq!(scene.counted("calls"), 1, "both calls were counted");
    assert_eq!(scene.counted("last"), 7);
    assert!(scene.registry.is_empty());
}

#[tokio::test]
async fn a_policy_may_evict_a_session_of_another_gateway() {
    let scene = Scene::new(Mode::Evicts, &[held("far")]);
    let (answer, _) = scene.ask(&Question::Connect).await;
    assert_eq!(answer, Ok(()));
    assert_eq!(scene.counted("calls"), 1);
    let claimed = scene.others.claimed.lock().unwrap();
    let notice = Rejection::new(4003, "superseded", "superseded");
    let expected = [
        ("k".to_owned(), Over::Nobody),
        ("k".to_owned(), Over::Session("far".to_owned(), notice)),
    ];
    assert_eq!(*claimed, expected);
}

#[tokio::test]
async fn whoever_meets_another_holder_each_time_may_come_back() {
    let scene = Scene::new(Mode::Evicts, &["a", "b", "c", "d", "e"].map(held));
    let (answer, records) = scene.ask(&Question::Connect).await;
    assert!(matches!(answer, Err(ChainRefusal::NotNow(_))), "{answer:?}");
    assert_eq!(scene.calls(), ["free", "a", "b", "c"]);
    assert_eq!(records, 1);
    assert!(scene.registry.is_empty());
}

#[tokio::test]
async fn a_claim_of_which_nothing_is_known_leaves_nothing_behind() {
    let scene = Scene::new(Mode::Refuses, &[away()]);
    let (answer, _) = scene.ask(&Question::Connect).await;
    let refused = Err(ChainRefusal::NotNow("NATS is away".to_owned()));
    assert_eq!(answer, refused);
    assert_eq!(scene.calls(), ["free"]);
    assert_eq!((scene.counted("calls"), scene.counted("last")), (0, 0));
    assert!(scene.registry.is_empty());
    assert!(scene.guard.session().facts.attributes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_while_what_it_claims_waits_for_the_servers() {
    let scene = Scene::new(Mode::Refuses, &[away(), away()]);
    let began = Instant::now();
    let window = Question::Frames(Arc::new(Window::default()));
    let (answer, _) = scene.ask(&window).await;
    assert_eq!(answer, Ok(()));
    assert_eq!(scene.calls(), ["free"]);
    assert!(began.elapsed() >= PAUSE * 2);
}

#[tokio::test]
async fn without_other_gateways_a_call_is_final() {
    let scene = Scene::new(Mode::Refuses, &[held("far")]);
    let alone = Registry::default();
    let guard = start(&alone, "alone");
    let world = Live {
        key_sets: Arc::new(KeySets::default()),
        registry: alone.clone(),
        counters: Arc::clone(&scene.counters),
        lists: Lists::default(),
        destinations: Destinations::default(),
    };
    assert_eq!(
        scene.policy.decide(guard.session(), &world),
        Verdict::Accept
    );
    assert_eq!(alone.commit(guard.session(), Mark::START).await, Ok(()));
    assert!(scene.others.claimed.lock().unwrap().is_empty());
}
