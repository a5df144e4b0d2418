//! What permits a connection gets.

use super::*;
use futures_util::FutureExt as _;

async fn next(permits: &Permits) -> ConnectionPermit {
    permits.grant(permits.socket().await)
}

#[tokio::test]
async fn beyond_the_places_come_refusals_and_beyond_those_nothing() {
    let permits = Permits::new(1, 1);
    let first = next(&permits).await;
    let second = next(&permits).await;
    assert!(first.place.is_some() && second.place.is_none());
    assert!(permits.socket().now_or_never().is_none());
    drop(second);
    assert!(next(&permits).await.place.is_none());
}

#[tokio::test]
async fn a_place_is_free_again_before_its_socket_is() {
    let permits = Permits::new(1, 1);
    let ConnectionPermit {
        socket: _lingering,
        place,
        ..
    } = next(&permits).await;
    drop(place);
    let next = next(&permits).await;
    assert!(next.place.is_some() && permits.is_full());
}

#[tokio::test]
async fn a_place_that_becomes_free_while_nobody_comes_is_for_whoever_comes_next() {
    let permits = Permits::new(1, 1);
    let first = next(&permits).await;
    let waiting = permits.socket().await;
    drop(first);
    assert!(permits.grant(waiting).place.is_some());
}

#[tokio::test]
async fn the_last_places_are_for_clients_that_have_few() {
    let permits = Permits::new(16, 4);
    let (greedy, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    let mut held = Vec::new();
    let refused = loop {
        let permit = next(&permits).await;
        assert!(permit.place.is_some());
        let Some(share) = permits.of_address(greedy) else {
            break permit;
        };
        held.push((permit, share));
    };
    // Of sixteen, the last one is left, and the one before is refused.
    assert_eq!(held.len(), 14);
    drop(refused);
    let granted = [next(&permits).await, next(&permits).await];
    let shares = granted.each_ref().map(|_| permits.of_address(other));
    assert!(shares.iter().all(Option::is_some));
    assert!(permits.of_address(other).is_none());
}

#[tokio::test]
async fn openings_of_one_address_make_room_only_when_places_are_scarce() {
    let permits = Permits::new(16, 4);
    let (greedy, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    let open = async |address| {
        let mut permit = next(&permits).await;
        let pushed_out = permits.open(&mut permit, Some(address)).expect("counted");
        (permit, Box::pin(pushed_out.wait()))
    };
    let mut held = Vec::new();
    for _ in 0..14 {
        held.push(open(greedy).await);
    }
    let mut is_out = |at: usize| (&mut held[at].1).now_or_never().is_some();
    assert!((0..14).all(|at| !is_out(at)), "there is enough");
    let (mut permit, mut newcomer) = open(other).await;
    assert!(is_out(0) && !is_out(1), "the oldest makes room");
    assert!(permit.has_place() && permit.pass() && permit.place.is_some());
    assert!((&mut newcomer).now_or_never().is_none());
    // A connection without a charged address is accepted as well.
    let mut permit = next(&permits).await;
    assert!(permits.open(&mut permit, None).is_none() && is_out(1));
    assert!(permit.pass() && permit.place.is_some());
}

#[tokio::test]
async fn an_upstream_has_all_of_its_descriptors_or_none() {
    let permits = Permits::new(4, 0).with_upstreams(4);
    let first = permits.upstream(3);
    assert!(first.is_some() && permits.upstream(2).is_none());
    assert!(permits.upstream(1).is_some() && permits.upstream(0).is_some());
    drop(first);
    assert!(permits.upstream(4).is_some());
}
