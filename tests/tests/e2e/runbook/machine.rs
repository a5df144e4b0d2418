//! Answers about the process and its machine: memory, certificates, an unclean stop, traces.

use super::*;
use rustix::process::Signal;
use sluice_tests::client::handshake;
use sluice_tests::collector::Collector;
use sluice_tests::page::{Page, saying};
use sluice_tests::raw::{self, Raw};
use sluice_tests::tls::Authority;

const MIB: f64 = 1024.0 * 1024.0;

#[test]
fn memory_that_clients_hold_is_told_from_memory_that_the_gateway_holds() {
    let config = Config::ingest()
        .set("server", "max_memory", json!("8MiB"))
        .limit("resume_grace", "10min")
        .echo_limit("message_timeout", "10min");
    let (gateway, _) = gateway(config);
    let resident = gateway.metric("process_resident_memory_bytes");
    // A client that was cut off: its stream waits for it.
    let (parked, id) = asking_to_resume(&gateway);
    parked.reset();
    let parked = eventually("a parked stream", || {
        let line = "sluice sessions --stage parked --config sluice.toml";
        let listed = sluice(&gateway, line).stdout;
        listed.contains(&id).then_some(listed)
    });
    assert_eq!(parked.lines().count(), 2, "{parked}");
    // Clients whose messages have no end.
    let message = raw::text(&"x".repeat(200 * 1024));
    let unfinished = || {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade("/echo");
        // Whoever would hold too much is told so, and may be cut off.
        drop(peer.write(&message[..message.len() - 1]));
        peer
    };
    let mut greedy: Vec<_> = (0..25).map(|_| unfinished()).collect();
    eventually("memory that is held", || {
        (gateway.metric("sluice_memory_held_bytes") > 4.0 * MIB).then_some(())
    });
    let grown = gateway.metric("process_resident_memory_bytes") - resident;
    assert!(grown > 4.0 * MIB, "both grow, and one by {grown}");
    let top = sluice(&gateway, "sluice top --count 1 --config sluice.toml").stdout;
    assert!(top.contains("echo") && top.contains("stream"), "{top}");
    // And there is a bound.
    greedy.extend((0..40).map(|_| unfinished()));
    eventually("a refusal", || {
        let (_, metrics) = gateway.admin("GET /metrics");
        let refused = |line: &str| {
            line.strip_prefix("sluice_memory_refused_total{")
                .is_some_and(|rest| !rest.ends_with("} 0"))
        };
        metrics.lines().any(refused).then_some(())
    });
    assert!(gateway.metric("sluice_memory_held_bytes") <= 8.0 * MIB);
    drop(greedy);
    eventually("all of it back", || {
        (gateway.metric("sluice_memory_held_bytes") < MIB).then_some(())
    });
    // Policies hold no memory between their calls.
    assert_eq!(gateway.metric("sluice_policy_instances"), 0.0);
}

/// A stream that its client may resume.
fn asking_to_resume(gateway: &Gateway) -> (Raw, String) {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting("m1", "mic", &token::good()));
    let mut hello = handshake();
    hello["features"] = json!(["ack", "resume"]);
    peer.write(&raw::text(&hello.to_string())).expect("a write");
    let ack = peer.message();
    let id = ack["session_id"].as_str().expect("an ack").to_owned();
    (peer, id)
}

#[test]
fn a_certificate_that_runs_out_is_replaced_in_place_and_who_does_not_take_it_is_counted() {
    let [files, first, second] = [(); 3].map(|()| Authority::new());
    first.give_to(&files);
    let (gateway, _) = gateway(files.secure(Config::open()));
    let expiry = "sluice_certificate_expiry_timestamp_seconds{listener=\"clients\"}";
    // rcgen's certificates expire in the year 4096.
    assert_eq!(gateway.metric(expiry), 67_090_118_400.0);
    let status = sluice(&gateway, "sluice status --config sluice.toml").stdout;
    assert!(status.contains("clients until 4096-01-01"), "{status}");
    second.expiring_in(2033).give_to(&files);
    gateway.reloaded(2);
    let status = sluice(&gateway, "sluice status --config sluice.toml").stdout;
    assert!(status.contains("clients until 2033-01-01"), "{status}");
    // A client of the authority before does not take it.
    let rejected = "sluice_tls_failures_total{reason=\"certificate-rejected\"}";
    let mut peer = Raw::connect(gateway.address()).over_tls(&first);
    drop(peer.write(b"GET"));
    eventually("a failed handshake", || {
        (gateway.metric(rejected) == 1.0).then_some(())
    });
    let told = gateway.output().find("the failure", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["reason"] == "certificate-rejected").then_some(())
    });
    told.expect("the gateway runs");
}

#[test]
fn a_revocation_list_that_has_expired_is_named_and_a_newer_one_is_taken_up() {
    let (server, clients) = (Authority::new(), Authority::new());
    let config = server
        .secure(Config::open())
        .set("server", "admin_listen", json!(free_address()))
        .set("server", "tls_client_ca", json!("clients.pem"))
        .set("server", "tls_client_crl", json!("revoked.pem"));
    let (ca, old) = (
        std::fs::read(clients.ca()).expect("a certificate"),
        clients.revoked_until(&[13], 2025),
    );
    let files = [("clients.pem", &*ca), ("revoked.pem", old.as_bytes())];
    let gateway = Gateway::start_with_files(&config, &files);
    let check = sluice(&gateway, "sluice check --config sluice.toml");
    assert_eq!(check.status, Some(0), "{check:?}");
    assert!(check.stderr.contains("has expired"), "{check:?}");
    let upgrade = || {
        let client = server.client_with(&clients, 7);
        let mut peer = Raw::connect(gateway.address()).over_tls_as(client);
        drop(peer.write(raw::upgrade_request("/echo").as_bytes()));
        peer
    };
    let expired = "sluice_tls_failures_total{reason=\"revocation-list-expired\"}";
    drop(upgrade());
    eventually("a failed handshake", || {
        (gateway.metric(expired) == 1.0).then_some(())
    });
    let status = sluice(&gateway, "sluice status --config sluice.toml").stdout;
    assert!(
        status.contains("revocation list until 2025-01-01"),
        "{status}"
    );
    gateway.replace("revoked.pem", clients.revoked(&[13]));
    gateway.reloaded(2);
    let mut peer = upgrade();
    assert_eq!(peer.response_to_head().status, 101);
    let list = "sluice_revocation_list_expiry_timestamp_seconds{listener=\"clients\"}";
    assert_eq!(gateway.metric(list), 4_859_740_800.0);
}

#[test]
fn a_gateway_that_was_killed_says_so_at_its_next_start_and_the_stream_waits_for_its_client() {
    let config = Config::ingest().limit("resume_grace", "10min");
    let (mut gateway, _) = gateway(config);
    let (mut client, id) = asking_to_resume(&gateway);
    client.write(&raw::binary(&[1; 6400])).expect("a write");
    let running = gateway.data().join("gateway.running");
    eventually("the note of the session, and its audio on the disk", || {
        let noted = fs::read_to_string(&running).ok()?.contains(&id);
        let recording = gateway.recordings().pop()?;
        (noted && fs::metadata(recording).ok()?.len() >= 6400).then_some(())
    });
    gateway.kill();
    gateway.start_again();
    let status = sluice(&gateway, "sluice status --config sluice.toml").stdout;
    assert!(status.contains("unclean stop"), "{status}");
    assert!(status.contains("cut 1 session"), "{status}");
    let told = gateway
        .output()
        .find("its line", |line| line.contains(&id).then_some(()));
    told.expect("the gateway runs");
    let waiting = sluice(
        &gateway,
        "sluice sessions --stage parked --config sluice.toml",
    );
    assert!(waiting.stdout.contains("u-1"), "{waiting:?}");
    // The console says so too, and names them.
    let mut page = Page::open(&gateway, "health");
    page.wait(&saying("dd", "1 session cut"));
    page.wait(&saying("dt", &id));
    page.audit();
    // What was written is a valid file.
    let (_, pcm) = sluice_tests::speech::read_wav(&gateway.recording());
    assert!(pcm.iter().all(|byte| *byte == 1), "{} bytes", pcm.len());
}

#[test]
fn traces_that_are_missing_are_counted_by_what_keeps_them_from_the_collector() {
    let gone = format!("http://{}/v1/traces", free_address());
    let (mut gone, _) = gateway(Config::open().set("traces", "endpoint", json!(gone)));
    Client::connect(Library::Ws, &gone, "/echo").leave();
    eventually("spans that are dropped", || {
        let dropped = gone.metric("sluice_spans_dropped_total{reason=\"not-taken\"}");
        (dropped > 0.0).then_some(())
    });
    let told = gone.output().find("the reason", |line| {
        line.contains("the trace collector takes no spans")
            .then_some(())
    });
    told.expect("the gateway runs");
    gone.signal(Signal::TERM);
    gone.wait();
    // Neither: the client says that it is not recorded.
    let collector = Collector::start();
    let config = Config::open().set("traces", "endpoint", json!(collector.endpoint()));
    let (gateway, _) = gateway(config);
    for (flags, exported) in [("00", 0.0), ("01", 1.0)] {
        let parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        let mut client = Client::idle(Library::Ws);
        client.open(&gateway, "/echo", &[("traceparent", &parent)]);
        client.echoes("hello");
        client.leave();
        if exported > 0.0 {
            eventually("its spans", || {
                (gateway.metric("sluice_spans_exported_total") >= exported).then_some(())
            });
        }
    }
    let spans = collector.spans();
    let roots = spans.iter().filter(|span| span.name == "websocket echo");
    assert_eq!(roots.count(), 1, "{spans:#?}");
    for reason in ["not-taken", "queue-full"] {
        let sample = format!("sluice_spans_dropped_total{{reason=\"{reason}\"}}");
        assert_eq!(gateway.metric(&sample), 0.0);
    }
}
