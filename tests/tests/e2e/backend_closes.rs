//! The gateway as the client of a backend: what it answers to a Close, to a violation and to pings.

use serde_json::json;
use sluice_tests::backend::{path, relaying};
use sluice_tests::client::handshake;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::raw_backend::{Dialled, RawBackend};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Bytes of the longest message that is taken from a backend here.
const MAX_MESSAGE: usize = 1024;

/// Whatever breaks RFC 6455 or a limit, and the code that names it.
fn violations() -> Vec<(&'static str, Vec<u8>, u16)> {
    let too_big = [&[0x82, 126, 4, 1][..], &[0; MAX_MESSAGE + 1]].concat();
    let too_big_in_parts = [&[0x02, 126, 4, 0][..], &[0; MAX_MESSAGE], &[0x80, 1, 0]].concat();
    let long_control = [&[0x89, 126, 0, 126][..], &[0; 126]].concat();
    let mut violations = vec![
        ("a reserved bit", vec![0xc1, 0], 1002),
        ("a reserved data opcode", vec![0x83, 0], 1002),
        ("a reserved control opcode", vec![0x8b, 0], 1002),
        ("a masked frame", vec![0x81, 0x81, 1, 2, 3, 4, 5], 1002),
        ("a fragmented ping", vec![0x09, 0], 1002),
        ("a fragmented Close", vec![0x08, 2, 3, 0xe8], 1002),
        ("a long control frame", long_control, 1002),
        ("a continuation of nothing", vec![0x80, 0], 1002),
        ("a message in a message", vec![0x01, 0, 0x81, 0], 1002),
        (
            "a length with its top bit set",
            vec![0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
            1002,
        ),
        ("a length in a long form", vec![0x82, 126, 0, 1, 0], 1002),
        ("a Close of one byte", vec![0x88, 1, 3], 1002),
        ("a text that is not UTF-8", vec![0x81, 1, 0xff], 1007),
        (
            "a text that ends within a character",
            vec![0x81, 1, 0xc3],
            1007,
        ),
        (
            "a reason that is not UTF-8",
            vec![0x88, 3, 3, 0xe8, 0xff],
            1007,
        ),
        ("a long message", too_big, 1009),
        ("a long message in parts", too_big_in_parts, 1009),
    ];
    for code in [
        0_u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        let [high, low] = code.to_be_bytes();
        violations.push(("a code that is never sent", vec![0x88, 2, high, low], 1002));
    }
    violations
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut body = code.to_be_bytes().to_vec();
    body.extend_from_slice(reason.as_bytes());
    let mut frame = vec![0x88, u8::try_from(body.len()).expect("a control frame")];
    frame.append(&mut body);
    frame
}

/// The code of a Close.
fn code(body: &[u8]) -> u16 {
    let code = body.first_chunk().expect("a code");
    u16::from_be_bytes(*code)
}

fn config(backend: &RawBackend) -> Config {
    let options = [
        ("max_message", json!("1KiB")),
        ("rest_after", json!(1000)),
        // Each connection is of one stream.
        ("warm_connections", json!(0)),
    ];
    let mut config = relaying(backend.address());
    for upstream in ["upstreams.plain", "upstreams.recordings"] {
        for (option, value) in &options {
            config = config.set(upstream, option, value.clone());
        }
    }
    config
}

/// A relay without a handshake.
fn plain(gateway: &Gateway, backend: &RawBackend) -> (Raw, Dialled) {
    let mut client = Raw::connect(gateway.address());
    client.upgrade("/relay");
    (client, backend.accept())
}

/// A stream of the main job, and its handshake is with the backend.
fn ingest(gateway: &Gateway, backend: &RawBackend) -> (Raw, Dialled) {
    let mut client = Raw::connect(gateway.address());
    client.upgrade(&path(""));
    client
        .write(&raw::text(&handshake().to_string()))
        .expect("the gateway reads");
    let mut dialled = backend.accept();
    let greeting = dialled.frame().expect("a handshake");
    assert_eq!(greeting.opcode, OpCode::Data(Data::Text));
    (client, dialled)
}

#[test]
fn a_violation_of_a_backend_is_answered_with_the_code_that_names_it() {
    let backend = RawBackend::start();
    let gateway = Gateway::start(&config(&backend));
    for (what, bytes, expected) in violations() {
        // In the middle of a stream, and before the handshake is answered.
        for start in [plain, ingest] {
            let (mut client, mut dialled) = start(&gateway, &backend);
            dialled.write(&bytes);
            assert_eq!(code(&dialled.close()), expected, "{what}: {bytes:?}");
            assert_eq!(client.message()["code"], "upstream_unavailable", "{what}");
        }
    }
}

#[test]
fn a_close_of_a_backend_is_echoed() {
    let backend = RawBackend::start();
    let gateway = Gateway::start(&config(&backend));
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 3999, 4000, 4999,
    ] {
        for start in [plain, ingest] {
            let (_client, mut dialled) = start(&gateway, &backend);
            let sent = close(code, "so it is");
            dialled.write(&sent);
            assert_eq!(dialled.close(), sent[2..], "{code}");
        }
    }
    for start in [plain, ingest] {
        let (_client, mut dialled) = start(&gateway, &backend);
        dialled.write(&[0x88, 0]);
        assert!(dialled.close().is_empty(), "a Close without a code");
    }
}

#[test]
fn a_backend_whose_stream_is_held_is_answered_as_well() {
    let backend = RawBackend::start();
    let config = config(&backend)
        .set("upstreams.recordings", "on_loss", json!("hold"))
        .set("upstreams.recordings", "replay", json!("at-least-once"))
        .set("upstreams.recordings", "replies", json!("none"));
    let gateway = Gateway::start(&config);
    let (_client, mut dialled) = ingest(&gateway, &backend);
    // Each is a loss, and the gateway dials again.
    for (bytes, expected) in [
        (vec![0xc1, 0], 1002),
        (close(1011, ""), 1011),
        (close(1012, ""), 1012),
    ] {
        dialled.write(&bytes);
        assert_eq!(code(&dialled.close()), expected);
        dialled = backend.accept();
    }
    dialled.write(&close(4321, "enough"));
    assert_eq!(code(&dialled.close()), 4321);
}

#[test]
fn a_close_behind_the_question_for_the_end_is_echoed() {
    let backend = RawBackend::start();
    let gateway = Gateway::start(&config(&backend));
    for sent in [close(1000, ""), close(1011, "no"), close(4000, "no")] {
        let (mut client, mut dialled) = ingest(&gateway, &backend);
        dialled.write(b"\x81\x12{\"status\":\"ready\"}");
        assert_eq!(client.message()["type"], "handshake-ack");
        client
            .write(&raw::text(r#"{"type":"finalize"}"#))
            .expect("the gateway reads");
        let asked = dialled.frame().expect("a question for the end");
        assert!(asked.payload.starts_with(b"{\"type\":\"finalize\""));
        dialled.write(&sent);
        assert_eq!(dialled.close(), sent[2..]);
    }
}

#[test]
fn every_ping_of_a_backend_is_answered() {
    let backend = RawBackend::start();
    let gateway = Gateway::start(&config(&backend));
    let (_client, mut dialled) = plain(&gateway, &backend);
    let pings: Vec<u8> = (0..100).flat_map(|number| [0x89, 1, number]).collect();
    dialled.write(&pings);
    for number in 0..100 {
        let pong = dialled.frame().expect("a pong");
        assert_eq!(pong.opcode, OpCode::Control(Control::Pong));
        assert_eq!(pong.payload, [number]);
    }
}

#[test]
fn a_backend_that_pings_and_does_not_read_gets_the_answer_to_its_latest_ping() {
    let backend = RawBackend::start();
    let config = config(&backend).set("upstreams.plain", "max_buffer", json!("4KiB"));
    let gateway = Gateway::start(&config);
    let (_client, mut dialled) = plain(&gateway, &backend);
    // More than the kernels hold of the answers.
    let last = 150_000_u32;
    for number in 0..=last {
        let mut ping = vec![0x89, 125];
        ping.extend_from_slice(&number.to_be_bytes());
        ping.resize(2 + 125, 0);
        dialled.write(&ping);
    }
    let mut answered = Vec::new();
    while answered.last() != Some(&last) {
        let pong = dialled.frame().expect("a pong");
        assert_eq!(pong.opcode, OpCode::Control(Control::Pong));
        answered.push(u32::from_be_bytes(
            *pong.payload.first_chunk().expect("a number"),
        ));
    }
    assert!(
        answered.is_sorted_by(|one, next| one < next),
        "in their order"
    );
    assert!(answered.len() < last as usize, "nothing had to wait");
}

#[test]
fn interim_answers_before_the_101_are_passed_over_up_to_a_bound() {
    let backend = RawBackend::start();
    let gateway = Gateway::start(&config(&backend));
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
    for before in [
        "HTTP/1.1 100 Continue\r\n\r\n".to_owned(),
        hints.to_owned(),
        format!("HTTP/1.1 102 Processing\r\n\r\n{hints}{hints}"),
        hints.repeat(8),
    ] {
        let mut client = Raw::connect(gateway.address());
        client.upgrade("/relay");
        let mut dialled = backend.accept_after(&before);
        dialled.write(b"\x81\x02{}");
        assert_eq!(client.message(), json!({}));
    }
    let mut client = Raw::connect(gateway.address());
    client.upgrade("/relay");
    let _dialled = backend.accept_after(&hints.repeat(9));
    assert_eq!(client.message()["code"], "upstream_unavailable");
}
