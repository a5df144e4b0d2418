use std::time::Duration;

use super::*;
use crate::space::Watermark;
use crate::testing::{facts, stream_info};
use crate::websocket::backends::Rest;
use crate::websocket::reply::Replies;
use crate::websocket::template::Template;
use crate::websocket::{OnLoss, Promise};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn backend() -> WebSocket {
    WebSocket {
        url: Template::parse("ws://backend:9000/in").unwrap(),
        addresses: Vec::new(),
        rest: Rest {
            after: 5,
            lasts: Duration::from_secs(5),
        },
        warm_connections: 0,
        user: "auth.user_id".to_owned(),
        tenant: "auth.tenant_id".to_owned(),
        attributes: vec!["auth.e_mail".to_owned()],
        forward_headers: vec![header::USER_AGENT],
        token: TokenForwarding::Withheld,
        replies: Replies::Expected,
        receipts: Promise::None,
        trust: None,
        max_message: 1000,
        max_buffer: 1000,
        silence_timeout: Duration::from_secs(1),
        on_loss: OnLoss::Fail,
        tee: None,
        min_free: Watermark::default(),
    }
}

fn head(backend: &WebSocket, facts: Facts) -> String {
    let mut stream = stream_info("m1");
    stream.facts = facts.into();
    String::from_utf8(UpgradeRequest::new(backend, "/in", &stream).head).unwrap()
}

#[test]
fn a_client_cannot_forge_who_it_is_and_nothing_of_it_goes_further_unnamed() {
    let facts = facts(
        "/x?token=query",
        &[
            ("x-sluice-user", "root"),
            ("x-sluice-session", "other"),
            ("x-sluice-auth-e-mail", "root@x"),
            ("authorization", "Bearer secret"),
            ("cookie", "secret"),
            ("x-anything", "secret"),
            ("user-agent", "mac"),
        ],
    );
    facts.set_attribute("auth", "user_id", "u1".into()).unwrap();
    facts
        .set_attribute("evil", "tenant_id", "t2".into())
        .unwrap();
    let head = head(&backend(), facts).to_ascii_lowercase();
    for (name, value) in [
        ("x-sluice-user", "u1"),
        ("x-sluice-session", "019ab1de-0c3a-7b52-8a05-9f1e6a1b7c5f"),
        ("user-agent", "mac"),
    ] {
        assert!(head.contains(&format!("\r\n{name}: {value}\r\n")), "{head}");
        assert_eq!(head.matches(&format!("\r\n{name}: ")).count(), 1);
    }
    for absent in ["secret", "root", "other", "tenant", "x-anything", "query"] {
        assert!(!head.contains(absent), "{absent} in {head}");
    }
}

#[test]
fn an_attribute_cannot_break_out_of_its_header() {
    let facts = facts("/x", &[]);
    let value = "u\r\nx-sluice-tenant: t\u{fc}%";
    facts
        .set_attribute("auth", "user_id", value.into())
        .unwrap();
    let head = head(&backend(), facts);
    let expected = "x-sluice-user: u%0D%0Ax-sluice-tenant: t%C3%BC%25\r\n";
    assert!(head.contains(expected), "{head}");
    assert!(!head.contains("\r\nx-sluice-tenant"), "{head}");
}

#[test]
fn spaces_at_the_ends_of_an_attribute_arrive() {
    for (value, expected) in [
        ("u ", "u%20"),
        ("  u", "%20%20u"),
        (" a b \t", "%20a b %09"),
        (" ", "%20"),
        ("  ", "%20%20"),
        ("a  b", "a  b"),
        ("", ""),
        ("\u{a0}u\u{7f}", "%C2%A0u%7F"),
    ] {
        let facts = facts("/x", &[]);
        facts
            .set_attribute("auth", "user_id", value.into())
            .unwrap();
        let head = head(&backend(), facts);
        let line = format!("\r\nx-sluice-user: {expected}\r\n");
        assert!(head.contains(&line), "{value:?} in {head}");
    }
}

/// Whether the answer to an upgrade is a valid one.
fn is_accepted(headers: &[(&str, &str)]) -> bool {
    let request = UpgradeRequest::new(&backend(), "/in", &stream_info("m1"));
    let accept = derive_accept_key(request.key.as_bytes());
    let mut response = Response::new(None);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    for (name, value) in headers {
        let value = value.replace("ACCEPT", &accept);
        let name = HeaderName::try_from(*name).unwrap();
        response.headers_mut().append(name, value.parse().unwrap());
    }
    request.check(&response).is_ok()
}

#[test]
fn an_answer_to_an_upgrade_may_list_more_than_it_has_to() {
    let upgrade = ("upgrade", "WebSocket");
    let connection = ("connection", "Upgrade");
    let accept = ("sec-websocket-accept", "ACCEPT");
    for headers in [
        &[upgrade, connection, accept][..],
        &[upgrade, ("connection", "keep-alive, Upgrade"), accept],
        &[upgrade, ("connection", "keep-alive"), connection, accept],
        &[upgrade, ("connection", ", UPGRADE ,close"), accept],
        &[("upgrade", "h2c, websocket"), connection, accept],
    ] {
        assert!(is_accepted(headers), "{headers:?}");
    }
    for headers in [
        &[upgrade, accept][..],
        &[upgrade, ("connection", "keep-alive"), accept],
        &[upgrade, ("connection", "upgrades"), accept],
        &[connection, accept],
        &[("upgrade", "websockets"), connection, accept],
        &[upgrade, connection],
        &[upgrade, connection, ("sec-websocket-accept", "x")],
        &[upgrade, connection, accept, accept],
        &[upgrade, connection, accept, ("sec-websocket-protocol", "x")],
    ] {
        assert!(!is_accepted(headers), "{headers:?}");
    }
}

#[test]
fn the_token_goes_on_only_where_that_is_configured() {
    let mut backend = backend();
    backend.token = TokenForwarding::Forwarded;
    let head = head(&backend, facts("/x?token=%0Aa.b.c", &[]));
    assert!(head.contains("authorization: Bearer a.b.c\r\n"), "{head}");
}

#[test]
fn a_trace_goes_on_if_it_is_one() {
    let state = ("tracestate", "vendor=1");
    let with =
        |parent: &'static str| head(&backend(), facts("/x", &[("traceparent", parent), state]));
    let head = with(TRACE);
    assert!(
        head.contains(&format!("traceparent: {TRACE}\r\n")),
        "{head}"
    );
    assert!(head.contains("tracestate: vendor=1\r\n"), "{head}");
    for wrong in [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
    ] {
        assert!(!with(wrong).contains("trace"), "{wrong}");
    }
}
