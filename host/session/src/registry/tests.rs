//! Claims, and how they move.

use super::*;
use crate::testing::start;
use futures_util::FutureExt as _;

/// Three sessions, the first of which holds the key `k`.
fn a_holds_k() -> (Registry, [SessionGuard; 3]) {
    let registry = Registry::default();
    let sessions = ["a", "b", "c"].map(|id| start(&registry, id));
    registry.claim(sessions[0].session(), "k").unwrap();
    (registry, sessions)
}

fn notice() -> Rejection {
    Rejection::new(4003, "superseded", "superseded by a newer connection")
}

fn holder(result: Result<(), ClaimError>) -> String {
    match result {
        Err(ClaimError::Held(holder)) => holder.session_id,
        other => panic!("expected a holder, got {other:?}"),
    }
}

#[test]
fn a_claim_excludes_others_until_its_session_ends() {
    let registry = Registry::default();
    let (a, b) = (start(&registry, "a"), start(&registry, "b"));
    registry.claim(a.session(), "k").unwrap();
    registry.claim(a.session(), "k").unwrap();
    assert_eq!(holder(registry.claim(b.session(), "k")), "a");
    drop(a);
    registry.claim(b.session(), "k").unwrap();
    drop(b);
    assert!(registry.is_empty());
}

#[tokio::test]
async fn eviction_moves_the_claim_and_the_loser_keeps_nothing_to_release() {
    let (registry, [a, b, c]) = a_holds_k();
    registry.evict(b.session(), "k", "a", notice()).unwrap();
    assert_eq!(a.session().evicted().await, Notice::Superseded(notice()));
    // An outdated holder is corrected.
    assert_eq!(holder(registry.evict(c.session(), "k", "a", notice())), "b");
    drop(a);
    b.session().evicted_have_ended().await;
    assert_eq!(holder(registry.claim(c.session(), "k")), "b");
}

#[tokio::test]
async fn a_key_that_was_taken_over_is_not_free_before_all_who_held_it_have_ended() {
    let (registry, [a, b, c]) = a_holds_k();
    registry.evict(b.session(), "k", "a", notice()).unwrap();
    drop(b);
    // `a` is still sealing.
    assert_eq!(holder(registry.claim(c.session(), "k")), "a");
    registry.evict(c.session(), "k", "a", notice()).unwrap();
    drop(a);
    c.session().evicted_have_ended().await;
    drop(c);
    assert!(registry.is_empty());
}

#[tokio::test]
async fn who_evicts_an_evictor_waits_for_both() {
    let (registry, [a, b, c]) = a_holds_k();
    registry.evict(b.session(), "k", "a", notice()).unwrap();
    registry.evict(c.session(), "k", "b", notice()).unwrap();
    drop(b);
    let mut waiting = std::pin::pin!(c.session().evicted_have_ended());
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    drop(a);
    waiting.await;
}

#[test]
fn undo_releases_only_what_came_after_the_mark() {
    let registry = Registry::default();
    let a = start(&registry, "a");
    registry.claim(a.session(), "before").unwrap();
    let mark = registry.mark(a.session());
    registry.claim(a.session(), "after").unwrap();
    registry.undo(a.session(), mark);
    let b = start(&registry, "b");
    registry.claim(b.session(), "after").unwrap();
    assert_eq!(holder(registry.claim(b.session(), "before")), "a");
}

#[test]
fn a_call_that_outlives_its_connection_claims_nothing() {
    let registry = Registry::default();
    let a = start(&registry, "a");
    let outliving = Arc::clone(a.session());
    drop(a);
    assert_eq!(registry.claim(&outliving, "k"), Err(ClaimError::Ended));
    assert!(registry.is_empty());
}

#[test]
fn what_a_session_can_hold_is_bounded() {
    let registry = Registry::default();
    let a = start(&registry, "a");
    assert_eq!(
        registry.claim(a.session(), &"k".repeat(2000)),
        Err(ClaimError::TooLarge)
    );
    for n in 0..MAX_CLAIMS {
        registry.claim(a.session(), &n.to_string()).unwrap();
    }
    assert_eq!(
        registry.claim(a.session(), "one more"),
        Err(ClaimError::TooMany)
    );
}

/// Sessions that came back for the stream of `a`, which holds `k`.
fn came_back(registry: &Registry, ids: [&str; 2]) -> [SessionGuard; 2] {
    ids.map(|id| {
        let guard = start(registry, id);
        guard.session().resumes(&"a".into());
        guard
    })
}

#[test]
fn who_comes_back_for_a_stream_is_kept_out_neither_by_it_nor_by_another_that_did() {
    let (registry, [a, b, _c]) = a_holds_k();
    let [dead, retry] = came_back(&registry, ["dead", "retry"]);
    let shadow = Session::shadow(retry.session(), vec![], Mark::END);
    registry.claim(dead.session(), "k").unwrap();
    registry.claim(&shadow, "k").unwrap();
    registry.claim(retry.session(), "k").unwrap();
    drop(a);
    // Others are, and a session that came back for another stream is another.
    assert_eq!(holder(registry.claim(b.session(), "k")), "retry");
    b.session().resumes(&"c".into());
    assert_eq!(holder(registry.claim(b.session(), "k")), "retry");
    drop(retry);
    assert_eq!(holder(registry.claim(b.session(), "k")), "dead");
}

#[test]
fn who_takes_a_key_over_takes_it_from_all_connections_of_a_stream() {
    let (registry, [a, b, _c]) = a_holds_k();
    let [retry, _] = came_back(&registry, ["retry", "other"]);
    registry.claim(retry.session(), "k").unwrap();
    registry.evict(b.session(), "k", "retry", notice()).unwrap();
    assert!(retry.session().is_evicted());
    assert!(a.session().is_evicted());
}

#[tokio::test]
async fn a_shadow_sees_whom_its_session_displaced_and_not_what_it_took() {
    let (registry, [a, b, c]) = a_holds_k();
    registry.claim(b.session(), "before").unwrap();
    let mark = registry.mark(b.session());
    registry.evict(b.session(), "k", "a", notice()).unwrap();
    registry.claim(b.session(), "free").unwrap();
    registry.claim(c.session(), "other").unwrap();
    let shadow = || Session::shadow(b.session(), vec![], mark);
    let (early, late) = (shadow(), shadow());
    assert_eq!(holder(registry.claim(&early, "k")), "a");
    // The displaced session may be gone when the shadow asks.
    drop(a);
    assert_eq!(holder(registry.claim(&late, "k")), "a");
    assert_eq!(holder(registry.evict(&late, "k", "x", notice())), "a");
    registry.evict(&late, "k", "a", notice()).unwrap();
    registry.claim(&late, "k").unwrap();
    for key in ["before", "free", "elsewhere"] {
        registry.claim(&late, key).unwrap();
    }
    assert_eq!(holder(registry.claim(&late, "other")), "c");
    // Behind everything, what its session has is its own.
    let told = Session::shadow(b.session(), vec![], Mark::END);
    registry.claim(&told, "k").unwrap();
    assert!(c.session().evicted().now_or_never().is_none());
    assert_eq!(registry.len(), 4);
}

#[test]
fn what_is_undone_is_no_eviction_any_more() {
    let (registry, [a, b, _c]) = a_holds_k();
    let mark = registry.mark(b.session());
    registry.evict(b.session(), "k", "a", notice()).unwrap();
    registry.undo(b.session(), mark);
    drop(a);
    registry.claim(b.session(), "k").unwrap();
    let shadow = Session::shadow(b.session(), vec![], mark);
    registry.claim(&shadow, "k").unwrap();
}
