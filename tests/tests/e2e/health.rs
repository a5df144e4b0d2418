//! Whether clients may be sent to a gateway, and if not, why.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sluice_tests::backend::relaying;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::{command, eventually, token};

fn watched(config: Config) -> Config {
    config.set("server", "admin_listen", json!("127.0.0.1:0"))
}

/// Waits until the gateway is not ready, and says this about a check.
fn not_ready(gateway: &Gateway, check: &str, reason: &str) {
    let text = eventually("not ready", || {
        let (status, text) = gateway.admin("GET /readyz?verbose");
        (status == 503).then_some(text)
    });
    let failed = text.lines().filter(|line| line.starts_with("failed "));
    let [failed] = &failed.collect::<Vec<_>>()[..] else {
        panic!("one check fails: {text}")
    };
    let expected = format!("failed {check}: ");
    assert!(
        failed.starts_with(&expected) && failed.contains(reason),
        "{text}"
    );
    assert!(text.contains("ok serving\n"), "{text}");
    let (status, short) = gateway.admin("GET /readyz");
    assert_eq!(status, 503);
    assert!(
        short.starts_with(&format!("not ready: {check}: ")),
        "{short}"
    );
    // A restart would help nobody.
    assert_eq!(gateway.admin("GET /livez").0, 200);
    let (_, status) = gateway.admin("GET /status");
    let status: Value = serde_json::from_str(&status).unwrap();
    let checks = status["checks"].as_array().unwrap();
    let found = checks.iter().find(|found| found["name"] == check);
    assert!(
        found.unwrap()["reason"].as_str().unwrap().contains(reason),
        "{status}"
    );
    let address = gateway.admin_address().to_string();
    let told = command::run(&mut command::sluice(&["status", "--admin", &address]));
    assert!(
        told.stdout.contains("not ready") && told.stdout.contains(reason),
        "{told:?}"
    );
}

fn ready(gateway: &Gateway) -> String {
    eventually("ready", || {
        let (status, text) = gateway.admin("GET /readyz?verbose");
        (status == 200).then_some(text)
    })
}

#[test]
fn a_gateway_that_can_serve_says_what_it_has_checked() {
    let gateway = Gateway::start(&watched(Config::ingest()));
    let text = ready(&gateway);
    let lines: Vec<_> = text.lines().collect();
    let expected = [
        "ready",
        "ok serving",
        "ok key set main",
        "ok upstream mirror",
        "ok upstream nowhere",
        "ok upstream recordings",
    ];
    assert_eq!(lines, expected);
    assert_eq!(gateway.admin("GET /readyz?verbos").0, 400);
}

#[test]
fn a_gateway_whose_backend_is_gone_is_not_ready_until_it_is_back() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = backend.local_addr().unwrap();
    // An upstream that no route has does not matter.
    let config = relaying(address).set("routes.relay", "upstream", json!("mirror"));
    let gateway = Gateway::start(&watched(config));
    let text = ready(&gateway);
    assert!(
        text.contains("ok upstream recordings") && !text.contains("plain"),
        "{text}"
    );
    drop(backend);
    not_ready(&gateway, "upstream recordings", "accepts connections");
    let _back = TcpListener::bind(address).unwrap();
    // Nobody streams meanwhile: it finds out by itself.
    ready(&gateway);
}

#[test]
fn a_gateway_whose_backend_keeps_failing_is_not_ready_and_leaves_it_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = relaying(listener.local_addr().unwrap())
        .set("routes.relay", "upstream", json!("mirror"))
        .set("upstreams.recordings", "rest_after", json!(2))
        .set("upstreams.recordings", "rest", json!("1h"));
    let gateway = Gateway::start(&watched(config));
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    // It hangs up on everybody.
    std::thread::spawn(move || {
        for _ in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    for user in ["u-1", "u-2"] {
        let path = meeting(user, "mic", &token::of_user(user));
        let mut client = Client::connect(Library::Ws, &gateway, &path);
        client.handshake();
        client.expect_refusal(4006, "upstream_unavailable");
    }
    let before = connections.load(Ordering::SeqCst);
    not_ready(&gateway, "upstream recordings", "keeps failing");
    // One look may have been under way.
    let after = connections.load(Ordering::SeqCst);
    assert!(after <= before + 1, "{before} and then {after}");
}

#[test]
fn a_gateway_whose_folder_of_recordings_is_gone_is_not_ready_until_it_is_back() {
    let gateway = Gateway::start(&watched(Config::ingest()));
    ready(&gateway);
    let (folder, aside) = (
        gateway.data().join("recordings"),
        gateway.data().join("aside"),
    );
    std::fs::rename(&folder, &aside).unwrap();
    not_ready(&gateway, "upstream recordings", "recordings");
    std::fs::rename(&aside, &folder).unwrap();
    ready(&gateway);
}

#[test]
fn a_gateway_whose_disk_has_too_little_room_is_not_ready() {
    let config = Config::ingest().set("upstreams.recordings", "min_free", json!("1024 TiB"));
    let gateway = Gateway::start(&watched(config));
    not_ready(&gateway, "upstream recordings", "min_free");
}

#[test]
fn a_gateway_without_the_keys_of_its_policies_is_not_ready_until_they_are_back() {
    let mut config = Config::ingest();
    config = config.without("key_sets.main", "secret");
    config = config.set("key_sets.main", "secret_file", json!("secret"));
    let secret = token::SECRET.as_bytes();
    let gateway = Gateway::start_with_files(&watched(config), &[("secret", secret)]);
    ready(&gateway);
    let (file, aside) = (
        gateway.folder().join("secret"),
        gateway.folder().join("aside"),
    );
    std::fs::rename(&file, &aside).unwrap();
    not_ready(&gateway, "key set main", "4012");
    std::fs::rename(&aside, &file).unwrap();
    ready(&gateway);
}
