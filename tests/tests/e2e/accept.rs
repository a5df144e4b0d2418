//! The upgrade: a valid one is always answered with 101, anything else as
//! RFC 6455 asks.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, ACCEPT, Raw, Response, upgrade_request};
use sluice_tests::{DEADLINE, token, with_both_clients};
use tungstenite::protocol::frame::coding::{Control, OpCode};

const PATH: &str = "/ws/ingest/meetings/m1";
const PLAIN_GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn ask(gateway: &Gateway, request: &str) -> Response {
    Raw::connect(gateway.address()).request(request)
}

fn gateway() -> Gateway {
    Gateway::start(&Config::ingest())
}

#[test]
fn an_upgrade_is_answered_with_the_accept_key_and_no_extension() {
    let gateway = gateway();
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    let response = ask(&gateway, &upgrade_request(PATH).replace("\r\n\r\n", offer));
    assert_eq!(response.status, 101);
    assert_eq!(response.header("Sec-WebSocket-Accept"), Some(ACCEPT));
    assert!(
        response
            .header("Upgrade")
            .is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    );
    assert!(
        response
            .header("Connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("upgrade"))
    );
    assert_eq!(response.header("Sec-WebSocket-Extensions"), None);
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
}

#[test]
fn a_plain_get_is_told_to_upgrade() {
    let gateway = gateway();
    for path in [PATH, "/nowhere"] {
        let response = ask(
            &gateway,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        );
        assert_eq!(response.status, 426, "{path}");
        assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"));
    }
}

#[test]
fn another_version_is_told_which_one_is_spoken() {
    let gateway = gateway();
    for version in ["12", "8", "14", "thirteen"] {
        let line = format!("Sec-WebSocket-Version: {version}\r\n");
        let response = ask(
            &gateway,
            &upgrade_request(PATH).replace("Sec-WebSocket-Version: 13\r\n", &line),
        );
        assert_eq!(response.status, 426, "{version}");
        assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"));
    }
}

#[test]
fn a_key_that_is_not_sixteen_bytes_is_a_bad_request() {
    let gateway = gateway();
    let good = raw::KEY;
    for key in [
        "",
        "c2hvcnQ=",
        "not base64 at all!",
        &good[..good.len() - 1],
        &format!("{good}AAAA"),
    ] {
        let response = ask(&gateway, &upgrade_request(PATH).replace(good, key));
        assert_eq!(response.status, 400, "{key:?}");
    }
    let response = ask(
        &gateway,
        &upgrade_request(PATH).replace(&format!("Sec-WebSocket-Key: {good}\r\n"), ""),
    );
    assert_eq!(response.status, 400, "no key at all");
}

#[test]
fn a_post_is_no_upgrade() {
    let gateway = gateway();
    let response = ask(&gateway, &upgrade_request(PATH).replace("GET", "POST"));
    assert!((400..500).contains(&response.status), "{response:?}");
}

#[test]
fn what_an_upgrade_must_have_and_has_not_is_asked_for() {
    let gateway = Gateway::start(&Config::open());
    let request = upgrade_request("/echo");
    let twice = format!(
        "Sec-WebSocket-Key: {0}\r\nSec-WebSocket-Key: {0}\r\n",
        raw::KEY
    );
    let once = format!("Sec-WebSocket-Key: {}\r\n", raw::KEY);
    for (from, to, status) in [
        ("HTTP/1.1", "HTTP/1.0", 400),
        ("Connection: Upgrade\r\n", "", 426),
        ("Connection: Upgrade", "Connection: keep-alive", 426),
        ("Upgrade: websocket\r\n", "", 426),
        ("Upgrade: websocket", "Upgrade: h2c", 426),
        ("Sec-WebSocket-Version: 13\r\n", "", 426),
        (&once, &twice, 400),
    ] {
        let response = ask(&gateway, &request.replace(from, to));
        assert_eq!(response.status, status, "{to:?} for {from:?}");
        assert_ne!(response.body, "");
    }
}

#[test]
fn a_subprotocol_is_agreed_on_only_where_it_is_configured_and_offered() {
    let plain = Config::open();
    let config = plain.set(
        "routes.ingest",
        "subprotocols",
        serde_json::json!(["v2", "v1"]),
    );
    let gateway = Gateway::start(&config);
    for (path, offer, agreed) in [
        ("/echo", "Sec-WebSocket-Protocol: v1\r\n", None),
        ("/nowhere", "Sec-WebSocket-Protocol: v1\r\n", None),
        ("/ingest/m1", "", None),
        ("/ingest/m1", "Sec-WebSocket-Protocol: v3, V1\r\n", None),
        (
            "/ingest/m1",
            "Sec-WebSocket-Protocol: v3, v1, v2\r\n",
            Some("v1"),
        ),
        (
            "/ingest/m1",
            "Sec-WebSocket-Protocol: v3\r\nSec-WebSocket-Protocol: v2\r\n",
            Some("v2"),
        ),
    ] {
        let request = upgrade_request(path).replacen("\r\n\r\n", &format!("\r\n{offer}\r\n"), 1);
        let response = ask(&gateway, &request);
        assert_eq!(response.status, 101);
        assert_eq!(response.header("Sec-WebSocket-Protocol"), agreed, "{offer}");
    }
}

#[test]
fn a_web_page_may_connect_only_where_its_origin_is_listed() {
    let origins = |config: Config, route: &str, list: &[&str]| {
        config.set(
            &format!("routes.{route}"),
            "origins",
            serde_json::json!(list),
        )
    };
    let config = origins(Config::open(), "ingest", &["https://app.example.com"]);
    let gateway = Gateway::start(&config);
    let anywhere = Gateway::start(&origins(Config::open(), "echo", &["*"]));
    for (gateway, path, origin, welcome) in [
        (&gateway, "/ingest/m1", None, true),
        (
            &gateway,
            "/ingest/m1",
            Some("https://app.example.com"),
            true,
        ),
        (
            &gateway,
            "/ingest/m1",
            Some("https://APP.example.com"),
            true,
        ),
        (
            &gateway,
            "/ingest/m1",
            Some("http://app.example.com"),
            false,
        ),
        (
            &gateway,
            "/ingest/m1",
            Some("https://app.example.com.evil.example"),
            false,
        ),
        (&gateway, "/ingest/m1", Some("null"), false),
        (&gateway, "/echo", None, true),
        (&gateway, "/echo", Some("https://app.example.com"), false),
        (&anywhere, "/echo", Some("https://anybody.example"), true),
    ] {
        let line = origin.map(|origin| format!("Origin: {origin}\r\n"));
        let head = format!("\r\n{}\r\n", line.unwrap_or_default());
        let mut peer = Raw::connect(gateway.address());
        let response = peer.request(&upgrade_request(path).replacen("\r\n\r\n", &head, 1));
        assert_eq!(response.status, 101);
        // Whoever is welcome is answered; whoever is not is told so.
        peer.write(&raw::masked(OpCode::Control(Control::Ping), b""))
            .unwrap();
        let frame = peer.frame().expect("an answer");
        if welcome {
            assert_eq!(frame.opcode, OpCode::Control(Control::Pong), "{origin:?}");
        } else {
            let error: serde_json::Value = serde_json::from_slice(&frame.payload).unwrap();
            assert_eq!(error["code"], "policy_denied", "{origin:?}");
            let close = peer.frame().expect("a Close");
            assert_eq!(close.close().map(|(code, _)| code), Some(4005));
        }
    }
}

#[test]
fn header_names_and_words_count_in_any_case() {
    let gateway = gateway();
    let request = upgrade_request(PATH)
        .replace("Connection: Upgrade", "CONNECTION: keep-alive, uPGRADE")
        .replace("Upgrade: websocket", "uPGRADE: WebSocket")
        .replace("Sec-WebSocket-Key", "sec-websocket-key");
    assert_eq!(ask(&gateway, &request).status, 101);
}

#[test]
fn a_request_that_is_not_finished_in_time_is_dropped() {
    let gateway = Gateway::start(&Config::ingest().set("server", "header_timeout", "300ms".into()));
    let mut slow = Raw::connect(gateway.address());
    slow.write(b"GET /ws/ingest/meetings/m1 HTTP/1.1\r\nHost: loc")
        .unwrap();
    slow.wait_for_end();
}

#[test]
fn whoever_asks_for_anything_but_an_upgrade_may_not_do_so_for_ever() {
    let gateway = Gateway::start(&Config::ingest().set("server", "header_timeout", "300ms".into()));
    let mut peer = Raw::connect(gateway.address());
    let mut writer = peer.writer();
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Each request comes well within the time, and is answered.
            while writer.write_all(PLAIN_GET.as_bytes()).is_ok() {
                assert!(began.elapsed() < DEADLINE, "it goes on for ever");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        assert_eq!(peer.response().status, 426);
        peer.wait_for_end();
    });
}

with_both_clients! {
    fn an_unknown_path_is_refused_in_words(library) {
        let gateway = Gateway::start(&Config::ingest());
        let mut client = Client::idle(library);
        for path in ["/", "/nowhere", "/ws/ingest/meetings", "/ws/ingest/meetings/", "/ws/ingest/meetings/m1/more"] {
            client.open(&gateway, path, &[]);
            let frame = client.expect_refusal(4004, "not_found");
            assert_eq!(frame["retryable"], false);
        }
    }
}

#[test]
fn a_path_or_query_that_is_no_text_is_refused_in_words() {
    let gateway = Gateway::start(&Config::ingest());
    for path in [
        "/ws/ingest/meetings/%ff",
        "/%00",
        "/ws/ingest/meetings/%zz",
        "/ws/ingest/meetings/%",
    ] {
        let mut client = Client::connect(Library::Ws, &gateway, path);
        let frame = client.message();
        assert_eq!(frame["type"], "error", "{path}");
        let code = u16::try_from(frame["close_code"].as_u64().unwrap()).unwrap();
        client.expect_close(code, frame["message"].as_str().unwrap());
    }
}

with_both_clients! {
    fn both_paths_lead_to_the_same_place(library) {
        let gateway = Gateway::start(&Config::ingest());
        let token = token::good();
        for path in [meeting("m1", "mic", &token), meeting("m1", "sys", &token).replacen("/api/v1", "", 1)] {
            let mut client = Client::connect(library, &gateway, &path);
            client.json(&serde_json::json!({"type": "handshake", "sample_rate": 16000, "device_id": "d"}));
            client.expect_ack();
        }
    }
}

#[test]
fn a_path_finds_its_route_however_the_client_encodes_it() {
    let config = Config::open().set("routes.echo", "paths", json!(["/toplantı/{id}", "/a b"]));
    let text = config.to_string().replace("\"/a b\"", "\"/a%20b\"");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sluice.toml"), text).unwrap();
    let mut serve = command::sluice(&["serve", "--listen", "127.0.0.1:0", "--config"]);
    serve.arg(folder.path().join("sluice.toml"));
    serve.arg("--data-dir").arg(folder.path().join("data"));
    let gateway = Gateway::launch(serve, folder);
    for path in [
        "/toplant%C4%B1/1",
        "/toplant%c4%b1/1",
        "/%74oplant%C4%B1/a%2Fb",
        "/toplantı/1",
        "/a%20b",
    ] {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade(path);
        peer.write(&raw::text("hello")).unwrap();
        let frame = peer.frame().expect("an echo");
        assert_eq!(frame.payload, b"hello", "{path}");
    }
    for path in ["/toplanti/1", "/toplant%C4%B1%2F1", "/toplant%25C4%25B1/1"] {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade(path);
        assert_eq!(peer.message()["code"], "not_found", "{path}");
    }
}
