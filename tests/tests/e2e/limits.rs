//! How much the gateway takes: connections, attempts, descriptors. Whoever is
//! one too many is told so and when to come back; beyond that, connections wait
//! unaccepted, and the gateway lives.

use std::path::Path;

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, handshake};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::{command, eventually, with_both_clients};
use tungstenite::protocol::frame::coding::{Control, OpCode};

/// `max_connections` and `max_refusals`, and nothing that costs time to start.
fn lanes(connections: usize, refusals: usize) -> Config {
    Config::open()
        .set("server", "max_connections", json!(connections))
        .set("server", "max_refusals", json!(refusals))
        .set("server", "admin_listen", json!("127.0.0.1:0"))
}

/// A client that streams, and stays.
fn stream(gateway: &Gateway) -> Raw {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade("/ingest/m1");
    peer.write(&raw::text(&handshake().to_string())).unwrap();
    assert_eq!(peer.message()["type"], "handshake-ack");
    peer
}

fn close(mut peer: Raw, code: u16) {
    peer.send(OpCode::Control(Control::Close), &code.to_be_bytes());
    let close = peer.frame().expect("a Close");
    assert_eq!(close.close().map(|(code, _)| code), Some(code));
    assert_eq!(peer.frame(), None);
}

/// What a client that is one too many reads. It has not answered the Close.
fn refused_as_overload(peer: &mut Raw) {
    let frame = peer.message();
    assert_eq!(frame["code"], "overloaded");
    let close = peer.frame().expect("a Close");
    assert_eq!(close.close().map(|(code, _)| code), Some(1013));
}

with_both_clients! {
    fn one_connection_too_many_is_told_when_to_come_back(library) {
        let gateway = Gateway::start(&lanes(1, 8));
        let held = stream(&gateway);
        let mut client = Client::idle(library);
        for path in ["/ingest/m2", "/echo", "/nowhere"] {
            client.open(&gateway, path, &[]);
            let frame = client.expect_refusal_saying(1013, "overloaded", "the gateway is overloaded");
            assert_eq!(frame["retryable"], true);
            let wait = frame["retry_after_ms"].as_u64().expect("when to come back");
            assert!((1000..5000).contains(&wait), "{frame}");
        }
        close(held, 1000);
        client.open(&gateway, "/ingest/m2", &[]);
        client.handshake();
        client.expect_ack();
    }
}

#[test]
fn a_place_is_free_for_whoever_sees_its_close() {
    let gateway = Gateway::start(&lanes(1, 8));
    for _ in 0..50 {
        let mut peer = stream(&gateway);
        peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
        assert_eq!(peer.message()["status"], "finalized");
        assert!(peer.frame().expect("a Close").close().is_some());
        // It has seen its Close, and comes back without an answer to it.
    }
}

#[test]
fn beyond_the_refusals_connections_wait_and_are_served_in_the_end() {
    let config = lanes(1, 1).limit("close_timeout", "10min");
    let gateway = Gateway::start(&config);
    let held = stream(&gateway);
    let mut lingering = Raw::connect(gateway.address());
    lingering.upgrade("/ingest/m2");
    refused_as_overload(&mut lingering);
    eventually("accepting waits", || {
        (gateway.metric("sluice_accept_waits_total") > 0.0).then_some(())
    });
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let mut peer = Raw::connect(gateway.address());
            peer.write(raw::upgrade_request("/echo").as_bytes())
                .unwrap();
            peer
        })
        .collect();
    assert_eq!(gateway.metric("sluice_connections_accepted_total"), 2.0);
    close(held, 1000);
    // One after the other finds a seat: the one that is left, when another
    // lets go of it.
    for mut peer in waiting {
        assert_eq!(peer.response().status, 101);
        close(peer, 1000);
    }
}

/// A gateway of a shell that limits it first.
fn limited(config: &Config, limit: &str) -> Gateway {
    Gateway::start_as(config, |serve| {
        let script = format!("{limit}; exec \"$0\" \"$@\"");
        let mut limited = command::quiet(Path::new("sh"), &["-c", &script]);
        limited.arg(serve.get_program()).args(serve.get_args());
        limited
    })
}

#[test]
fn a_soft_limit_of_descriptors_is_raised_and_bounds_nothing() {
    let gateway = limited(&lanes(8000, 0), "ulimit -Sn 200");
    let held: Vec<_> = (0..250).map(|_| stream(&gateway)).collect();
    assert_eq!(gateway.metric("sluice_connections_live"), held.len() as f64);
}

#[test]
fn scarce_descriptors_bound_the_connections_and_not_the_life_of_the_gateway() {
    const DESCRIPTORS: usize = 200;
    // What is left beside 64 for other things and 32 refusals, for two each.
    const PLACES: usize = (DESCRIPTORS - 64 - 32) / 2;
    let mut gateway = limited(&lanes(8000, 32), &format!("ulimit -n {DESCRIPTORS}"));
    let held: Vec<_> = (0..PLACES).map(|_| stream(&gateway)).collect();
    let mut refused: Vec<_> = (0..32)
        .map(|_| {
            let mut peer = Raw::connect(gateway.address());
            peer.upgrade("/ingest/m2");
            refused_as_overload(&mut peer);
            peer
        })
        .collect();
    // More than there are descriptors.
    let waiting: Vec<_> = (0..DESCRIPTORS)
        .map(|_| Raw::connect(gateway.address()))
        .collect();
    refused.iter_mut().for_each(|peer| {
        peer.send(OpCode::Control(Control::Close), &1013_u16.to_be_bytes());
    });
    drop((held, refused, waiting));
    eventually("room again", || {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade("/echo");
        peer.write(&raw::text("there?")).unwrap();
        let answer = peer.frame().expect("an answer");
        (answer.payload == b"there?").then_some(())
    });
    assert!(gateway.runs());
}

with_both_clients! {
    fn whoever_tries_too_often_is_told_when_to_come_back(library) {
        let config = Config::open()
            .set("routes.ingest", "rate_attempts", json!(2))
            .limit("rate_per", "1h");
        let gateway = Gateway::start(&config);
        let mut client = Client::idle(library);
        // An attempt that is refused for another reason counts as well, and no
        // other name of the same source is another client.
        for source in ["nobody", "tv"] {
            client.open(&gateway, &format!("/ingest/m1?source={source}"), &[]);
            client.expect_refusal(4000, "handshake_invalid");
        }
        client.open(&gateway, "/ingest/m1?source=radio", &[]);
        let frame = client.expect_refusal_saying(1013, "rate_limited", "too many attempts");
        assert_eq!(frame["retryable"], true);
        let wait = frame["retry_after_ms"].as_u64().expect("when to come back");
        assert!(wait > 60_000 && wait <= 1_800_000, "{frame}");
        for [first, second] in [["", "?source=mic"], ["?source=sys", "?source=system"]] {
            for query in [first, second] {
                admitted(&mut client, &gateway, &format!("/ingest/m1{query}"));
            }
            client.open(&gateway, &format!("/ingest/m1{first}"), &[]);
            client.expect_refusal(1013, "rate_limited");
        }
        // Another meeting is somebody else.
        admitted(&mut client, &gateway, "/ingest/m2");
    }
}

fn admitted(client: &mut Client, gateway: &Gateway, path: &str) {
    client.open(gateway, path, &[]);
    client.json(&json!({"type": "handshake", "sample_rate": 16000, "device_id": "d"}));
    client.expect_ack();
    client.close(1000, "");
    client.event();
}

#[test]
fn whoever_waits_as_long_as_he_is_told_is_let_in() {
    let config = Config::open()
        .set("routes.ingest", "rate_attempts", json!(1))
        .limit("rate_per", "300ms");
    let gateway = Gateway::start(&config);
    let mut client = Client::idle(Library::Ws);
    let mut refusals = 0;
    for _ in 0..3 {
        eventually("an attempt that is allowed", || {
            client.open(&gateway, "/ingest/m1", &[]);
            client.handshake();
            let answer: Value = client.message();
            client.close(1000, "");
            client.event();
            if answer["type"] == "handshake-ack" {
                return Some(());
            }
            refusals += 1;
            let wait = answer["retry_after_ms"]
                .as_u64()
                .expect("when to come back");
            assert!(wait <= 300, "{answer}");
            std::thread::sleep(std::time::Duration::from_millis(wait));
            None
        });
    }
}
