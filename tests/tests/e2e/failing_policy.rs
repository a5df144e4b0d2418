//! A policy that breaks is not a policy that says no.

use serde_json::json;
use sluice_tests::client::{Client, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::{token, with_both_clients};

const GUEST: &str = include_str!("../../guests/connect.wat");

/// The main job, with a policy between auth and duplicate whose `decide` runs
/// `body`. The folder holds its component.
fn with_guest(body: &str) -> (Config, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("guest.wasm");
    let component = wat::parse_str(GUEST.replace("BODY", body)).expect("a component");
    std::fs::write(&file, component).expect("a file");
    let config = Config::ingest()
        .set("policies.guest", "component", json!(file))
        .set(
            "routes.ingest",
            "on_connect",
            json!(["auth", "guest", "duplicate"]),
        );
    (config, folder)
}

with_both_clients! {
    fn a_trap_and_a_loop_refuse_in_words_and_the_gateway_serves_on(library) {
        for body in ["(unreachable)", "(loop (br 0)) (i32.const 0)"] {
            let (config, _folder) = with_guest(body);
            let gateway = Gateway::start(&config);
            for _ in 0..2 {
                let mut client = Client::connect(library, &gateway, &meeting("m1", "mic", &token::good()));
                let frame = client.expect_refusal_saying(4007, "policy_failed", "policy guest failed");
                assert_eq!(frame["retryable"], true);
            }
        }
    }

    fn a_policy_that_fails_open_lets_the_stream_pass(library) {
        let (config, _folder) = with_guest("(unreachable)");
        let gateway = Gateway::start(&config.set("policies.guest", "on_failure", json!("open")));
        let mut client = Client::connect(library, &gateway, &meeting("m1", "mic", &token::good()));
        client.handshake();
        client.expect_ack();
    }
}
