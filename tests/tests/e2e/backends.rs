//! Which of its backends a stream goes to, and over what.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use sluice_tests::backend::{Backend, path, relaying};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::tls::Authority;
use sluice_tests::{eventually, token};

fn among(addresses: &[SocketAddr]) -> Config {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    relaying(SocketAddr::from(([127, 0, 0, 1], 9))).set(
        "upstreams.recordings",
        "addresses",
        json!(addresses),
    )
}

fn start(gateway: &Gateway, name: &str) -> Client {
    start_as("u-1", gateway, name, "")
}

/// A stream of this user, with an order to the backend.
fn start_as(user: &str, gateway: &Gateway, name: &str, order: &str) -> Client {
    let path = meeting(name, "mic", &token::of_user(user));
    let path = format!("{path}&do={order}");
    let mut client = Client::connect(Library::Ws, gateway, &path);
    client.handshake();
    client
}

fn streaming(gateway: &Gateway, name: &str) -> Client {
    let mut client = start(gateway, name);
    client.expect_ack();
    client
}

/// Where nobody listens.
fn nowhere() -> SocketAddr {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    nobody.local_addr().unwrap()
}

/// An address whose connections are counted and closed.
fn counting() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for _ in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

#[test]
fn streams_are_spread_and_go_on_to_the_next_address_where_one_is_not_there() {
    let backends = [Backend::start(Library::Ws), Backend::start(Library::Ws)];
    let [one, two] = &backends;
    let gateway = Gateway::start(&among(&[one.address(), nowhere(), two.address()]));
    let clients: Vec<_> = (0..6)
        .map(|n| streaming(&gateway, &format!("m{n}")))
        .collect();
    for backend in &backends {
        assert_eq!(backend.events("open").len(), 3);
    }
    drop(clients);
}

#[test]
fn a_backend_that_keeps_failing_is_left_alone() {
    let (address, connections) = counting();
    let config = among(&[address])
        .set("upstreams.recordings", "rest_after", json!(3))
        .set("upstreams.recordings", "rest", json!("1h"));
    let gateway = Gateway::start(&config);
    for n in 0..8 {
        // It hangs up, which counts once for each user.
        let mut client = start_as(&format!("u-{n}"), &gateway, &format!("m{n}"), "");
        client.expect_refusal(4006, "upstream_unavailable");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3, "it is hammered");
    let lines = gateway.output().lines();
    let told = lines
        .iter()
        .filter(|line| line.contains("a backend keeps failing"));
    assert_eq!(told.count(), 1, "{lines:?}");
}

#[test]
fn what_a_backend_answers_to_one_client_keeps_nobody_else_out() {
    let backend = Backend::start(Library::Websockets);
    let config = relaying(backend.address())
        .set("upstreams.recordings", "rest_after", json!(2))
        .set("upstreams.recordings", "rest", json!("1h"));
    let gateway = Gateway::start(&config);
    let ask = |user: &str, order: &str| {
        let mut client = start_as(user, &gateway, &format!("{user}-{order}"), order);
        client.expect_refusal(4006, "upstream_unavailable");
    };
    for _ in 0..6 {
        ask("one", "status:500");
    }
    drop(streaming(&gateway, "m1"));
    for _ in 0..6 {
        ask("one", "status:302");
    }
    // Two clients are enough.
    ask("two", "status:503");
    start(&gateway, "m2").expect_refusal(4006, "upstream_unavailable");
}

#[test]
fn a_backend_that_refuses_a_stream_is_well() {
    let backend = Backend::start(Library::Websockets);
    let config = relaying(backend.address()).set("upstreams.recordings", "rest_after", json!(1));
    let gateway = Gateway::start(&config);
    let mut client = Client::connect(Library::Ws, &gateway, &path("status:403"));
    client.handshake();
    client.expect_refusal(4006, "upstream_unavailable");
    streaming(&gateway, "m1");
}

#[test]
fn connections_are_made_before_they_are_needed() {
    let authority = Authority::new();
    let backend = Backend::secure(&authority);
    let proxy = sluice_tests::proxy::Proxy::start(backend.address());
    let url = format!("wss://{}/in/{{param.meeting_id}}", proxy.address());
    let config = relaying(proxy.address())
        .set("upstreams.recordings", "url", json!(url))
        .set("upstreams.recordings", "ca_file", json!(authority.ca()));
    let gateway = Gateway::start(&config);
    let _first = streaming(&gateway, "m1");
    // One for the stream, and two in advance.
    eventually("the pool is full", || {
        (proxy.connections() == 3).then_some(())
    });
    // A stream that begins now finds one that is ready, though nobody listens
    // any more.
    proxy.lead_to(nowhere());
    let _second = streaming(&gateway, "m2");
    assert_eq!(backend.events("open").len(), 2);
}

#[test]
fn the_log_names_the_backend_of_a_stream() {
    let backend = Backend::start(Library::Ws);
    let gateway = Gateway::start(&relaying(backend.address()));
    let path = meeting("m1", "mic", &token::good());
    let mut client = Client::connect(Library::Ws, &gateway, &path);
    client.handshake();
    let session = client.expect_ack();
    client.vanish();
    let entry = gateway.connection_log(&session);
    assert_eq!(entry["backend"], backend.address().to_string(), "{entry}");
}

#[test]
fn a_backend_has_to_be_who_its_url_says() {
    let (authority, other) = (Authority::new(), Authority::new());
    let backend = Backend::secure(&authority);
    let config = |ca: &Authority| {
        let url = format!("wss://{}/in/{{param.meeting_id}}", backend.address());
        relaying(backend.address())
            .set("upstreams.recordings", "url", json!(url))
            .set("upstreams.recordings", "ca_file", json!(ca.ca()))
    };
    let gateway = Gateway::start(&config(&authority));
    let mut client = streaming(&gateway, "m1");
    client.binary(&[7; 640]);
    client.json(&json!({"type": "finalize"}));
    assert_eq!(client.message()["type"], "transcript");
    assert_eq!(client.message()["bytes"], 640);
    let gateway = Gateway::start(&config(&other));
    let mut client = start(&gateway, "m1");
    client.expect_refusal_saying(
        4006,
        "upstream_unavailable",
        "the upstream cannot be reached",
    );
    let entry = gateway.output().find("the log entry", |line| {
        line.contains("connection ended").then(|| line.to_owned())
    });
    assert!(
        entry
            .unwrap_or_default()
            .contains("invalid peer certificate")
    );
}
