//! The admin listener: is it there, may clients come, and what has happened.

use std::collections::BTreeMap;
use std::net::Shutdown;

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw, upgrade_request};
use sluice_tests::tls::Authority;
use sluice_tests::{eventually, token};
use tungstenite::protocol::frame::coding::{Control, OpCode};

fn watched(config: Config) -> Gateway {
    Gateway::start(&config.set("server", "admin_listen", json!("127.0.0.1:0")))
}

/// Every sample, by its name and labels.
fn metrics(gateway: &Gateway) -> BTreeMap<String, f64> {
    let (status, text) = gateway.admin("GET /metrics");
    assert_eq!(status, 200);
    let samples = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parsed = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a sample");
        (name.to_owned(), value.parse().expect("a number"))
    });
    parsed.collect()
}

#[test]
fn a_gateway_that_listens_is_live_and_ready() {
    let gateway = watched(Config::open());
    assert_eq!(gateway.admin("GET /livez"), (200, "live\n".to_owned()));
    assert_eq!(gateway.admin("GET /readyz"), (200, "ready\n".to_owned()));
    assert_eq!(gateway.admin("GET /").0, 404);
    assert_eq!(gateway.admin("POST /livez").0, 405);
}

#[test]
fn health_and_metrics_are_not_for_clients() {
    let gateway = watched(Config::open());
    for path in ["/livez", "/readyz", "/metrics", "/reload"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = Raw::connect(gateway.address()).request(&request);
        assert_eq!(answer.status, 426, "{path}");
    }
}

#[test]
fn what_happens_is_counted() {
    let gateway = watched(Config::ingest());
    let before = metrics(&gateway);
    for (name, value) in [
        ("sluice_connections_accepted_total", 0.0),
        ("sluice_connections_live", 0.0),
        ("sluice_connections_dropped_total", 0.0),
        ("sluice_panics_total", 0.0),
    ] {
        assert_eq!(before.get(name), Some(&value), "{before:?}");
    }
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    Raw::connect(gateway.address()).request(plain);
    let mut client = Client::idle(Library::Ws);
    client.open(&gateway, &meeting("m1", "mic", "nonsense"), &[]);
    client.expect_refusal(4001, "auth_failed");
    client.open(&gateway, &meeting("m1", "mic", &token::good()), &[]);
    client.handshake();
    client.expect_ack();
    client.send_audio(&[1; 6400]);
    client.json(&json!({"type": "news"}));
    let during = metrics(&gateway);
    assert_eq!(during["sluice_connections_live"], 1.0);
    assert_eq!(during["sluice_claims"], 1.0);
    client.finalize(6400, 200);
    // A connection is counted when its socket has ended. One answer of the metrics is no snapshot:
    // the next one has all that was counted before there were no connections.
    let after = eventually("the end of the connection", || {
        let is_over = metrics(&gateway)["sluice_connections_live"] == 0.0;
        is_over.then(|| metrics(&gateway))
    });
    for (name, value) in [
        ("sluice_connections_accepted_total", 2.0),
        ("sluice_http_refused_total{status=\"426\"}", 1.0),
        ("sluice_close_deliveries_total{delivery=\"confirmed\"}", 2.0),
        ("sluice_received_bytes_total", 6400.0),
        ("sluice_unknown_messages_total", 1.0),
        ("sluice_claims", 0.0),
        ("sluice_connections_dropped_total", 0.0),
        ("sluice_panics_total", 0.0),
    ] {
        assert_eq!(after.get(name), Some(&value), "{name} in {after:#?}");
    }
    let counted = |parts: &[&str]| {
        let found = after
            .iter()
            .filter(|(name, _)| parts.iter().all(|part| name.contains(part)));
        found.map(|(_, value)| value).sum::<f64>()
    };
    let closes = "sluice_closes_total{";
    let finalized = [
        closes,
        "cause=\"finalized\"",
        "code=\"1000\"",
        "closed_by=\"client\"",
    ];
    let refused = [closes, "code=\"4001\"", "closed_by=\"gateway\""];
    let decisions = "sluice_policy_decisions_total{";
    let rejected = [decisions, "policy=\"auth\"", "outcome=\"reject\""];
    let accepted = [decisions, "policy=\"auth\"", "outcome=\"accept\""];
    for parts in [&finalized[..], &refused, &rejected, &accepted] {
        assert_eq!(counted(parts), 1.0, "{parts:?} in {after:#?}");
    }
}

/// As the deployed client stops: it says everything at once, and is gone.
#[test]
fn a_client_that_closes_and_ends_its_side_at_once_has_confirmed_the_close() {
    let gateway = watched(Config::open());
    let mut peer = Raw::connect(gateway.address());
    let mut all = upgrade_request("/ingest/m1").into_bytes();
    all.extend(raw::text(&handshake().to_string()));
    all.extend(raw::text(r#"{"type":"finalize"}"#));
    let close = OpCode::Control(Control::Close);
    all.extend(raw::masked(close, &1001_u16.to_be_bytes()));
    peer.write(&all).unwrap();
    peer.writer().shutdown(Shutdown::Write).unwrap();
    peer.wait_for_end();
    let deliveries = eventually("the end of the connection", || {
        let mut metrics = metrics(&gateway);
        metrics.retain(|name, count| {
            name.starts_with("sluice_close_deliveries_total") && *count > 0.0
        });
        (!metrics.is_empty()).then_some(metrics)
    });
    let confirmed = "sluice_close_deliveries_total{delivery=\"confirmed\"}";
    assert_eq!(deliveries.get(confirmed), Some(&1.0), "{deliveries:?}");
}

#[test]
fn a_gateway_that_drains_is_live_and_not_ready() {
    let config = Config::open().set("server", "drain_timeout", json!("10min"));
    let mut gateway = watched(config);
    let mut client = Client::connect(Library::Ws, &gateway, "/ingest/m1");
    client.handshake();
    client.expect_ack();
    gateway.signal(Signal::TERM);
    eventually("not ready", || {
        (gateway.admin("GET /readyz") == (503, "draining\n".to_owned())).then_some(())
    });
    assert_eq!(gateway.admin("GET /livez").0, 200);
    assert_eq!(metrics(&gateway)["sluice_connections_live"], 1.0);
    // From the moment at which it is not ready, newcomers are refused.
    let mut newcomer = Client::connect(Library::Ws, &gateway, "/ingest/m2");
    let frame = newcomer.expect_refusal(1001, "draining");
    assert!(frame["retry_after_ms"].is_u64(), "{frame}");
    client.finalize(0, 0);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_page_whose_name_leads_here_is_answered_nothing() {
    let config = Config::open().set("server", "admin_hosts", json!(["metrics.internal"]));
    let gateway = watched(config);
    for path in ["/livez", "/readyz", "/metrics", "/nothing"] {
        let (status, answer) = gateway.admin(&format!("GET http://evil.example:9180{path}"));
        assert_eq!(status, 421, "{path}");
        assert!(answer.contains("admin_hosts"), "{answer}");
    }
    assert_eq!(gateway.admin("GET http://metrics.internal/livez").0, 200);
    for request in [
        "POST http://evil.example/reload",
        "POST /reload\r\nSec-Fetch-Site: same-origin",
        "POST /reload\r\nSec-Fetch-Site: cross-site",
        "POST /reload\r\nOrigin: http://localhost:9180",
        "POST /reload\r\nHost: localhost",
    ] {
        let (status, _) = gateway.admin(request);
        assert!([400, 403, 421].contains(&status), "{request}: {status}");
    }
    assert_eq!(gateway.metric("sluice_generation"), 1.0);
    assert_eq!(gateway.admin("POST /reload").0, 200);
    assert_eq!(gateway.metric("sluice_generation"), 2.0);
}

#[test]
fn every_metric_is_there_before_anything_has_happened() {
    let config = Config::ingest()
        .set("upstreams.backend", "kind", json!("websocket"))
        .set("upstreams.backend", "url", json!("ws://127.0.0.1:9/"))
        .set("routes.relay", "paths", json!(["/relay"]))
        .set("routes.relay", "handshake", json!("none"))
        .set("routes.relay", "upstream", json!("backend"))
        .set("policies.next", "component", json!("builtin:auth"))
        .set("policies.next", "grants", json!(["jwt"]))
        .set("policies.next", "shadow_of", json!("auth"))
        .set("policies.next.config", "key_set", json!("main"))
        .set(
            "policies.sample-rate",
            "grants",
            json!(["notice", "metrics"]),
        )
        // Nothing listens there.
        .set("key_sets.far", "jwks_url", json!("https://127.0.0.1:1/"))
        .set("key_sets.far", "algorithms", json!(["RS256"]))
        .set("lists.blocked", "file", json!("blocked.txt"))
        .set(
            "destinations.far",
            "url",
            json!("https://127.0.0.1:1/{user}"),
        )
        .set("server", "admin_listen", json!("127.0.0.1:0"));
    let authority = Authority::new();
    let config = authority
        .secure(config)
        .set("server", "tls_client_ca", json!(authority.ca()))
        .set("server", "tls_client_crl", json!("revoked.pem"));
    let revoked = authority.revoked(&[13]);
    let files = [
        ("blocked.txt", &b"acme\n"[..]),
        ("revoked.pem", revoked.as_bytes()),
    ];
    let gateway = Gateway::start_with_files(&config, &files);
    let samples = metrics(&gateway);
    let named = |name: &str| {
        let of_it = |sample: &&String| {
            let rest = sample.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['{', '_']))
        };
        samples.keys().filter(of_it).count()
    };
    for metric in &base::metrics::ALL {
        assert!(named(metric.name) > 0, "no {} in {samples:#?}", metric.name);
    }
    for sample in [
        "sluice_closes_total{cause=\"overloaded\",code=\"1013\",closed_by=\"gateway\"}",
        "sluice_closes_total{cause=\"finalized\",code=\"1000\",closed_by=\"client\"}",
        "sluice_http_refused_total{status=\"426\"}",
        "sluice_close_deliveries_total{delivery=\"not-read\"}",
        "sluice_policy_decisions_total{policy=\"duplicate\",outcome=\"trap\"}",
        "sluice_policy_quarantines_total{policy=\"auth\"}",
        "sluice_policy_duration_seconds_count{policy=\"sample-rate\",hook=\"on-handshake\"}",
        "sluice_sessions{route=\"relay\",stage=\"stream\"}",
        "sluice_admission_duration_seconds_count{stage=\"open\"}",
        "sluice_upstream_dial_failures_total{upstream=\"backend\"}",
        "sluice_upstream_given_up_total{upstream=\"backend\"}",
        "sluice_upstream_addresses{upstream=\"backend\",state=\"rests\"}",
        "sluice_recordings_begun_total{upstream=\"recordings\"}",
        "sluice_restart_pending",
        "sluice_shadow_decisions_total{policy=\"next\",result=\"differ\"}",
        "sluice_upstream_lost_total{upstream=\"backend\"}",
        "sluice_reloads_total{result=\"refused\"}",
        "sluice_tls_failures_total{reason=\"not-tls\"}",
        "sluice_key_set_keys{key_set=\"far\"}",
        "sluice_key_set_fetches_total{key_set=\"far\",result=\"fetched\"}",
    ] {
        assert_eq!(samples.get(sample), Some(&0.0), "{sample} in {samples:#?}");
    }
}

#[test]
fn codes_that_clients_choose_make_few_series() {
    let gateway = watched(Config::open());
    let before = metrics(&gateway).len();
    const CODES: std::ops::Range<u16> = 3000..3200;
    for code in CODES {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade("/echo");
        peer.send(OpCode::Control(Control::Close), &code.to_be_bytes());
        let close = peer.frame().expect("a Close");
        assert_eq!(close.close().map(|(code, _)| code), Some(code));
    }
    let series = "sluice_closes_total{cause=\"client_closed\",code=\"3xxx\",closed_by=\"client\"}";
    eventually("the end of the connections", || {
        (gateway.metric(series) == CODES.len() as f64).then_some(())
    });
    let after = metrics(&gateway).len();
    assert!(after <= before + 2, "{before} series, then {after}");
}
