//! Traces of connections, as a real collector gets them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::backend::{Backend, finalize, path, relaying};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::collector::{Collector, Span, free_address};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::eventually;
use sluice_tests::gateway::Gateway;
use sluice_tests::token;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn traced(config: Config, endpoint: &str) -> Config {
    config
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("traces", "endpoint", json!(endpoint))
}

fn json_of(gateway: &Gateway, request: &str) -> Value {
    let (status, body) = gateway.admin(request);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

/// The first lines of each request that a collector of the test's own gets. It answers the first so
/// many of them with these statuses, and then never.
fn silent_collector(statuses: &'static [u16]) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is left");
    let address = listener.local_addr().expect("it listens");
    let (heads, received) = channel();
    std::thread::spawn(move || {
        let mut statuses = statuses.iter();
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.expect("a connection");
            while let Some(head) = request(&mut stream) {
                if heads.send(head).is_err() {
                    return;
                }
                let Some(status) = statuses.next() else { break };
                let answer = format!("HTTP/1.1 {status} Status\r\nContent-Length: 0\r\n\r\n");
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
            // An open connection that is never answered.
            open.push(stream);
        }
    });
    (address, received)
}

/// Head of the next request, once its body was read too.
fn request(stream: &mut TcpStream) -> Option<String> {
    let mut received = Vec::new();
    let mut some = [0; 4096];
    loop {
        let read = stream.read(&mut some).ok().filter(|read| *read > 0)?;
        received.extend_from_slice(&some[..read]);
        let end = received.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else { continue };
        let head = String::from_utf8(received[..end].to_vec()).expect("a head is text");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().expect("a length"))
        });
        if received.len() >= end + 4 + length.expect("a length") {
            return Some(head);
        }
    }
}

#[test]
fn a_connection_is_one_trace_that_continues_the_clients_and_has_its_stages_and_decisions() {
    let collector = Collector::start();
    let config = traced(Config::ingest(), &collector.endpoint())
        .set("traces", "service_name", json!("gateway-west"))
        .set("traces", "attributes", json!(["team=audio"]));
    let gateway = Gateway::start(&config);
    let mut client = Client::idle(Library::Ws);
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let path = meeting("secret-meeting", "mic", &token::good());
    client.open(&gateway, &path, &[("traceparent", &parent)]);
    client.handshake();
    let session = client.expect_ack();
    // The stages before the stream are sent while it runs.
    eventually("the first stages", || {
        let spans = collector.spans();
        spans.iter().any(|span| span.name == "open").then_some(())
    });
    let live = json_of(&gateway, &format!("GET /sessions/{session}"));
    assert_eq!(live["session"]["trace_id"], TRACE);
    client.audio(&[0; 3200]);
    client.finalize(3200, 100);
    let spans = collector.trace_of(&session);
    let log = gateway.connection_log(&session);
    assert_eq!(log["trace_id"], TRACE);
    let root = named(&spans, "websocket ingest");
    assert_eq!((&*root.trace, &*root.parent), (TRACE, SPAN));
    assert_eq!(root.kind, "SPAN_KIND_SERVER");
    for (name, value) in [
        ("sluice.cause", "finalized"),
        ("sluice.close_code", "1000"),
        ("sluice.received_bytes", "3200"),
        ("http.response.status_code", "101"),
        ("client.address", "127.0.0.1"),
        ("error.type", ""),
    ] {
        assert_eq!(root.attribute(name), value, "{name} of {root:?}");
    }
    let instance = format!("Str({})", log["instance"].as_str().expect("an instance"));
    for (name, value) in [
        ("service.name", "Str(gateway-west)"),
        ("service.instance.id", &instance),
        ("team", "Str(audio)"),
    ] {
        assert_eq!(root.resource[name], value, "{name}");
    }
    let mut before = root.began;
    for stage in ["connect", "handshake", "open", "stream", "seal", "close"] {
        let span = named(&spans, stage);
        assert_eq!(
            (&span.parent, &span.trace),
            (&root.id, &root.trace),
            "{stage}"
        );
        assert!(
            before <= span.began && span.began <= span.ended,
            "{stage}: {spans:#?}"
        );
        assert!(span.ended <= root.ended, "{stage}: {spans:#?}");
        before = span.ended;
    }
    for (policy, stage, hook) in [
        ("auth", "connect", "on-connect"),
        ("duplicate", "connect", "on-connect"),
        ("sample-rate", "handshake", "on-handshake"),
    ] {
        let span = named(&spans, &format!("policy {policy}"));
        assert_eq!(span.parent, named(&spans, stage).id, "{policy}");
        assert_eq!(span.attribute("sluice.policy.outcome"), "accept");
        assert_eq!(span.attribute("sluice.policy.hook"), hook);
        assert!(
            span.attribute("sluice.policy.digest")
                .starts_with("sha256:")
        );
    }
    // Nothing that is the client's: no token, no part of it, no path, no user.
    let text = collector.text();
    let token = token::good();
    let user = token::claims()["user_id"]
        .as_str()
        .expect("a user")
        .to_owned();
    let parts = token.split('.').map(str::to_owned);
    for secret in parts.chain(["secret-meeting".to_owned(), user]) {
        assert!(!text.contains(&secret), "{secret} in\n{text}");
    }
    assert!(gateway.metric("sluice_spans_exported_total") >= 10.0);
}

#[test]
fn a_refusal_is_traced_with_its_cause_and_is_no_fault_of_the_gateway() {
    let collector = Collector::start();
    let gateway = Gateway::start(&traced(Config::ingest(), &collector.endpoint()));
    let bad = "header.payload-that-is-no-claims.signature";
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", bad));
    let frame = client.expect_refusal(4001, "auth_failed");
    let session = frame["session_id"].as_str().expect("a session");
    let spans = collector.trace_of(session);
    let root = named(&spans, "websocket ingest");
    assert_eq!(root.parent, "");
    assert_eq!(root.attribute("error.type"), root.attribute("sluice.cause"));
    assert_eq!(root.attribute("sluice.close_code"), "4001");
    assert_ne!(root.status, "STATUS_CODE_ERROR");
    let decision = named(&spans, "policy auth");
    assert_eq!(decision.attribute("sluice.policy.outcome"), "reject");
    assert_eq!(decision.attribute("sluice.policy.close_code"), "4001");
    assert!(!collector.text().contains("payload-that-is-no-claims"));
    // What the gateway is to blame for is an error.
    let nowhere = relaying(free_address());
    let gateway = Gateway::start(&traced(nowhere, &collector.endpoint()));
    let mut client = Client::connect(Library::Ws, &gateway, &path(""));
    client.handshake();
    let frame = client.expect_refusal(4006, "upstream_unavailable");
    let spans = collector.trace_of(frame["session_id"].as_str().expect("a session"));
    let root = named(&spans, "websocket ingest");
    assert_eq!(root.status, "STATUS_CODE_ERROR");
    assert_eq!(root.attribute("error.type"), "upstream_unavailable");
}

#[test]
fn a_backend_is_told_which_span_it_is_part_of() {
    let collector = Collector::start();
    let backend = Backend::start(Library::Ws);
    let gateway = Gateway::start(&traced(relaying(backend.address()), &collector.endpoint()));
    let mut client = Client::idle(Library::Ws);
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let headers = [("traceparent", &*parent), ("tracestate", "vendor=1")];
    client.open(&gateway, &path(""), &headers);
    client.handshake();
    let session = client.expect_ack();
    let told = backend.event("open");
    let told = |name: &str| {
        let headers = told["headers"].to_string().to_lowercase();
        let (_, rest) = headers.split_once(&format!("\"{name}\""))?;
        Some(rest.split('"').nth(1)?.to_owned())
    };
    assert_eq!(told("tracestate").as_deref(), Some("vendor=1"));
    finalize(&mut client, 0);
    let spans = collector.trace_of(&session);
    let open = named(&spans, "open");
    let expected = format!("00-{TRACE}-{}-01", open.id);
    assert_eq!(told("traceparent"), Some(expected));
}

#[test]
fn a_client_decides_about_its_own_trace_and_chance_about_the_others() {
    let collector = Collector::start();
    let config = traced(Config::open(), &collector.endpoint());
    let gateway = Gateway::start(&config.clone().set("traces", "sample_ratio", json!(0.0)));
    let mut unsampled = Client::connect(Library::Ws, &gateway, "/echo");
    unsampled.echoes("hello");
    let sessions = json_of(&gateway, "GET /sessions");
    assert_eq!(sessions["sessions"][0]["trace_id"], Value::Null);
    unsampled.leave();
    for (flags, recorded) in [("00", false), ("01", true)] {
        let mut client = Client::idle(Library::Ws);
        let parent = format!("00-{TRACE}-{SPAN}-{flags}");
        client.open(&gateway, "/echo", &[("traceparent", &parent)]);
        client.echoes("hello");
        let sessions = json_of(&gateway, "GET /sessions");
        let id = &sessions["sessions"][0]["trace_id"];
        assert_eq!(id.as_str(), recorded.then_some(TRACE));
        client.leave();
        eventually("the end of a session", || {
            let sessions = json_of(&gateway, "GET /sessions");
            (sessions["sessions"] == json!([])).then_some(())
        });
    }
    let only = eventually("a trace", || {
        let spans = collector.spans();
        let whole = spans.iter().any(|span| span.name == "websocket echo");
        whole.then_some(spans)
    });
    assert!(only.iter().all(|span| span.trace == TRACE), "{only:#?}");
    // A gateway that continues nobody's trace begins its own.
    let gateway = Gateway::start(&config.set("traces", "continue_clients", json!(false)));
    let mut client = Client::idle(Library::Ws);
    let parent = format!("00-{TRACE}-{SPAN}-00");
    client.open(&gateway, "/echo", &[("traceparent", &parent)]);
    client.echoes("hello");
    let sessions = json_of(&gateway, "GET /sessions");
    let id = sessions["sessions"][0]["trace_id"]
        .as_str()
        .expect("a trace");
    assert!(id.len() == 32 && id != TRACE, "{id}");
}

#[test]
fn a_collector_that_is_gone_or_never_answers_costs_streams_nothing_and_the_end_little() {
    let (silent, requests) = silent_collector(&[]);
    for (address, silent) in [(silent, true), (free_address(), false)] {
        let config = traced(Config::open(), &format!("http://{address}/v1/traces"));
        let mut gateway = Gateway::start(&config);
        let mut early = Client::connect(Library::Ws, &gateway, "/echo");
        early.echoes("hello");
        early.leave();
        if silent {
            // The export is under way now, and hangs.
            requests.recv().expect("a request");
        } else {
            eventually("spans that are dropped", || {
                let dropped = gateway.metric("sluice_spans_dropped_total{reason=\"not-taken\"}");
                (dropped > 0.0).then_some(())
            });
        }
        let mut client = Client::connect(Library::Ws, &gateway, "/echo");
        client.echoes("still here");
        client.leave();
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.wait().code(), Some(0));
        let lost = gateway.output().text();
        assert!(
            lost.contains("spans were not exported before the end"),
            "{lost}"
        );
        if !silent {
            assert!(
                lost.contains("the trace collector takes no spans"),
                "{lost}"
            );
        }
    }
}

#[test]
fn headers_for_the_collector_are_sent_to_it_and_are_in_no_log() {
    let (address, requests) = silent_collector(&[503, 200]);
    let config = traced(Config::open(), &format!("http://{address}/otlp/v1/traces")).set(
        "traces",
        "headers_file",
        json!("otlp-headers"),
    );
    let files: [(&str, &[u8]); 1] = [("otlp-headers", b"Authorization: Bearer hush-hush-hush\n")];
    let mut gateway = Gateway::start_with_files(&config, &files);
    let mut client = Client::connect(Library::Ws, &gateway, "/echo");
    client.echoes("hello");
    client.leave();
    // The first answer asks for another try, which comes with the same.
    for _ in 0..2 {
        let head = requests.recv().expect("a request").to_lowercase();
        assert!(head.starts_with("post /otlp/v1/traces http/1.1"), "{head}");
        assert!(
            head.contains("authorization: bearer hush-hush-hush"),
            "{head}"
        );
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
    }
    eventually("spans that were taken", || {
        (gateway.metric("sluice_spans_exported_total") > 0.0).then_some(())
    });
    gateway.signal(Signal::TERM);
    gateway.wait();
    assert!(!gateway.output().text().contains("hush"));
}

#[test]
fn what_is_wrong_with_traces_is_found_before_anything_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sluice.toml");
    let config = Config::open()
        .set(
            "traces",
            "endpoint",
            json!("https://127.0.0.1:4318/v1/traces"),
        )
        .set("traces", "ca_file", json!("no-such.pem"));
    std::fs::write(&file, config.to_string()).expect("a file");
    let check = command::check(&file);
    assert_eq!(check.status, Some(1), "{check:?}");
    for part in ["[traces]", "no-such.pem"] {
        assert!(check.stderr.contains(part), "{part} in {check:?}");
    }
}
