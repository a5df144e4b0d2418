//! Backends that fail: the client is told, with the right frame and code.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use serde_json::json;
use sluice_tests::backend::{Backend, path, relaying};
use sluice_tests::client::{Client, Library, handshake};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::proxy::{Fault, Proxy};
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech;
use socket2::{Domain, Socket, Type};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::coding::{Data, OpCode};

const UNAVAILABLE: (u16, &str) = (4006, "upstream_unavailable");

/// Connects and is refused; gives what the operator reads about it.
fn refused(config: &Config, orders: &str, message: &str) -> String {
    let gateway = Gateway::start(config);
    let mut client = Client::connect(Library::Ws, &gateway, &path(orders));
    client.handshake();
    let (close_code, code) = UNAVAILABLE;
    let frame = client.expect_refusal_saying(close_code, code, message);
    assert_eq!(frame["retryable"], true);
    let entry = gateway.output().find("the log entry", |line| {
        line.contains("connection ended").then(|| line.to_owned())
    });
    entry.expect("a log entry")
}

/// A server that answers every connection with these bytes, and stays.
fn answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = peer.read(&mut [0; 4096]);
                let _ = peer.write_all(answer);
                let _ = peer.read_to_end(&mut Vec::new());
            });
        }
    });
    address
}

#[test]
fn a_backend_that_is_not_there_refuses_the_stream() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let entry = refused(&relaying(address), "", "the upstream cannot be reached");
    assert!(entry.contains("refused"), "{entry}");
    assert!(entry.contains(&address.to_string()), "{entry}");
}

#[test]
fn a_backend_that_answers_with_http_refuses_the_stream() {
    let backend = Backend::start(Library::Websockets);
    let message = "the upstream does not take streams";
    for status in ["403", "500"] {
        let orders = format!("status:{status}");
        let entry = refused(&relaying(backend.address()), &orders, message);
        assert!(entry.contains(&format!("HTTP {status}")), "{entry}");
    }
}

#[test]
fn a_backend_that_answers_with_garbage_refuses_the_stream() {
    let message = "the upstream does not take streams";
    for (answer, why) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], "not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "no Upgrade"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
            "wrong Sec-WebSocket-Accept",
        ),
    ] {
        let entry = refused(&relaying(answering(answer)), "", message);
        assert!(entry.contains(why), "{entry}");
    }
}

#[test]
fn a_backend_that_does_not_answer_in_time_refuses_the_stream() {
    let message = "the upstream did not open in time";
    let silent = relaying(answering(b"")).limit("admission_timeout", "500ms");
    refused(&silent, "", message);
    // The same, behind a valid upgrade.
    let backend = Backend::start(Library::Ws);
    let config = relaying(backend.address()).limit("admission_timeout", "1s");
    refused(&config, "silent", message);
}

#[test]
fn a_backend_that_does_not_confirm_the_end_is_not_said_to_have_everything() {
    let backend = Backend::start(Library::Websockets);
    let config = relaying(backend.address()).limit("write_timeout", "500ms");
    let gateway = Gateway::start(&config);
    let mut client = Client::connect(Library::Ws, &gateway, &path("keep"));
    client.handshake();
    client.expect_ack();
    client.json(&json!({"type": "finalize"}));
    client.expect_refusal(4006, "upstream_unavailable");
}

#[test]
fn a_backend_that_answers_nothing_has_everything_when_it_answers_the_close() {
    let backend = Backend::start(Library::Websockets);
    let config = relaying(backend.address()).set("upstreams.recordings", "replies", json!("none"));
    let gateway = Gateway::start(&config);
    let mut client = Client::connect(Library::Ws, &gateway, &path("silent,keep"));
    client.handshake();
    client.expect_ack();
    client.binary(&[7; 640]);
    client.finalize(640, 20);
    assert_eq!(backend.event("end")["bytes"], 640);
}

/// A stream through a proxy that is in order until the ack.
fn through(
    fault: Fault,
    config: impl FnOnce(Config) -> Config,
) -> (Gateway, Backend, Proxy, Client) {
    let backend = Backend::start(Library::Websockets);
    let proxy = Proxy::start(backend.address());
    let gateway = Gateway::start(&config(relaying(proxy.address())));
    let mut client = Client::connect(Library::Ws, &gateway, &path("tell"));
    client.handshake();
    client.expect_ack();
    proxy.set(fault);
    (gateway, backend, proxy, client)
}

#[test]
fn a_backend_that_vanishes_without_a_word_is_noticed() {
    let impatient =
        |config: Config| config.set("upstreams.recordings", "silence_timeout", json!("600ms"));
    let (_gateway, _backend, _proxy, mut client) = through(Fault::BlackHole, impatient);
    client.binary(&[0; 640]);
    client.expect_refusal_saying(4006, "upstream_unavailable", "the upstream was lost");
}

#[test]
fn a_backend_whose_connection_is_reset_or_ends_is_noticed() {
    for fault in [Fault::Reset, Fault::Cut] {
        let (_gateway, _backend, _proxy, mut client) = through(fault, |config| config);
        client.binary(&[0; 640]);
        client.expect_refusal_saying(4006, "upstream_unavailable", "the upstream was lost");
    }
}

#[test]
fn a_slow_link_to_the_backend_changes_nothing() {
    let latency = Fault::Latency(std::time::Duration::from_millis(20));
    let (_gateway, backend, _proxy, mut client) = through(latency, |config| config);
    let clip = speech::clip();
    client.stream(&clip, 3200);
    for _ in clip.pcm.chunks(3200) {
        assert_eq!(client.message()["type"], "heard");
    }
    client.json(&json!({"type": "finalize"}));
    assert_eq!(client.message()["type"], "transcript");
    assert_eq!(client.message()["bytes"], clip.pcm.len());
    assert_eq!(backend.event("end")["bytes"], clip.pcm.len());
}

/// A backend that reads, but a little at a time.
fn slow() -> SocketAddr {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // What it has not read is in the gateway.
    listener.set_recv_buffer_size(64 * 1024).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            head.extend_from_slice(&byte);
        }
        let head = String::from_utf8(head).unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("sec-websocket-key")
                .then(|| value.to_owned())
        };
        let key = head.lines().find_map(header).expect("a key");
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        peer.write_all(answer.as_bytes()).unwrap();
        while let Ok(1..) = peer.read(&mut [0; 64 * 1024]) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    address
}

/// Streams large messages to a backend that takes several times as long for
/// them as nothing may move.
fn is_no_stall(change: impl FnOnce(Config) -> Config) {
    // Far more than the kernels hold.
    const SIZE: usize = 16 << 20;
    let config = relaying(slow())
        .set("upstreams.recordings", "replies", json!("none"))
        .limit("max_message", "16MiB")
        .limit("write_timeout", "2s");
    let gateway = Gateway::start(&change(config));
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&path(""));
    peer.write(&raw::text(&handshake().to_string())).unwrap();
    assert_eq!(peer.message()["type"], "handshake-ack");
    // One is on its way while the other waits.
    for _ in 0..2 {
        peer.send(OpCode::Data(Data::Binary), &vec![7; SIZE]);
    }
    // Read once they have gone.
    peer.write(&raw::text(r#"{"type":"ping"}"#)).unwrap();
    assert_eq!(peer.message()["type"], "pong", "it was given up");
}

#[test]
fn a_large_message_over_a_slow_link_is_no_stall() {
    is_no_stall(|config| config);
}

#[test]
fn nor_is_it_one_where_the_stream_is_recorded_as_well() {
    is_no_stall(|config| config.set("upstreams.recordings", "tee", json!("wav")));
}

#[test]
fn nor_where_the_stream_is_held() {
    is_no_stall(|config| {
        config
            .set("upstreams.recordings", "on_loss", json!("hold"))
            .set("upstreams.recordings", "replay", json!("at-most-once"))
            .set("upstreams.recordings", "hold_timeout", json!("100ms"))
    });
}

#[test]
fn a_backend_that_restarts_is_there_for_the_next_stream() {
    let (gateway, mut backend, proxy, mut client) = through(Fault::None, |config| config);
    backend.kill();
    client.expect_refusal(4006, "upstream_unavailable");
    let again = Backend::start(Library::Ws);
    proxy.lead_to(again.address());
    let mut client = Client::connect(Library::Ws, &gateway, &path(""));
    client.handshake();
    client.expect_ack();
    client.json(&json!({"type": "finalize"}));
    assert_eq!(client.message()["type"], "transcript");
    assert_eq!(client.message()["status"], "finalized");
}
