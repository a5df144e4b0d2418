//! Upgrades at the edge of what is one: heads that are large, tokens where a web page can put them,
//! origins, and requests that only look like an upgrade.

use std::net::Shutdown;

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::Client;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw, Response, upgrade_request};
use sluice_tests::{token, with_both_clients};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::{Control, OpCode};

const PING: OpCode = OpCode::Control(Control::Ping);
const PONG: OpCode = OpCode::Control(Control::Pong);

/// Routes without policies, with an admin listener.
fn open() -> Config {
    Config::open().set("server", "admin_listen", json!("127.0.0.1:0"))
}

/// A valid upgrade of `/echo` with these lines more, each with its end.
fn with_lines(lines: &str) -> String {
    upgrade_request("/echo").replacen("\r\n\r\n", &format!("\r\n{lines}\r\n"), 1)
}

/// Whoever is welcome is answered.
fn is_admitted(peer: &mut Raw) {
    peer.write(&raw::masked(PING, b"")).unwrap();
    assert_eq!(peer.frame().expect("a Pong").opcode, PONG);
}

/// The error frame and the Close of a refusal.
fn is_refused(peer: &mut Raw, code: u16) -> Value {
    let error = peer.message();
    let close = peer.frame().expect("a Close");
    let (closed, reason) = close.close().expect("a Close");
    assert_eq!((closed, reason), (code, error["message"].as_str().unwrap()));
    error
}

/// The answer to a request, which is the last.
fn answered_for_good(gateway: &Gateway, request: &str) -> Response {
    let mut peer = Raw::connect(gateway.address());
    let response = peer.request(request);
    assert_ne!(response.body, "", "{request}");
    let options = response.header("Connection").unwrap_or_default();
    assert!(options.ends_with("close"), "{request}: {options}");
    assert_eq!(peer.frame(), None, "{request}");
    response
}

#[test]
fn a_key_with_stray_bits_at_its_end_is_a_key() {
    let gateway = Gateway::start(&open());
    // The first is an example of RFC 6455 itself, in section 1.3.
    for key in ["AQIDBAUGBwgJCgsMDQ4PEC==", "dGhlIHNhbXBsZSBub25jZR=="] {
        let mut peer = Raw::connect(gateway.address());
        let response = peer.request(&upgrade_request("/echo").replace(raw::KEY, key));
        assert_eq!(response.status, 101, "{key}");
        let accept = derive_accept_key(key.as_bytes());
        assert_eq!(response.header("Sec-WebSocket-Accept"), Some(&*accept));
        is_admitted(&mut peer);
    }
}

#[test]
fn a_host_that_is_missing_double_or_invalid_is_a_bad_request() {
    let gateway = Gateway::start(&open());
    let host = "Host: localhost\r\n";
    let requests = [
        upgrade_request("/echo"),
        format!("GET / HTTP/1.1\r\n{host}\r\n"),
    ];
    for request in &requests {
        for instead in [
            "",
            "Host:\r\n",
            "Host: localhost\r\nHost: localhost\r\n",
            "Host: a b\r\n",
            "Host: http://localhost/\r\n",
            "Host: localhost:99999\r\n",
            "Host: user@localhost\r\n",
        ] {
            let response = answered_for_good(&gateway, &request.replace(host, instead));
            assert_eq!(response.status, 400, "{instead:?}");
            assert!(response.body.contains("Host"), "{}", response.body);
        }
    }
    let counted = gateway.metric("sluice_http_refused_total{status=\"400\"}");
    assert_eq!(counted, 14.0);
}

#[test]
fn an_upgrade_with_a_body_is_none_and_its_body_is_never_read_as_frames() {
    let gateway = Gateway::start(&open());
    let ping = String::from_utf8_lossy(&raw::masked(PING, b"")).into_owned();
    for lines in [
        "Content-Length: 6\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 0\r\nContent-Length: 6\r\n",
        "Content-Length: x\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 6\r\nExpect: 100-continue\r\n",
    ] {
        let response = answered_for_good(&gateway, &(with_lines(lines) + &ping));
        assert_eq!(response.status, 400, "{lines:?}");
    }
    let mut expecting = Raw::connect(gateway.address());
    let response = expecting.request(&with_lines("Expect: 100-continue\r\n"));
    assert_eq!(response.status, 400);
    assert!(response.body.contains("Expect"), "{}", response.body);
    let mut empty = Raw::connect(gateway.address());
    let response = empty.request(&with_lines("Content-Length: 0\r\n"));
    assert_eq!(response.status, 101, "no body at all");
    is_admitted(&mut empty);
}

#[test]
fn what_is_no_http_is_told_so_in_words_and_counted() {
    let gateway = Gateway::start(&open());
    let garbage = [
        "\x16\x03\x01\x02",
        "GET /\r\n",
        "GET / HTTP/2.0\r\n",
        "hello\r\n",
    ];
    for request in garbage {
        assert_eq!(answered_for_good(&gateway, request).status, 400);
    }
    let whole = [
        "GET /echo HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET echo HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for request in whole {
        let mut peer = Raw::connect(gateway.address());
        let response = peer.request(request);
        assert_eq!(response.status, 400, "{request}");
        assert_ne!(response.body, "");
    }
    let counted = gateway.metric("sluice_http_refused_total{status=\"400\"}");
    assert_eq!(counted, (garbage.len() + whole.len()) as f64);
}

/// A valid upgrade whose head has so many bytes.
fn head_of(size: usize) -> String {
    let padding = "X-Padding: \r\n".len();
    let rest = size - upgrade_request("/echo").len() - padding;
    let request = with_lines(&format!("X-Padding: {}\r\n", "x".repeat(rest)));
    assert_eq!(request.len(), size);
    request
}

#[test]
fn the_bounds_of_a_head_are_exact_and_said_where_the_client_can_read_them() {
    const ADMITTED: usize = 32 * 1024;
    const READ: usize = 64 * 1024;
    let gateway = Gateway::start(&open());
    let upgrade = |size| {
        let mut peer = Raw::connect(gateway.address());
        assert_eq!(peer.request(&head_of(size)).status, 101, "{size}");
        peer
    };
    is_admitted(&mut upgrade(ADMITTED));
    for size in [ADMITTED + 1, READ] {
        let error = is_refused(&mut upgrade(size), 4000);
        assert_eq!(error["code"], "handshake_invalid");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("larger than 32768 bytes"), "{message}");
    }
    // What is larger still has an answer all the same, which arrives while the client is sending.
    for size in [READ + 1, 1024 * 1024] {
        let response = answered_for_good(&gateway, &head_of(size));
        assert_eq!(response.status, 431);
        assert!(response.body.contains("64 KiB"), "{}", response.body);
    }
    let endless = format!("GET /{}", "x".repeat(READ));
    assert_eq!(answered_for_good(&gateway, &endless).status, 431);
    let counted = gateway.metric("sluice_http_refused_total{status=\"431\"}");
    assert_eq!(counted, 3.0);
}

#[test]
fn many_headers_and_parameters_are_no_reason_to_fail_an_upgrade() {
    let gateway = Gateway::start(&open());
    let headers = |count: usize| {
        let lines = (0..count).map(|n| format!("X-{n}: y\r\n"));
        with_lines(&lines.collect::<String>())
    };
    let parameters = |count: usize| upgrade_request(&format!("/echo?{}", "a&".repeat(count)));
    // The request has five of its own.
    for request in [headers(99), headers(123), parameters(128)] {
        let mut peer = Raw::connect(gateway.address());
        assert_eq!(peer.request(&request).status, 101);
        is_admitted(&mut peer);
    }
    for (request, said) in [
        (headers(124), "more than 128 headers"),
        (headers(3_000), "more than 128 headers"),
        (parameters(129), "more than 128 parameters"),
        (parameters(14_000), "more than 128 parameters"),
    ] {
        let mut peer = Raw::connect(gateway.address());
        assert_eq!(peer.request(&request).status, 101);
        let error = is_refused(&mut peer, 4000);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn requests_that_are_no_upgrade_are_answered_one_after_the_other_and_then_comes_one_that_is() {
    let gateway = Gateway::start(&open());
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let bad_key = upgrade_request("/echo").replace(raw::KEY, "x");
    let upgrade = upgrade_request("/echo");
    let ping = raw::masked(PING, b"behind");
    let mut peer = Raw::connect(gateway.address());
    let all = [plain, "\r\n", post, &bad_key, plain, &upgrade].concat();
    peer.write(&[all.as_bytes(), &ping].concat()).unwrap();
    for status in [426, 405, 400, 426, 101] {
        let response = peer.response();
        assert_eq!(response.status, status);
        assert_eq!(response.body.is_empty(), status == 101);
    }
    let pong = peer.frame().expect("a Pong");
    assert_eq!((pong.opcode, &*pong.payload), (PONG, &b"behind"[..]));
    // A client that reads no body of a HEAD finds the next answer where it looks for it.
    let mut peer = Raw::connect(gateway.address());
    peer.write([head, &upgrade].concat().as_bytes()).unwrap();
    assert_eq!(peer.response_to_head().status, 405);
    assert_eq!(peer.response().status, 101);
}

#[test]
fn a_body_ends_the_connection_and_what_is_in_it_is_no_request() {
    let gateway = Gateway::start(&open());
    let inner = upgrade_request("/echo");
    for (header, status) in [
        (
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}",
                inner.len()
            ),
            405,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked".to_owned(),
            426,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close".to_owned(),
            426,
        ),
        ("GET / HTTP/1.0\r\nHost: a".to_owned(), 400),
    ] {
        let request = format!("{header}\r\n\r\n{inner}");
        assert_eq!(answered_for_good(&gateway, &request).status, status);
    }
}

#[test]
fn a_client_whose_side_ends_behind_its_request_is_answered() {
    let gateway = Gateway::start(&open());
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 426),
        (upgrade_request("/echo"), 101),
    ] {
        let mut peer = Raw::connect(gateway.address());
        peer.write(request.as_bytes()).unwrap();
        peer.writer().shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.response().status, status);
        peer.wait_for_end();
    }
}

#[test]
fn an_origin_of_the_requests_own_host_needs_no_entry_and_a_foreign_one_does() {
    let listed = [
        "https://*.example.com",
        "https://app.example:443",
        "null",
        "file://",
    ];
    let config = open().set("routes.echo", "origins", json!(listed));
    let gateway = Gateway::start(&config);
    let own = gateway.address().to_string();
    let elsewhere = format!("http://127.0.0.2:{}", gateway.address().port());
    for (host, origins, welcome) in [
        // As Starscream and Python's websocket-client send it, and a page of the host.
        (&*own, vec![format!("ws://{own}")], true),
        (&own, vec![format!("http://{own}")], true),
        // A proxy before the gateway speaks TLS.
        (
            "meet.example",
            vec!["https://meet.example".to_owned()],
            true,
        ),
        (
            "meet.example",
            vec!["http://meet.example:80".to_owned()],
            true,
        ),
        (
            "meet.example",
            vec!["https://meet.example.evil".to_owned()],
            false,
        ),
        (
            "meet.example",
            vec!["http://meet.example:3000".to_owned()],
            false,
        ),
        (&own, vec![elsewhere], false),
        (&own, vec!["https://app.example".to_owned()], true),
        (&own, vec!["https://a.example.com:443".to_owned()], true),
        (&own, vec!["https://example.com".to_owned()], false),
        (&own, vec!["null".to_owned()], true),
        (&own, vec!["file://".to_owned()], true),
        (&own, vec!["https://\u{fc}.example".to_owned()], false),
        (&own, vec![String::new()], false),
        (
            &own,
            vec![format!("http://{own}"), "http://evil.example".to_owned()],
            false,
        ),
    ] {
        let lines: String = origins
            .iter()
            .map(|it| format!("Origin: {it}\r\n"))
            .collect();
        let request = with_lines(&lines).replace("localhost", host);
        let mut peer = Raw::connect(gateway.address());
        assert_eq!(peer.request(&request).status, 101);
        println!("{host}: {origins:?}");
        if welcome {
            is_admitted(&mut peer);
        } else {
            assert_eq!(is_refused(&mut peer, 4005)["code"], "policy_denied");
        }
    }
}

/// The ingest route, with what it agrees on.
fn with_subprotocols(names: &[&str]) -> Config {
    let config = Config::ingest().set("decisions", "file", json!("decisions.jsonl"));
    config.set("routes.ingest", "subprotocols", json!(names))
}

const PATH: &str = "/ws/ingest/meetings/m1";

with_both_clients! {
    fn a_token_may_come_as_a_subprotocol_beside_another(library) {
        let mut gateway = Gateway::start(&with_subprotocols(&["notes.v2"]));
        let bearer = format!("sluice.bearer.{}", token::good());
        let mut client = Client::idle(library);
        // Both libraries fail where nothing of what they offered is agreed on.
        for beside in ["notes.v2", "sluice"] {
            client.open_offering(&gateway.url(PATH), &[], &[&bearer, beside]);
            client.handshake();
            client.expect_ack();
            client.finalize(0, 0);
        }
        let expired = token::sign(&token::claims_with(json!({"exp": token::now() - 600})));
        let expired = format!("sluice.bearer.{expired}");
        client.open_offering(&gateway.url(PATH), &[], &["sluice", &expired]);
        client.expect_refusal_saying(4001, "auth_failed", "auth failed: token expired");
        // The other ways win, as they do over each other.
        let header = [("Authorization", "Bearer nonsense")];
        client.open_offering(&gateway.url(PATH), &header, &["sluice", &bearer]);
        client.expect_refusal_saying(4001, "auth_failed", "auth failed: token malformed");
        client.open_offering(&gateway.url(&format!("{PATH}?token=nonsense")), &[], &["sluice", &bearer]);
        client.expect_refusal_saying(4001, "auth_failed", "auth failed: token malformed");
        drop(client);
        gateway.signal(Signal::TERM);
        gateway.wait();
        let record = std::fs::read_to_string(gateway.data().join("decisions.jsonl")).unwrap();
        assert!(record.contains("\"notes.v2\""), "{record}");
        for text in [record, gateway.output().text()] {
            for secret in [&bearer, &expired] {
                let token = secret.strip_prefix("sluice.bearer.").unwrap();
                let signature = token.rsplit('.').next().unwrap();
                assert!(!text.contains(signature), "{text}");
            }
        }
    }
}

#[test]
fn a_token_is_never_the_subprotocol_that_is_agreed_on() {
    let gateway = Gateway::start(&with_subprotocols(&["v1"]));
    let token = token::good();
    for (offer, agreed) in [
        ("sluice.bearer.TOKEN", None),
        ("sluice.bearer.TOKEN, v2", None),
        ("sluice.bearer.TOKEN, v1", Some("v1")),
        ("sluice, sluice.bearer.TOKEN, v1", Some("v1")),
        ("v2, sluice.bearer.TOKEN, sluice", Some("sluice")),
        ("sluice", None),
        ("sluice, v1", Some("v1")),
    ] {
        let line = format!(
            "Sec-WebSocket-Protocol: {}\r\n",
            offer.replace("TOKEN", &token)
        );
        let request = with_lines(&line).replace("/echo", PATH);
        let response = Raw::connect(gateway.address()).request(&request);
        assert_eq!(response.status, 101);
        assert_eq!(response.header("Sec-WebSocket-Protocol"), agreed, "{offer}");
    }
}

#[test]
fn a_connection_keeps_little_more_than_what_it_sent() {
    const CONNECTIONS: usize = 100;
    const SENT: usize = 28 * 1024;
    // Who is refused stays, and does not have to be waited for.
    let config = open()
        .echo_limit("close_timeout", "10min")
        .echo_limit("settle", "0s");
    let gateway = Gateway::start(&config);
    let long = |piece: &str, count: usize| piece.repeat(SENT / piece.len()).repeat(count);
    let several = |piece: &str| {
        let parts = (0..100).map(|n| piece.replace('N', &n.to_string()));
        parts.collect::<String>()
    };
    let text = "x".repeat(SENT / 100);
    let query = |query: &str| upgrade_request(&format!("/echo?{query}"));
    let shapes = [
        ("a short request", upgrade_request("/echo"), 101),
        ("a long query", query(&several(&format!("aN={text}&"))), 101),
        ("many parameters", query(&long("a&", 1)), 4000),
        ("encoded parameters", query(&long("%61&", 1)), 4000),
        (
            "headers",
            with_lines(&several(&format!("X-N: {text}\r\n"))),
            101,
        ),
        ("many headers", with_lines(&long("a:\r\n", 1)), 4000),
        (
            "cookies",
            with_lines(&format!("Cookie: {}\r\n", long("a=b; ", 1))),
            101,
        ),
        (
            "a list",
            with_lines(&format!("Sec-WebSocket-Protocol: {}\r\n", long("a,", 1))),
            101,
        ),
        ("a deep path", upgrade_request(&long("/a", 1)), 4004),
    ];
    let mut held = Vec::new();
    for (shape, request, code) in &shapes {
        let before = gateway.memory();
        for _ in 0..CONNECTIONS {
            let mut peer = Raw::connect(gateway.address());
            assert_eq!(peer.request(request).status, 101, "{shape}");
            match code {
                101 => is_admitted(&mut peer),
                code => drop(is_refused(&mut peer, *code)),
            }
            held.push(peer);
        }
        let each = gateway.memory().saturating_sub(before) / CONNECTIONS as u64;
        println!(
            "{shape}: {each} bytes for each connection, which sent {}",
            request.len()
        );
        // Beside the head, a connection is some 10 KiB; the first ones also warm the process up.
        let most = 2 * request.len() as u64 + 48 * 1024;
        assert!(each < most, "{shape}: {each} bytes for each connection");
    }
}
