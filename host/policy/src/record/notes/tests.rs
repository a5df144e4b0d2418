use std::time::Duration;

use axum::http::HeaderMap;
use serde_json::json;

use super::*;
use crate::lists::Lists;
use crate::world::Live;
use keys::KeySets;
use keys::fixtures::{hs256, secret_set};
use session::facts::Facts;
use session::registry::{Registry, SessionGuard};
use session::testing::start;

struct Noted {
    world: Arc<dyn World>,
    notes: Notes,
    registry: Registry,
    session: SessionGuard,
}

/// The notes of a gateway, and of a client whose token says so much.
fn noted(claims: &Value) -> Noted {
    let registry = Registry::default();
    let notes = Notes::kept();
    let main = ("main".to_owned(), Arc::new(secret_set()));
    let world: Arc<dyn World> = Arc::new(Live {
        key_sets: Arc::new(KeySets::of([main])),
        registry: registry.clone(),
        counters: Arc::default(),
        lists: Lists::default(),
        destinations: crate::destinations::Destinations::default(),
    });
    let token = hs256(r#"{"alg":"HS256"}"#, &claims.to_string());
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (uri, remote) = ("/x".parse().unwrap(), "127.0.0.1:9".parse().unwrap());
    let facts = Facts::new("s".into(), "r".into(), &uri, vec![], headers, remote);
    Noted {
        world: notes.of(&world),
        session: SessionGuard::new(facts, registry.clone()),
        notes,
        registry,
    }
}

/// In the year 2100.
const LATER: u64 = 4_102_444_800;

fn exp() -> Value {
    json!({"exp": LATER})
}

#[test]
fn claims_are_charged_for_what_they_take_and_not_by_the_call() {
    // Half a MiB in memory, and 8 KiB in the token.
    let numbers = json!({"exp": LATER, "n": vec![0; 4096]});
    // 4 KiB in both.
    let text = json!({"exp": LATER, "n": "n".repeat(4096)});
    for (claims, kept) in [(numbers, 0), (text, 7)] {
        let Noted {
            world,
            notes,
            session,
            ..
        } = noted(&claims);
        for _ in 0..MAX_CALLS {
            assert!(world.verify(session.session(), "main").unwrap().is_ok());
        }
        let taken = notes.take();
        assert_eq!(taken.calls.len(), kept);
        assert_eq!(taken.left_out, (MAX_CALLS - kept) as u64);
    }
}

#[test]
fn what_a_policy_is_told_of_a_holder_is_charged_too() {
    let Noted {
        world,
        notes,
        session,
        registry,
    } = noted(&exp());
    let holder = start(&registry, "holder");
    for n in 0..4 {
        let facts = &holder.session().facts;
        facts
            .set_attribute("p", &n.to_string(), "v".repeat(4096))
            .unwrap();
    }
    registry.claim(holder.session(), "k").unwrap();
    for _ in 0..10 {
        assert!(world.claim(session.session(), "k").is_err());
    }
    let taken = notes.take();
    assert_eq!((taken.calls.len(), taken.left_out), (1, 9));
}

#[test]
fn what_is_kept_is_the_beginning_without_a_hole() {
    let Noted { world, notes, .. } = noted(&exp());
    let answer = world.now_ms();
    let long = "k".repeat(MAX_BYTES + 1);
    assert!(
        world
            .count(counters::Account::of("p", 1), &long, counters::Change::None)
            .is_err()
    );
    world.now_ms();
    let taken = notes.take();
    assert!(taken.calls == [HostCall::NowMs { answer }]);
    assert_eq!(taken.left_out, 2);
}

#[test]
fn calls_that_end_a_policy_are_taken_down_with_why() {
    let Noted {
        world,
        notes,
        session,
        registry,
    } = noted(&exp());
    let connection = Arc::clone(session.session());
    assert!(world.verify(&connection, "other").is_none());
    let elapsed = world.monotonic_ns(Instant::now());
    let key = "k".repeat(2000);
    assert_eq!(world.claim(&connection, &key), Err(ClaimError::TooLarge));
    for n in 0..16 {
        registry.claim(&connection, &n.to_string()).unwrap();
    }
    assert_eq!(world.claim(&connection, "k"), Err(ClaimError::TooMany));
    drop(session);
    let notice = Rejection::new(4003, "superseded", "superseded");
    let evicted = world.evict(&connection, "k", "s2", notice);
    assert_eq!(evicted, Err(ClaimError::Ended));
    let add = counters::Change::Add {
        amount: 1,
        life: Duration::from_secs(1),
    };
    assert!(
        world
            .count(counters::Account::of("p", 0), "k", add)
            .is_err()
    );
    let expected = [
        HostCall::Verify {
            key_set: "other".into(),
            answer: HostAnswer::Trap(Fault::NoKeySet),
        },
        HostCall::MonotonicNs { answer: elapsed },
        HostCall::Claim {
            key,
            answer: HostAnswer::Trap(Fault::TooLarge),
        },
        HostCall::Claim {
            key: "k".into(),
            answer: HostAnswer::Trap(Fault::TooMany),
        },
        HostCall::Evict {
            key: "k".into(),
            holder: "s2".into(),
            answer: HostAnswer::Trap(Fault::Ended),
        },
        HostCall::Count {
            key: "k".into(),
            change: Change::Add {
                amount: 1,
                life_ms: 1000,
            },
            answer: HostAnswer::Err(CounterError::Full),
        },
    ];
    assert_eq!(notes.take().calls, expected);
}

#[test]
fn what_a_policy_said_is_recorded_however_much_it_has_asked() {
    let Noted { world, notes, .. } = noted(&exp());
    for _ in 0..=MAX_CALLS {
        world.now_ms();
    }
    let mut effects = Effects::default();
    effects.notify(session::notices::ClientNotice {
        policy: "p".into(),
        code: "c".to_owned(),
        message: "m".to_owned(),
    });
    effects.count(crate::effects::Count {
        name: "streams".to_owned(),
        label: String::new(),
        amount: 1,
    });
    notes.said(effects);
    let taken = notes.take();
    assert_eq!((taken.calls.len(), taken.left_out), (MAX_CALLS + 2, 1));
    assert!(matches!(
        taken.calls[MAX_CALLS..],
        [HostCall::Notice { .. }, HostCall::Metric { .. }]
    ));
}
