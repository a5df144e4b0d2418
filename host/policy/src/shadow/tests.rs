use std::sync::Mutex;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::chain::{Chain, Step};
use crate::destinations::AnswerError;
use crate::verdict::OnFailure;
use crate::{ChainRefusal, Ending, Failure};
use base::rejection::Rejection;
use session::registry::{ClaimError, Registry};
use session::testing::start;

/// Does everything that has an effect, and then answers.
struct Busybody {
    name: Arc<str>,
    answer: Verdict,
    registry: Registry,
    asked: Mutex<Vec<String>>,
    done: tokio::sync::Notify,
}

fn busybody(name: &str, registry: &Registry, answer: Verdict) -> Arc<Busybody> {
    Arc::new(Busybody {
        name: name.into(),
        answer,
        registry: registry.clone(),
        asked: Mutex::default(),
        done: tokio::sync::Notify::new(),
    })
}

impl Policy for Busybody {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Closed
    }

    fn ask<'a>(&'a self, session: &'a Arc<Session>, _: &'a Question) -> BoxFuture<'a, Verdict> {
        async move {
            let facts = &session.facts;
            let seen = facts.attributes().len();
            let claimed = self.registry.claim(session, "key").is_ok();
            if let Err(ClaimError::Held(holder)) = self.registry.claim(session, "taken") {
                let notice = Rejection::new(4003, "superseded", "superseded");
                self.registry
                    .evict(session, "taken", &holder.session_id, notice)
                    .unwrap();
                // As if it had worked.
                assert_eq!(self.registry.claim(session, "taken"), Ok(()));
            }
            session.expires(1);
            facts
                .set_attribute(&self.name, "a", "v".to_owned())
                .unwrap();
            self.asked.lock().unwrap().push(format!("{seen} {claimed}"));
            self.done.notify_one();
            self.answer.clone()
        }
        .boxed()
    }
}

fn accepts() -> Verdict {
    Verdict::Accept
}

fn rejects() -> Verdict {
    let rejection = Rejection::new(4100, "no", "no");
    Verdict::Reject(rejection)
}

struct Accepts(Arc<str>);

impl Policy for Accepts {
    fn name(&self) -> &Arc<str> {
        &self.0
    }

    fn on_failure(&self) -> OnFailure {
        OnFailure::Closed
    }

    fn ask<'a>(&'a self, _: &'a Arc<Session>, _: &'a Question) -> BoxFuture<'a, Verdict> {
        async { accepts() }.boxed()
    }
}

fn stable() -> Step {
    Step::of(Arc::new(Accepts("stable".into())))
}

#[tokio::test]
async fn a_candidate_sees_everything_and_changes_nothing() {
    let registry = Registry::default();
    let (holder, guard) = (start(&registry, "holder"), start(&registry, "s"));
    registry.claim(holder.session(), "taken").unwrap();
    let facts = &guard.session().facts;
    facts
        .set_attribute("auth", "user_id", "u".to_owned())
        .unwrap();
    for answer in [rejects(), Verdict::Failed(Failure::Busy)] {
        let next = busybody("next", &registry, answer);
        let candidate = Candidate::new(next.clone(), Share::default(), ShadowPermits::default());
        let chain = Chain::of(vec![stable().beside(candidate)]);
        let mut records = Vec::new();
        let asked = chain.ask(guard.session(), &registry, &Question::Connect, &mut records);
        assert_eq!(asked.await, Ok(()));
        next.done.notified().await;
        assert_eq!(*next.asked.lock().unwrap(), ["1 true"]);
        assert_eq!(records.len(), 1);
        assert_eq!(&*records[0].policy, "stable");
    }
    assert_eq!(registry.len(), 1);
    assert!(holder.session().evicted().now_or_never().is_none());
    assert_eq!(facts.attributes().len(), 1);
    assert_eq!(guard.session().expires_in(), None);
}

#[tokio::test]
async fn a_candidate_that_is_alone_refuses_nobody() {
    let registry = Registry::default();
    let guard = start(&registry, "s");
    let next = busybody("next", &registry, rejects());
    let candidate = Candidate::new(next.clone(), Share::default(), ShadowPermits::default());
    let chain = Chain::of(vec![Step::alone(candidate)]);
    let mut records = Vec::new();
    let asked = chain.ask(guard.session(), &registry, &Question::Connect, &mut records);
    assert_eq!(asked.await, Ok(()));
    next.done.notified().await;
    assert!(records.is_empty() && registry.is_empty());
}

#[tokio::test]
async fn the_canaries_are_decided_about_by_the_candidate_and_the_others_are_not() {
    let registry = Registry::default();
    let share = Share::percent(50);
    let mut refused = 0;
    for n in 0..40 {
        let guard = start(&registry, &format!("s-{n}"));
        let next = busybody("next", &registry, rejects());
        let candidate = Candidate::new(next, share, ShadowPermits::default());
        let chain = Chain::of(vec![stable().beside(candidate)]);
        let mut records = Vec::new();
        let asked = chain.ask(guard.session(), &registry, &Question::Connect, &mut records);
        let answer = asked.await;
        let canary = share.contains(&format!("s-{n}"));
        assert_eq!(matches!(answer, Err(ChainRefusal::Denied(_))), canary);
        assert_eq!(&*records[0].policy, if canary { "next" } else { "stable" });
        refused += usize::from(canary);
    }
    assert!((8..32).contains(&refused), "{refused} of 40");
}

#[test]
fn a_share_is_what_it_says_and_grows_by_adding_sessions_only() {
    let ids: Vec<String> = (0..10_000).map(|n| format!("session-{n}")).collect();
    let of = |percent| {
        ids.iter()
            .filter(move |id| Share::percent(percent).contains(id))
    };
    assert_eq!(
        (of(0).count(), of(100).count(), of(1000).count()),
        (0, 10_000, 10_000)
    );
    let five = of(5).count();
    assert!((400..600).contains(&five), "{five}");
    assert!(of(5).all(|id| Share::percent(20).contains(id)));
}

#[tokio::test]
async fn without_room_a_candidate_is_not_asked_and_nobody_waits() {
    let registry = Registry::default();
    let guard = start(&registry, "s");
    let next = busybody("next", &registry, rejects());
    let permits = ShadowPermits(Arc::new(Semaphore::new(0)));
    let candidate = Candidate::new(next.clone(), Share::default(), permits);
    let chain = Chain::of(vec![stable().beside(candidate)]);
    let mut records = Vec::new();
    let asked = chain.ask(guard.session(), &registry, &Question::Connect, &mut records);
    assert_eq!(asked.await, Ok(()));
    tokio::task::yield_now().await;
    assert!(next.asked.lock().unwrap().is_empty());
}

#[test]
fn the_same_refusal_in_other_words_is_no_difference() {
    let reject = |code: &str, message: &str| RecordedVerdict::Reject {
        close_code: 4100,
        code: code.into(),
        message: message.into(),
        retryable: false,
        retry_after_ms: None,
        keys_unavailable: false,
    };
    let failed = RecordedVerdict::Failed {
        failure: "trap".into(),
        detail: String::new(),
    };
    let unanswered = |destination: &str| RecordedVerdict::Unanswered {
        destination: destination.to_owned(),
        error: AnswerError::Timeout,
    };
    for (a, b, expected) in [
        (
            RecordedVerdict::Accept,
            RecordedVerdict::Accept,
            Comparison::Agree,
        ),
        (reject("no", "a"), reject("no", "b"), Comparison::Agree),
        (reject("no", "a"), reject("nope", "a"), Comparison::Differ),
        (
            RecordedVerdict::Accept,
            reject("no", "a"),
            Comparison::Differ,
        ),
        (
            unanswered("plans"),
            unanswered("entitlements"),
            Comparison::Agree,
        ),
        (
            RecordedVerdict::Accept,
            unanswered("plans"),
            Comparison::Differ,
        ),
        (failed.clone(), RecordedVerdict::Accept, Comparison::Differ),
        (RecordedVerdict::Accept, failed, Comparison::Failed),
    ] {
        assert_eq!(compare(&a, &b), expected);
    }
}

#[tokio::test]
async fn a_candidate_is_told_how_it_ended_and_nothing_is_compared() {
    let registry = Registry::default();
    let guard = start(&registry, "s");
    let facts = &guard.session().facts;
    facts
        .set_attribute("auth", "user_id", "u".to_owned())
        .unwrap();
    let next = busybody("next", &registry, Verdict::Failed(Failure::Busy));
    let candidate = Candidate::new(next.clone(), Share::default(), ShadowPermits::default());
    let chain = Chain::of(vec![stable().beside(candidate)]);
    let ending = Ending {
        cause: "finalized".into(),
        close_code: 1000,
        closed_by: base::closed_by::ClosedBy::Client,
        streamed: true,
        lasted: std::time::Duration::from_secs(1),
        received_bytes: 0,
        sent_bytes: 0,
    };
    let records = chain.tell(guard.session(), ending).await;
    next.done.notified().await;
    assert_eq!(*next.asked.lock().unwrap(), ["1 true"]);
    // Only policies that decide are in the log entry.
    assert_eq!(records.len(), 1);
    assert_eq!(&*records[0].policy, "stable");
    assert!(registry.is_empty());
}
