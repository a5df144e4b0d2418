//! Delivery under fire: whatever ends a connection, its client gets to read
//! why, though it has a tiny window, replies that it has not read, and 2 MB
//! that it goes on sending before it reads again.
//!
//! If a socket is closed with unread input, the kernel sends a reset, which destroys what the
//! client has not read. Only a host that keeps reading gets its error frame and its Close through.
//! The last test here shows that nothing else does.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluice_tests::raw::{self, Raw};
use sluice_tests::tls::Authority;

mod cases;
mod victim;
mod worlds;

use cases::Case;
use worlds::World;

/// Clients for each case.
const CLIENTS: usize = 200;
const AT_ONCE: usize = 64;

/// 2 MB of messages that are taken on every route.
fn flood() -> Vec<u8> {
    raw::binary(&[0x55; 32 * 1024]).repeat(64)
}

/// Subjects clients to every case, and demands that none misses a word.
fn every_client_reads_it(world: &World, cases: &[Case], at_once: usize) {
    let flood = flood();
    let next = AtomicUsize::new(0);
    let reached: Vec<_> = cases.iter().map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number / CLIENTS) else {
                        break;
                    };
                    // One that fails says so by itself; the others are counted.
                    let suffers = || victim::suffer(world, case, number % CLIENTS, &flood);
                    if std::panic::catch_unwind(AssertUnwindSafe(suffers)).is_ok() {
                        reached[number / CLIENTS].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let reached = reached.iter().map(|count| count.load(Ordering::Relaxed));
    let counted: Vec<_> = cases.iter().map(|case| case.name).zip(reached).collect();
    assert!(
        counted.iter().all(|(_, count)| *count == CLIENTS),
        "of {CLIENTS} clients each were reached: {counted:?}"
    );
}

fn all_causes_reach_every_client(authority: Option<&Authority>) {
    let world = World::usual(authority);
    every_client_reads_it(&world, &cases::usual(), AT_ONCE);
    let world = World::overloaded(authority);
    every_client_reads_it(&world, &[cases::overloaded()], AT_ONCE);
    let world = World::draining(authority);
    every_client_reads_it(&world, &[cases::draining()], AT_ONCE);
    let world = World::ending(authority, CLIENTS);
    every_client_reads_it(&world, &[cases::ending()], CLIENTS);
}

#[test]
fn over_tcp_all_causes_reach_every_client() {
    all_causes_reach_every_client(None);
}

#[test]
fn over_tls_all_causes_reach_every_client() {
    all_causes_reach_every_client(Some(&Authority::new()));
}

fn a_refusal_reaches_every_client_by_default(authority: Option<&Authority>) {
    let world = World::by_default(authority);
    // Two seconds are for a machine that does not fight for its processor.
    every_client_reads_it(&world, &cases::by_default(), AT_ONCE / 8);
}

#[test]
fn over_tcp_the_timings_that_nobody_set_are_enough() {
    a_refusal_reaches_every_client_by_default(None);
}

#[test]
fn over_tls_the_timings_that_nobody_set_are_enough() {
    a_refusal_reaches_every_client_by_default(Some(&Authority::new()));
}

/// The same clients, and a gateway that is told not to stay: it hangs up right
/// behind its Close.
#[test]
fn without_reading_on_most_clients_would_never_know() {
    const CLIENTS: usize = 50;
    let authority = Authority::new();
    for authority in [None, Some(&authority)] {
        let world = World::hasty(authority);
        let flood = flood();
        let hears = |number| victim::hears_the_close(&world, number, &flood);
        let reached = std::thread::scope(|scope| {
            let clients = (0..CLIENTS).map(|number| scope.spawn(move || hears(number)));
            let clients: Vec<_> = clients.collect();
            let heard = clients.into_iter().map(|client| client.join().unwrap());
            heard.filter(|heard| *heard).count()
        });
        assert!(
            reached < CLIENTS / 2,
            "{reached} of {CLIENTS} were reached, TLS: {}",
            authority.is_some()
        );
    }
}

/// A connection of a client that cannot take much.
fn connect(world: &World) -> Raw {
    let peer = Raw::connect_with_small_window(world.gateway.address());
    match world.authority {
        Some(authority) => peer.over_tls(authority),
        None => peer,
    }
}
