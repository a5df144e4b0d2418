//! Claims of several gateways, with a server in memory.

use std::time::Duration;

use session::registry::{ClaimError, Holder, Mark, SessionGuard, Uncommitted};
use session::testing::start;
use tokio::task::JoinHandle;
use tokio::time::advance;

use super::fake::{Fake, Server};
use super::*;
use base::rejection::Rejection;

/// One gateway.
pub(super) struct Node {
    pub(super) registry: Registry,
    pub(super) records: Fake,
    pub(super) claims: ClusterClaims,
    lease: JoinHandle<()>,
}

impl Node {
    pub(super) fn start(name: &str, records: Fake) -> Self {
        let registry = Registry::default();
        let claims = ClusterClaims::new(
            Arc::new(records.clone()),
            name,
            &registry,
            Times::default(),
            Arc::new(About::default),
        );
        let lease = tokio::spawn(claims.clone().keep_lease());
        registry.share(Arc::new(claims.clone()));
        Self {
            registry,
            records,
            claims,
            lease,
        }
    }

    /// Two gateways that share the servers.
    fn two() -> [Self; 2] {
        let first = Self::start("one", Fake::new());
        let second = Self::start("two", first.records.another());
        [first, second]
    }

    /// Claims as a policy's call does, once.
    pub(super) async fn claim(&self, guard: &SessionGuard, key: &str) -> Result<(), Uncommitted> {
        let mark = self.registry.mark(guard.session());
        let result = match self.registry.claim(guard.session(), key) {
            Ok(()) => self.registry.commit(guard.session(), mark).await,
            Err(_) => Err(Uncommitted::Held),
        };
        if result.is_err() {
            self.registry.undo(guard.session(), mark);
        }
        result
    }

    /// Session that holds the key here.
    async fn session(&self, id: &str, key: &str) -> SessionGuard {
        let guard = start(&self.registry, id);
        assert_eq!(self.claim(&guard, key).await, Ok(()));
        guard
    }

    /// Who holds the key, as a session learns that asks twice.
    async fn holder(&self, key: &str) -> Holder {
        let guard = start(&self.registry, "asks");
        assert_eq!(self.claim(&guard, key).await, Err(Uncommitted::Held));
        match self.registry.claim(guard.session(), key) {
            Err(ClaimError::Held(holder)) => holder,
            other => panic!("{other:?}"),
        }
    }

    /// The gateway hears what another one says.
    async fn hears(&self, message: &str) {
        let message = serde_json::from_str(message).unwrap();
        let let_go: LetGo = Arc::new(|_, _| std::future::ready(()).boxed());
        self.claims.0.is_told(&self.claims, message, &let_go).await;
    }

    /// Session that learns from the policy's first call that another gateway has the key, and evicts
    /// its holder, which is not certain yet.
    async fn evicts(&self, id: &str, key: &str, holder: &str) -> SessionGuard {
        let guard = start(&self.registry, id);
        assert_eq!(self.claim(&guard, key).await, Err(Uncommitted::Held));
        let evicted = self.registry.evict(guard.session(), key, holder, notice());
        evicted.unwrap();
        guard
    }

    /// The gateway's process ends, as by a kill.
    fn dies(&self) {
        self.lease.abort();
        self.records.is_alone(Some(Server::Away));
    }
}

fn notice() -> Rejection {
    Rejection::new(4003, "superseded", "superseded by a newer connection")
}

async fn settled() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_has_one_holder_at_all_gateways_until_that_lets_go() {
    let [one, two] = Node::two();
    let a = start(&one.registry, "a");
    a.session()
        .facts
        .set_attribute("auth", "user_id", "u".to_owned())
        .unwrap();
    one.claim(&a, "k").await.unwrap();
    let holder = two.holder("k").await;
    assert_eq!(holder.session_id, "a");
    assert_eq!(
        holder.attributes,
        [("auth.user_id".to_owned(), "u".to_owned())]
    );
    drop(a);
    settled().await;
    let _b = two.session("b", "k").await;
    assert_eq!(one.holder("k").await.session_id, "b");
}

#[tokio::test(start_paused = true)]
async fn of_many_who_want_a_key_at_once_one_gets_it() {
    let [one, two] = Node::two();
    for round in 0..50 {
        let key = format!("k{round}");
        let guards = [&one, &two].map(|node| {
            let ids = ["a", "b", "c"];
            ids.map(|id| start(&node.registry, &format!("{round}{id}")))
        });
        let claims = guards[0]
            .iter()
            .map(|guard| (&one, guard))
            .chain(guards[1].iter().map(|guard| (&two, guard)))
            .map(|(node, guard)| node.claim(guard, &key));
        let results = futures_util::future::join_all(claims).await;
        let winners = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(winners, 1, "{results:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_gone_keeps_its_keys_until_its_lease_ends_and_no_longer() {
    let [one, two] = Node::two();
    let _a = one.session("a", "k").await;
    one.dies();
    for _ in 0..18 {
        assert_eq!(two.holder("k").await.session_id, "a");
        advance(Duration::from_secs(1)).await;
    }
    advance(Duration::from_secs(2)).await;
    let _b = two.session("b", "k").await;
    // It is written that the lease has ended, so that nobody can renew it.
    assert!(
        two.records.contents("lease.one")[0].contains("ended"),
        "{:?}",
        two.records.contents("lease.one")
    );
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stood_still_loses_what_was_taken_and_gets_the_rest_back() {
    let [one, two] = Node::two();
    let a = one.session("a", "k").await;
    let other = one.session("other", "l").await;
    one.records.is_alone(Some(Server::Away));
    tokio::time::sleep(Duration::from_secs(21)).await;
    // By its own clock it has no lease, so that it admits nobody who claims.
    let newcomer = start(&one.registry, "newcomer");
    let refused = one.claim(&newcomer, "m").await;
    assert!(matches!(refused, Err(Uncommitted::Away(_))), "{refused:?}");
    let _b = two.session("b", "k").await;
    one.records.is_alone(None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(a.session().is_evicted());
    assert!(!other.session().is_evicted());
    assert_eq!(two.holder("l").await.session_id, "other");
    assert_eq!(one.claim(&newcomer, "m").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_renew_its_lease_stops_claiming_before_others_take_its_keys() {
    let [one, two] = Node::two();
    let _a = one.session("a", "k").await;
    one.lease.abort();
    advance(Duration::from_secs(14)).await;
    let newcomer = start(&one.registry, "newcomer");
    assert_eq!(one.claim(&newcomer, "l").await, Ok(()));
    advance(Duration::from_secs(2)).await;
    let refused = one.claim(&newcomer, "m").await;
    assert!(matches!(refused, Err(Uncommitted::Away(_))), "{refused:?}");
    // The servers keep the lease for longer than that.
    assert_eq!(two.holder("k").await.session_id, "a");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_only_a_server_that_is_cut_off_does_not_know_is_not_ended() {
    let [one, two] = Node::two();
    // The second gateway's server has seen no lease of the first one.
    two.records.is_alone(Some(Server::CutOff));
    let _a = one.session("a", "k").await;
    two.records.is_alone(None);
    let lease = two.claims.0.lease.has_ended("nobody", 1).await;
    assert!(lease.unwrap());
    two.records.is_alone(Some(Server::CutOff));
    let lease = two.claims.0.lease.has_ended("another", 1).await;
    assert!(lease.is_err());
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_a_claim_fails_in_time_and_what_was_stored_is_removed_later() {
    let [one, two] = Node::two();
    let _first = one.session("first", "x").await;
    one.records.is(Server::Mute);
    let a = start(&one.registry, "a");
    let began = Instant::now();
    let refused = one.claim(&a, "k").await;
    assert!(matches!(refused, Err(Uncommitted::Away(_))), "{refused:?}");
    assert!(began.elapsed() <= PATIENCE + Duration::from_secs(2));
    assert!(one.registry.keys() == ["x"]);
    one.records.is(Server::Answers);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _b = two.session("b", "k").await;
    drop(a);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_rests_on_a_claim_that_is_undone_does_not_hold() {
    let [one, two] = Node::two();
    let _elsewhere = two.session("elsewhere", "k").await;
    let (a, b) = (start(&one.registry, "a"), start(&one.registry, "b"));
    one.registry.claim(a.session(), "k").unwrap();
    // It is told of the claim of `a`, which is not certain.
    let told = one.registry.claim(b.session(), "k").unwrap_err();
    assert!(matches!(told, ClaimError::Held(holder) if holder.session_id == "a"));
    let committed = one.registry.commit(a.session(), Mark::START).await;
    assert_eq!(committed, Err(Uncommitted::Held));
    let answer = one.registry.answers_hold(b.session()).await;
    assert_eq!(answer, Err(Uncommitted::Held));
    one.registry.undo(a.session(), Mark::START);
    let told = one.registry.claim(b.session(), "k").unwrap_err();
    assert!(matches!(told, ClaimError::Held(holder) if holder.session_id == "elsewhere"));
}

#[tokio::test(start_paused = true)]
async fn who_evicts_a_session_of_another_gateway_takes_its_key_and_tells_that_gateway() {
    let [one, two] = Node::two();
    let a = one.session("a", "k").await;
    let b = start(&two.registry, "b");
    assert_eq!(two.claim(&b, "k").await, Err(Uncommitted::Held));
    two.registry.claim(b.session(), "k").unwrap_err();
    two.registry.evict(b.session(), "k", "a", notice()).unwrap();
    let committed = two.registry.commit(b.session(), Mark::START).await;
    assert_eq!(committed, Ok(()));
    settled().await;
    let asked = two.records.asked();
    let (to, message) = &asked[0];
    assert_eq!(to, "one");
    // Nobody answers, and nobody waits for that.
    b.session().evicted_elsewhere_have_ended().await;
    let hear = |message: &str| {
        let message = serde_json::from_str(message).unwrap();
        let claims = one.claims.clone();
        let let_go: LetGo = Arc::new(|_, _| std::future::ready(()).boxed());
        async move { claims.0.is_told(&claims, message, &let_go).await }
    };
    let telling = tokio::spawn(hear(message));
    settled().await;
    assert_eq!(
        a.session().evicted().await,
        session::registry::Notice::Superseded(notice())
    );
    assert!(!telling.is_finished(), "it has not ended yet");
    drop(a);
    telling.await.unwrap();
    // What comes late does not end whoever has the key again.
    drop(b);
    settled().await;
    let again = one.session("again", "k").await;
    hear(message).await;
    assert!(!again.session().is_evicted());
}

#[tokio::test(start_paused = true)]
async fn a_session_takes_the_keys_of_its_own_stream_over_once_the_stream_is_its_own() {
    let [one, two] = Node::two();
    let _a = one.session("a", "k").await;
    let back = start(&two.registry, "back");
    back.session().resumes(&"a".into());
    assert_eq!(two.claim(&back, "k").await, Ok(()));
    // Perhaps it is somebody else with the client's token.
    let three = Node::start("three", one.records.another());
    assert_eq!(three.holder("k").await.session_id, "a");
    two.registry.take_over(back.session()).await;
    assert_eq!(three.holder("k").await.session_id, "back");
    assert!(!back.session().is_evicted());
    drop(back);
    settled().await;
    let _next = two.session("next", "k").await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_with_a_stream_that_is_not_his_leaves_its_keys_as_they_are() {
    let [one, two] = Node::two();
    let _a = one.session("a", "k").await;
    let thief = start(&two.registry, "thief");
    thief.session().resumes(&"a".into());
    assert_eq!(two.claim(&thief, "k").await, Ok(()));
    drop(thief);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(two.holder("k").await.session_id, "a");
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_has_restored_it_takes_from_the_one_that_had_it() {
    let [one, two] = Node::two();
    let _a = one.session("a", "k").await;
    one.dies();
    let a = start(&two.registry, "a");
    two.registry.claim(a.session(), "k").unwrap();
    two.registry.restored(a.session());
    settled().await;
    let record = &two.records.contents("key.")[0];
    assert!(record.contains(r#""gateway":"two""#), "{record}");
    drop(a);
    settled().await;
    let _b = two.session("b", "k").await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_ends_leaves_no_claim_behind() {
    let [one, two] = Node::two();
    let a = one.session("a", "k").await;
    let _left = one.session("left", "l").await;
    drop(a);
    one.registry.close().await;
    let _b = two.session("b", "k").await;
    let _c = two.session("c", "l").await;
}

#[tokio::test(start_paused = true)]
async fn who_evicts_a_session_here_that_has_lost_its_key_does_not_get_it() {
    let [one, two] = Node::two();
    let a = one.session("a", "k").await;
    let o = two.evicts("o", "k", "a").await;
    let committed = two.registry.commit(o.session(), Mark::START).await;
    assert_eq!(committed, Ok(()));
    settled().await;
    let (_, message) = two.records.asked().remove(0);
    // `a` is still sealing.
    let telling = one.hears(&message);
    assert!(timeout(Duration::from_secs(1), telling).await.is_err());
    let n = start(&one.registry, "n");
    assert!(one.registry.claim(n.session(), "k").is_err());
    one.registry.evict(n.session(), "k", "a", notice()).unwrap();
    let committed = one.registry.commit(n.session(), Mark::START).await;
    assert_eq!(committed, Err(Uncommitted::Held));
    one.registry.undo(n.session(), Mark::START);
    // Now it knows better than the table of its gateway.
    match one.registry.claim(n.session(), "k") {
        Err(ClaimError::Held(holder)) => assert_eq!(holder.session_id, "o"),
        other => panic!("{other:?}"),
    }
    // Nor does `a` get it back.
    one.claims.follow("k");
    settled().await;
    drop(a);
    settled().await;
    let record = &two.records.contents("key.")[0];
    assert!(record.contains(r#""session_id":"o""#), "{record}");
    assert!(!o.session().is_evicted());
}

#[tokio::test(start_paused = true)]
async fn an_eviction_that_was_not_stored_leaves_the_key_with_its_holder() {
    let [one, two] = Node::two();
    let a = one.session("a", "k").await;
    let b = two.evicts("b", "k", "a").await;
    two.records.is_alone_after_a_read(Server::CutOff);
    let committed = two.registry.commit(b.session(), Mark::START).await;
    assert!(
        matches!(committed, Err(Uncommitted::Away(_))),
        "{committed:?}"
    );
    two.registry.undo(b.session(), Mark::START);
    two.records.is_alone(None);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let three = Node::start("three", one.records.another());
    assert_eq!(three.holder("k").await.session_id, "a");
    assert_eq!(two.records.asked(), []);
    drop(a);
    settled().await;
    let _c = three.session("c", "k").await;
}

#[tokio::test(start_paused = true)]
async fn an_eviction_whose_answer_was_lost_is_told_even_if_its_claim_is_undone() {
    let [one, two] = Node::two();
    let _a = one.session("a", "k").await;
    let b = two.evicts("b", "k", "a").await;
    two.records.is_alone_after_a_read(Server::HalfMute);
    let committed = two.registry.commit(b.session(), Mark::START).await;
    assert!(
        matches!(committed, Err(Uncommitted::Away(_))),
        "{committed:?}"
    );
    two.registry.undo(b.session(), Mark::START);
    two.records.is_alone(None);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(two.records.contents("key."), [""; 0]);
    let (to, message) = two.records.asked().remove(0);
    assert_eq!(to, "one");
    assert!(
        message.contains("superseded by a newer connection"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_was_away_for_some_seconds_finds_what_it_lost_although_nobody_says_so() {
    let [one, two] = Node::two();
    let a = one.session("a", "k").await;
    let other = one.session("other", "l").await;
    one.records.is_alone(Some(Server::Away));
    let b = two.evicts("b", "k", "a").await;
    let committed = two.registry.commit(b.session(), Mark::START).await;
    assert_eq!(committed, Ok(()));
    tokio::time::sleep(Duration::from_secs(8)).await;
    one.records.is_alone(None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(a.session().is_evicted());
    assert!(!other.session().is_evicted());
    assert!(!b.session().is_evicted());
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_stream_goes_on_elsewhere_is_not_free_before_it_could_be_taken_over() {
    let [one, two] = Node::two();
    let a = one.session("a", "k").await;
    let back = start(&two.registry, "back");
    back.session().resumes(&"a".into());
    assert_eq!(two.claim(&back, "k").await, Ok(()));
    a.session().goes_on_elsewhere();
    drop(a);
    settled().await;
    let three = Node::start("three", one.records.another());
    assert_eq!(three.holder("k").await.session_id, "a");
    two.registry.take_over(back.session()).await;
    tokio::time::sleep(LEAVING * 2).await;
    assert_eq!(three.holder("k").await.session_id, "back");
    // If nobody takes it over, it is free after all.
    let left = one.session("left", "l").await;
    left.session().goes_on_elsewhere();
    drop(left);
    tokio::time::sleep(LEAVING * 2).await;
    let _next = three.session("next", "l").await;
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_a_key_here_that_is_left_to_a_gateway_which_cannot_write_it_yet() {
    let [one, two] = Node::two();
    let a = one.session("a", "k").await;
    let back = start(&two.registry, "back");
    back.session().resumes(&"a".into());
    assert_eq!(two.claim(&back, "k").await, Ok(()));
    two.records.is_alone(Some(Server::Away));
    two.registry.take_over(back.session()).await;
    a.session().goes_on_elsewhere();
    drop(a);
    let rival = start(&one.registry, "rival");
    let refused = one.claim(&rival, "k").await;
    assert!(matches!(refused, Err(Uncommitted::Away(_))), "{refused:?}");
    settled().await;
    // The refusal has not freed it.
    let record = &two.records.contents("key.")[0];
    assert!(record.contains(r#""gateway":"one""#), "{record}");
    two.records.is_alone(None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(one.holder("k").await.session_id, "back");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_finds_no_stream_that_has_left_while_nats_is_away() {
    let [one, two] = Node::two();
    let a = one.session("a", "k").await;
    let back = start(&two.registry, "back");
    back.session().resumes(&"a".into());
    assert_eq!(two.claim(&back, "k").await, Ok(()));
    two.registry.take_over(back.session()).await;
    // It was at both gateways, and is at the second one now.
    a.session().goes_on_elsewhere();
    drop(a);
    one.records.is_alone(Some(Server::Away));
    let again = start(&one.registry, "again");
    again.session().resumes(&"a".into());
    let refused = one.claim(&again, "k").await;
    assert!(matches!(refused, Err(Uncommitted::Away(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_left_stays_so_while_its_gateway_has_no_answer_from_nats() {
    let [one, two] = Node::two();
    let a = one.session("a", "k").await;
    one.records.is(Server::CutOff);
    a.session().goes_on_elsewhere();
    drop(a);
    // As long as an election may take.
    tokio::time::sleep(LEAVING).await;
    one.records.is(Server::Answers);
    tokio::time::sleep(LEAVING / 2).await;
    let record = &two.records.contents("key.")[0];
    assert!(record.contains(r#""gateway":"one""#), "{record}");
    tokio::time::sleep(LEAVING * 2).await;
    let _next = two.session("next", "k").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_restored_takes_no_key_before_its_stream_is_here() {
    let [one, two] = Node::two();
    let _a = one.session("a", "k").await;
    let a = start(&two.registry, "a");
    two.registry.claim(a.session(), "k").unwrap();
    two.registry.restoring(a.session());
    two.claims.follow_all();
    settled().await;
    let record = &two.records.contents("key.")[0];
    assert!(record.contains(r#""gateway":"one""#), "{record}");
    // The stream goes on where it is.
    drop(a);
    settled().await;
    let record = &two.records.contents("key.")[0];
    assert!(record.contains(r#""gateway":"one""#), "{record}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_evicted_for_a_key_by_a_session_that_does_not_get_another_one() {
    let [one, two] = Node::two();
    let _a = one.session("a", "k").await;
    let _other = one.session("other", "l").await;
    let b = start(&two.registry, "b");
    assert_eq!(two.claim(&b, "k").await, Err(Uncommitted::Held));
    two.registry.evict(b.session(), "k", "a", notice()).unwrap();
    two.registry.claim(b.session(), "l").unwrap();
    let committed = two.registry.commit(b.session(), Mark::START).await;
    assert_eq!(committed, Err(Uncommitted::Held));
    two.registry.undo(b.session(), Mark::START);
    settled().await;
    assert_eq!(two.records.asked(), []);
    assert_eq!(two.holder("k").await.session_id, "a");
}
