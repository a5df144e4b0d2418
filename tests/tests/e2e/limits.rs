//! How much the gateway takes: connections, attempts, descriptors. Whoever is
//! one too many is told so and when to come back; beyond that, connections wait
//! unaccepted, and the gateway lives.

use std::path::Path;

use serde_json::{Value, json};
use sluice_tests::client::{self, Client, Library, handshake};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::tls::Authority;
use sluice_tests::{command, eventually, token, with_both_clients};
use tungstenite::protocol::frame::coding::{Control, OpCode};

/// `max_connections` and `max_refusals`, and nothing that costs time to start.
fn limited_to(connections: usize, refusals: usize) -> Config {
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

/// A client that comes back when it is told to, and streams in the end.
fn gets_in(gateway: &Gateway) -> Raw {
    for _ in 0..20 {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade("/ingest/m1");
        peer.write(&raw::text(&handshake().to_string())).unwrap();
        let answer = peer.message();
        if answer["type"] == "handshake-ack" {
            return peer;
        }
        assert_eq!(answer["code"], "overloaded", "{answer}");
    }
    panic!("it is kept out");
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
        let gateway = Gateway::start(&limited_to(1, 8));
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
    let gateway = Gateway::start(&limited_to(1, 8));
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
    let config = limited_to(1, 1).limit("close_timeout", "10min");
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
    // One after the other gets the one place, when the connection before has
    // released it.
    for mut peer in waiting {
        assert_eq!(peer.response().status, 101);
        close(peer, 1000);
    }
}

/// Occupies the gateway from an address of its own with connections that say no more than this.
fn occupy(gateway: &Gateway, words: &[u8]) -> Vec<Raw> {
    let one = || {
        let mut peer = Raw::connect_from([127, 0, 0, 2].into(), gateway.address());
        // It may have had to make room already.
        drop(peer.write(words));
        peer
    };
    (0..200).map(|_| one()).collect()
}

#[test]
fn what_one_address_holds_before_its_upgrade_keeps_nobody_out() {
    let config = limited_to(64, 8).set("server", "header_timeout", json!("10min"));
    let request = raw::upgrade_request("/echo");
    let (half, rest) = request.split_at(40);
    for words in ["", "G", half] {
        let gateway = Gateway::start(&config);
        let mut slow = Raw::connect(gateway.address());
        slow.write(half.as_bytes()).unwrap();
        let occupied = occupy(&gateway, words.as_bytes());
        let others: Vec<_> = (0..40).map(|_| gets_in(&gateway)).collect();
        assert!(gateway.metric("sluice_connections_pushed_out_total") > 0.0);
        // Whoever has few may take his time.
        assert_eq!(slow.request(rest).status, 101);
        close(slow, 1000);
        drop(occupied);
        for peer in others {
            close(peer, 1000);
        }
    }
}

#[test]
fn tls_handshakes_of_one_address_keep_nobody_out() {
    let authority = Authority::new();
    let config = limited_to(64, 8).set("server", "header_timeout", json!("10min"));
    let config = authority.secure(config);
    // The beginning of a ClientHello.
    for words in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let gateway = Gateway::start(&config);
        let _occupied = occupy(&gateway, words);
        let mut others: Vec<_> = (0..20)
            .map(|_| {
                let mut peer = Raw::connect(gateway.address()).over_tls(&authority);
                peer.upgrade("/echo");
                peer
            })
            .collect();
        assert!(gateway.metric("sluice_connections_pushed_out_total") > 0.0);
        for peer in &mut others {
            peer.write(&raw::text("there?")).unwrap();
            assert_eq!(peer.frame().expect("an answer").payload, b"there?");
        }
    }
}

#[test]
fn unfinished_messages_of_one_address_take_nobody_elses_memory() {
    let config = limited_to(1000, 8)
        .set("server", "max_memory", json!("4MiB"))
        .limit("handshake_timeout", "10min")
        .limit("message_timeout", "10min")
        .echo_limit("message_timeout", "10min");
    let gateway = Gateway::start(&config);
    let message = raw::text(&"x".repeat(200 * 1024));
    // Before a handshake and in a stream, and six MiB of each.
    for path in ["/ingest/m1", "/echo"] {
        let before = gateway.metric(REFUSED);
        let mut greedy: Vec<_> = (0..30)
            .map(|_| {
                let mut peer = Raw::connect_from([127, 0, 0, 2].into(), gateway.address());
                peer.upgrade(path);
                drop(peer.write(&message[..message.len() - 1]));
                peer
            })
            .collect();
        eventually("connections that hold too much", || {
            (gateway.metric(REFUSED) >= before + 10.0).then_some(())
        });
        assert!(gateway.metric("sluice_memory_held_bytes") <= 4.0 * 1024.0 * 1024.0);
        let mut other = Raw::connect(gateway.address());
        other.upgrade("/echo");
        let said = [7; 100 * 1024];
        other.write(&raw::binary(&said)).unwrap();
        assert_eq!(other.frame().expect("an answer").payload, said);
        close(other, 1000);
        // Whoever was refused can read why, and the others go on.
        let last = greedy.last_mut().expect("thirty");
        let frame = last.message();
        assert_eq!(frame["code"], "overloaded");
        assert_eq!(
            frame["message"],
            "this client makes the gateway hold too much"
        );
        assert_eq!(frame["retryable"], true);
        let close = last.frame().expect("a Close");
        assert_eq!(close.close().map(|(code, _)| code), Some(1013));
        drop(greedy);
        eventually("all memory back", || {
            (gateway.metric("sluice_memory_held_bytes") == 0.0).then_some(())
        });
    }
}

/// Connections that were ended because they would hold too much.
const REFUSED: &str = r#"sluice_memory_refused_total{reason="share"}"#;

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
    let gateway = limited(&limited_to(8000, 0), "ulimit -Sn 200");
    let held: Vec<_> = (0..250).map(|_| stream(&gateway)).collect();
    assert_eq!(gateway.metric("sluice_connections_live"), held.len() as f64);
}

#[test]
fn scarce_descriptors_bound_the_connections_and_not_the_life_of_the_gateway() {
    const DESCRIPTORS: usize = 200;
    // What is left beside 64 for other things and 32 refusals, for two each. An eighth of these is
    // for clients that have few.
    const ALL: usize = (DESCRIPTORS - 64 - 32) / 2;
    const PLACES: usize = ALL - ALL / 8;
    let mut gateway = limited(&limited_to(8000, 32), &format!("ulimit -n {DESCRIPTORS}"));
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
            .set("routes.ingest", "rate_key", json!(["remote", "param.meeting_id", "query.source"]))
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

#[test]
fn a_new_meeting_each_time_is_no_new_client() {
    let config = Config::open()
        .set("routes.ingest", "rate_attempts", json!(2))
        .limit("rate_per", "1h");
    let gateway = Gateway::start(&config);
    let mut client = Client::idle(Library::Ws);
    for meeting in ["m1", "m2"] {
        admitted(&mut client, &gateway, &format!("/ingest/{meeting}"));
    }
    for path in ["/ingest/m3", "/ingest/m4?source=sys"] {
        client.open(&gateway, path, &[]);
        client.expect_refusal(1013, "rate_limited");
    }
    // Another route counts for itself.
    client.open(&gateway, "/echo", &[]);
    client.echoes("there?");
}

fn from(address: &str) -> [(&str, &str); 1] {
    [("X-Forwarded-For", address)]
}

/// One connection more than its client may have.
fn refused_share(client: &mut Client, gateway: &Gateway, path: &str, headers: &[(&str, &str)]) {
    client.open(gateway, path, headers);
    let frame = client.expect_refusal_saying(
        1013,
        "overloaded",
        "this client has as many connections as it may have",
    );
    assert_eq!(frame["retryable"], true);
    assert!(frame["retry_after_ms"].is_u64(), "{frame}");
}

with_both_clients! {
    fn an_address_has_its_share_of_connections_and_no_more(library) {
        let config = Config::open()
            .set("server", "max_connections_per_address", json!(2))
            .set("server", "trusted_proxies", json!(["127.0.0.1"]));
        let gateway = Gateway::start(&config);
        let open = |address: &str| {
            let mut client = Client::idle(library);
            client.open(&gateway, "/echo", &from(address));
            client.echoes("there?");
            client
        };
        let mut first = open("192.0.2.1");
        let _second = open("192.0.2.1");
        let mut third = Client::idle(library);
        refused_share(&mut third, &gateway, "/echo", &from("192.0.2.1"));
        // Nobody else notices, and a network of IPv6 is one address.
        let _others = [open("192.0.2.2"), open("2001:db8::1"), open("2001:db8::2")];
        refused_share(&mut third, &gateway, "/echo", &from("2001:db8::3"));
        first.leave();
        let _again = open("192.0.2.1");
    }

    fn a_user_and_a_tenant_have_their_shares(library) {
        let config = Config::ingest()
            .set("server", "max_connections_per_user", json!(1))
            .set("server", "max_connections_per_tenant", json!(2));
        let gateway = Gateway::start(&config);
        let path = |user: &str, tenant: &str, meeting: &str| {
            let claims = token::claims_with(json!({"user_id": user, "tenant_id": tenant}));
            client::meeting(meeting, "mic", &token::sign(&claims))
        };
        let open = |path: &str| {
            let mut client = Client::connect(library, &gateway, path);
            client.handshake();
            client.expect_ack();
            client
        };
        let mut first = open(&path("u-1", "t-1", "m1"));
        let mut other = Client::idle(library);
        refused_share(&mut other, &gateway, &path("u-1", "t-1", "m2"), &[]);
        let _second = open(&path("u-2", "t-1", "m3"));
        refused_share(&mut other, &gateway, &path("u-3", "t-1", "m4"), &[]);
        // Of another tenant, even if it has the same name.
        let _elsewhere = open(&path("u-1", "t-2", "m5"));
        first.finalize(0, 0);
        let _third = open(&path("u-3", "t-1", "m4"));
    }
}

/// A stream whose client is gone at once, and can come back.
fn park(gateway: &Gateway, user: &str, meeting: &str) {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&client::meeting(meeting, "mic", &token::of_user(user)));
    let mut greeting = handshake();
    greeting["features"] = json!(["ack", "resume"]);
    peer.write(&raw::text(&greeting.to_string())).unwrap();
    assert_eq!(peer.message()["status"], "ready");
    peer.reset();
}

#[test]
fn the_parked_streams_of_one_client_take_nobody_elses_descriptors() {
    const DESCRIPTORS: usize = 512;
    let config = Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .limit("resume_grace", "10min");
    let mut gateway = limited(&config, &format!("ulimit -n {DESCRIPTORS}"));
    // More than there are descriptors.
    for number in 0..DESCRIPTORS + 40 {
        park(&gateway, "greedy", &format!("m{number}"));
    }
    let live = "sluice_connections_live";
    eventually("the end of the connections", || {
        (gateway.metric(live) == 0.0).then_some(())
    });
    let recording = |path: &&std::path::PathBuf| path.extension().is_some_and(|it| it == "wav");
    let parked = || gateway.descriptors().iter().filter(recording).count();
    eventually("few parked streams", || {
        ((1..=6).contains(&parked())).then_some(())
    });
    // Somebody else's streams are parked as well, and go on.
    park(&gateway, "modest", "n1");
    eventually("one more parked stream", || (parked() == 7).then_some(()));
    let mut other = Client::connect(
        Library::Ws,
        &gateway,
        &client::meeting("n2", "mic", &token::of_user("other")),
    );
    other.handshake();
    other.expect_ack();
    other.finalize(0, 0);
    let lines = gateway.output().lines();
    let failed = |line: &&String| {
        line.contains("Too many open files") || line.contains("could not be accepted")
    };
    assert_eq!(lines.iter().find(failed), None);
    assert!(gateway.runs());
}
