use std::sync::Arc;

use base::rejection::Rejection;
use futures_util::future::BoxFuture;
use session::registry::Session;

use super::*;
use crate::verdict::OnFailure;
use session::registry::Registry;
use session::testing::start;

struct Fixed(Arc<str>, OnFailure, Verdict, Registry);

impl Policy for Fixed {
    fn name(&self) -> &Arc<str> {
        &self.0
    }

    fn on_failure(&self) -> OnFailure {
        self.1
    }

    fn ask<'a>(&'a self, session: &'a Arc<Session>, _: &'a Question) -> BoxFuture<'a, Verdict> {
        Box::pin(async move {
            self.3.claim(session, &self.0).unwrap();
            session
                .facts
                .set_attribute(&self.0, "was", "here".to_owned())
                .unwrap();
            self.2.clone()
        })
    }
}

fn accepted() -> Verdict {
    Verdict::Accept
}

fn rejected() -> Verdict {
    Verdict::Reject(Rejection::new(4100, "no", "no"))
}

fn trapped() -> Verdict {
    Verdict::Failed(Failure::Trap("unreachable".to_owned()))
}

async fn ask(
    policies: &[(&str, OnFailure, Verdict)],
) -> (
    Result<(), ChainRefusal>,
    Vec<Record>,
    Registry,
    session::registry::SessionGuard,
) {
    let registry = Registry::default();
    let guard = start(&registry, "s");
    let chain = Chain::new(
        policies
            .iter()
            .map(|(name, on_failure, answer)| {
                Arc::new(Fixed(
                    (*name).into(),
                    *on_failure,
                    answer.clone(),
                    registry.clone(),
                )) as Arc<dyn Policy>
            })
            .collect(),
    );
    let mut records = Vec::new();
    let result = chain
        .ask(guard.session(), &registry, &Question::Connect, &mut records)
        .await;
    (result, records, registry, guard)
}

#[tokio::test]
async fn the_first_refusal_wins_and_later_policies_are_not_asked() {
    let (result, records, ..) = ask(&[
        ("a", OnFailure::Closed, accepted()),
        ("b", OnFailure::Closed, rejected()),
        ("c", OnFailure::Closed, accepted()),
    ])
    .await;
    assert_eq!(
        result,
        Err(ChainRefusal::Denied(Rejection::new(4100, "no", "no")))
    );
    let asked: Vec<_> = records.iter().map(|record| &*record.policy).collect();
    assert_eq!(asked, ["a", "b"]);
}

#[tokio::test]
async fn a_failure_is_not_a_denial_and_closes_by_default() {
    let (result, records, ..) = ask(&[("a", OnFailure::Closed, trapped())]).await;
    assert_eq!(
        result,
        Err(ChainRefusal::Failed(Failure::Trap(
            "unreachable".to_owned()
        )))
    );
    assert!(records[0].verdict == Some(trapped()) && records[0].on_failure == OnFailure::Closed);
}

#[tokio::test]
async fn a_failure_that_is_passed_over_leaves_no_claim_and_no_attribute() {
    let (result, records, registry, guard) = ask(&[
        ("a", OnFailure::Open, trapped()),
        ("b", OnFailure::Closed, accepted()),
    ])
    .await;
    assert_eq!(result, Ok(()));
    assert!(records[0].verdict == Some(trapped()) && records[0].on_failure == OnFailure::Open);
    assert_eq!(registry.len(), 1);
    assert_eq!(
        guard.session().facts.attributes(),
        [("b.was".to_owned(), "here".to_owned())]
    );
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_not_a_bad_token() {
    let rejection = Rejection::new(4100, "no", "no");
    let verdict = Verdict::KeysUnavailable(rejection);
    let (result, ..) = ask(&[("auth", OnFailure::Closed, verdict)]).await;
    assert_eq!(result, Err(ChainRefusal::AuthUnavailable));
}
