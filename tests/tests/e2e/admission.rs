//! The gateway's own time before the ack is one budget: what policies and the
//! upstream take is added up, and a client is refused in time.

use serde_json::json;
use sluice_tests::client::{Client, Library};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use tempfile::TempDir;

/// A route whose policies and upstream are as slow as they are asked to be: two
/// seconds for each. It has three and a half.
fn config(policies: &[&str], upstream: &str) -> (Config, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("slow.wasm");
    let guest = wat::parse_str(include_str!("../../guests/slow.wat")).expect("a component");
    std::fs::write(&file, guest).expect("a file");
    let slow = |config: Config, policy: &&str| {
        let policy = format!("policies.{policy}");
        config
            .set(&policy, "component", json!(file))
            .set(&policy, "timeout", json!("10s"))
    };
    let config = policies
        .iter()
        .fold(Config::open(), slow)
        .set(&format!("upstreams.{upstream}"), "kind", json!("discard"))
        .set("routes.ingest", "on_connect", json!(policies))
        .set("routes.ingest", "upstream", json!(upstream))
        .limit("admission_timeout", "3500ms");
    (config, folder)
}

fn connect(gateway: &Gateway) -> Client {
    let mut client = Client::connect(Library::Ws, gateway, "/ingest/m1");
    client.handshake();
    client
}

#[test]
fn what_is_slow_alone_is_waited_for() {
    for (policies, upstream) in [(&["slow"][..], "quick"), (&[], "fault-open-late")] {
        let (config, _folder) = config(policies, upstream);
        let gateway = Gateway::start_faulty(&config);
        connect(&gateway).expect_ack();
    }
}

#[test]
fn what_is_slow_together_is_refused_in_time() {
    let (config, _folder) = config(&["slow"], "fault-open-late");
    let gateway = Gateway::start_faulty(&config);
    let message = "the upstream did not open in time";
    connect(&gateway).expect_refusal_saying(4006, "upstream_unavailable", message);
}

#[test]
fn policies_that_are_slow_together_are_refused_in_time_and_named() {
    let (config, _folder) = config(&["slow", "too"], "quick");
    let gateway = Gateway::start(&config);
    let message = "admission took too long";
    let frame = connect(&gateway).expect_refusal_saying(4007, "policy_failed", message);
    assert_eq!(frame["retryable"], true);
    let entry = gateway.connection_log(frame["session_id"].as_str().unwrap());
    let decisions = entry["decisions"].as_str().unwrap();
    assert!(
        decisions.contains("slow=accept in ") && decisions.contains("too=abandoned in "),
        "{entry}"
    );
    let detail = entry["detail"].as_str().unwrap();
    assert!(detail.contains("policy too was asked"), "{entry}");
}
