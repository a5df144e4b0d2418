//! Where the client is, behind proxies that are trusted and others: behind a real HAProxy, and
//! behind peers that say what no proxy would.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sluice_tests::backend::{Backend, path, relaying};
use sluice_tests::client::handshake;
use sluice_tests::config::Config;
use sluice_tests::front::Front;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use tungstenite::protocol::frame::coding::{Control, OpCode};

/// Where a client of the tests is: not where HAProxy is.
const CLIENT: [u8; 4] = [127, 0, 0, 2];

fn trusting(config: Config, proxies: &[&str]) -> Config {
    config.set("server", "trusted_proxies", json!(proxies)).set(
        "server",
        "admin_listen",
        json!("127.0.0.1:0"),
    )
}

/// An upgrade with these headers, from the client's address.
fn upgraded(to: SocketAddr, path: &str, headers: &str) -> Raw {
    let mut peer = Raw::connect_from(CLIENT.into(), to);
    let request = raw::upgrade_request(path);
    let request = request.replacen("\r\n\r\n", &format!("\r\n{headers}\r\n"), 1);
    let answer = peer.request(&request);
    assert_eq!(answer.status, 101, "{answer:?}");
    peer
}

fn close(peer: &mut Raw) {
    peer.send(OpCode::Control(Control::Close), &1000_u16.to_be_bytes());
    peer.wait_for_end();
}

/// The client's address, as the log has it of the only connection.
fn logged(gateway: &Gateway) -> Value {
    let line = gateway.output().find("the end of the connection", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["message"] == "connection ended").then_some(event)
    });
    line.expect("the gateway runs")["span"]["client"].clone()
}

/// What the log says of a client with these headers, where `proxies` are trusted.
fn client_of(proxies: &[&str], field: Option<&str>, headers: &str) -> Value {
    let mut config = trusting(Config::open(), proxies);
    if let Some(field) = field {
        config = config.set("server", "client_address_header", json!(field));
    }
    let gateway = Gateway::start(&config);
    close(&mut upgraded(gateway.address(), "/echo", headers));
    logged(&gateway)
}

#[test]
fn a_peer_that_is_not_trusted_is_the_client_whatever_it_says() {
    let headers = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
    for proxies in [&[][..], &["127.0.0.1", "10.0.0.0/8"]] {
        assert_eq!(client_of(proxies, None, headers), "127.0.0.2");
    }
}

#[test]
fn what_a_trusted_peer_says_is_read_over_all_lines_from_its_end() {
    let lines = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1, 10.1.1.1\r\n";
    let forwarded =
        "Forwarded: for=6.6.6.6, for=\"[2001:db8::1]:99\"\r\nForwarded: for=10.1.1.1\r\n";
    let proxies = &["127.0.0.0/8", "10.0.0.0/8"];
    let both = format!("{lines}{forwarded}");
    assert_eq!(client_of(proxies, None, &both), "192.0.2.1");
    assert_eq!(client_of(proxies, Some("forwarded"), &both), "2001:db8::1");
    // The field that is named alone is read.
    assert_eq!(client_of(proxies, None, forwarded), "127.0.0.2");
}

#[test]
fn behind_haproxy_the_client_is_whom_haproxy_saw() {
    let backend = Backend::start(sluice_tests::client::Library::Websockets);
    let config = relaying(backend.address()).set(
        "upstreams.recordings",
        "forward_headers",
        json!(["x-forwarded-for", "forwarded"]),
    );
    let gateway = Gateway::start(&trusting(config, &["127.0.0.1"]));
    let front = Front::start(gateway.address(), "mode http\n  option forwardfor", "");
    let forged = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";
    let mut peer = upgraded(front.address(), &path(""), forged);
    peer.write(&raw::text(&handshake().to_string())).unwrap();
    assert_eq!(peer.message()["status"], "ready");
    let headers = backend.event("open")["headers"].clone();
    assert_eq!(headers["x-forwarded-for"], "127.0.0.2", "{headers}");
    assert_eq!(headers["forwarded"], "for=127.0.0.2", "{headers}");
    close(&mut peer);
    assert_eq!(logged(&gateway), "127.0.0.2");
}

#[test]
fn attempts_are_counted_for_the_client_and_not_for_its_proxy_or_its_inventions() {
    let config = trusting(Config::open(), &["127.0.0.0/8"])
        .set("routes.echo", "rate_attempts", json!(2))
        .set("routes.echo", "rate_key", json!(["header.x-forwarded-for"]))
        .echo_limit("rate_per", "1h");
    let gateway = Gateway::start(&config);
    let refused = |number: u8, client: &str| {
        let headers = format!("X-Forwarded-For: 6.6.6.{number}\r\nX-Forwarded-For: {client}\r\n");
        let mut peer = upgraded(gateway.address(), "/echo", &headers);
        peer.send(OpCode::Control(Control::Close), &1000_u16.to_be_bytes());
        let frame = peer.frame().expect("an answer");
        frame.close().is_none()
    };
    let all: Vec<_> = (0..4).map(|number| refused(number, "192.0.2.1")).collect();
    assert_eq!(all, [false, false, true, true]);
    assert!(!refused(9, "192.0.2.2"));
}

/// A gateway whose other listener is for proxies, and where that is.
fn behind_proxies(header_timeout: &str) -> (Gateway, SocketAddr) {
    let config = trusting(Config::open(), &["127.0.0.1"])
        .set("server", "proxy_listen", json!("127.0.0.1:0"))
        .set("server", "header_timeout", json!(header_timeout));
    let gateway = Gateway::start(&config);
    let address = gateway.output().find("the listener for proxies", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let is_it = event["message"] == "listening" && event["proxies_only"] == true;
        is_it.then(|| event["address"].as_str()?.parse().ok())?
    });
    (gateway, address.expect("the gateway listens"))
}

#[test]
fn haproxy_speaks_for_its_client_by_either_version_of_the_proxy_protocol() {
    for server in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2-ssl-cn check inter 100ms",
    ] {
        let (gateway, proxies) = behind_proxies("20s");
        let front = Front::start(proxies, "mode tcp", server);
        let mut peer = upgraded(front.address(), "/echo", "X-Forwarded-For: 6.6.6.6\r\n");
        peer.write(&raw::text("there?")).unwrap();
        assert_eq!(peer.frame().expect("an echo").payload, b"there?");
        close(&mut peer);
        assert_eq!(logged(&gateway), "127.0.0.2", "{server}");
    }
}

#[test]
fn a_listener_for_proxies_takes_nobody_else_and_nothing_without_a_header() {
    let (gateway, proxies) = behind_proxies("20s");
    let failures = |reason: &str| {
        gateway.metric(&format!(
            "sluice_proxy_header_failures_total{{reason=\"{reason}\"}}"
        ))
    };
    let request = raw::upgrade_request("/echo");
    let line = format!("PROXY TCP4 192.0.2.1 127.0.0.1 5678 80\r\n{request}");
    // Another machine, that says what a proxy would.
    let mut other = Raw::connect_from(CLIENT.into(), proxies);
    let _ = other.write(line.as_bytes());
    other.wait_for_end();
    assert_eq!(failures("untrusted"), 1.0);
    let mut bare = Raw::connect(proxies);
    let _ = bare.write(request.as_bytes());
    bare.wait_for_end();
    assert_eq!(failures("malformed"), 1.0);
    let mut short = Raw::connect(proxies);
    short.write(b"PROXY TCP4 192.0").unwrap();
    short.writer().shutdown(std::net::Shutdown::Write).unwrap();
    short.wait_for_end();
    assert_eq!(failures("ended"), 1.0);
    // On the other listener nobody is asked for one, and what looks like one is no HTTP.
    let mut plain = Raw::connect(gateway.address());
    assert_eq!(plain.request(&request).status, 101);
    let answer = Raw::connect(gateway.address()).request(&line);
    assert_eq!(answer.status, 400);
    // Lines are written by a thread of their own.
    let mut told = 0;
    let told = gateway
        .output()
        .find("a line for each that was closed", |line| {
            told += usize::from(line.contains("proxy_listen was closed"));
            (told == 3).then_some(())
        });
    assert!(told.is_some());
}

#[test]
fn a_proxy_that_says_nothing_is_hung_up_on_in_time() {
    let (gateway, proxies) = behind_proxies("300ms");
    for begin in [
        &b""[..],
        b"PROXY",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01",
    ] {
        let mut peer = Raw::connect(proxies);
        peer.write(begin).unwrap();
        peer.wait_for_end();
    }
    let late = "sluice_proxy_header_failures_total{reason=\"late\"}";
    assert_eq!(gateway.metric(late), 3.0);
}
