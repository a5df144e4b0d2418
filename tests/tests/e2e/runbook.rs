//! The runbook of the operator's page: its commands and metrics are real, and what it says of each
//! symptom is so.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use sluice_tests::backend::relaying;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::collector::free_address;
use sluice_tests::command::{self, Done, run};
use sluice_tests::config::Config;
use sluice_tests::eventually;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::Raw;
use sluice_tests::token;

mod machine;

const TOKEN: &str = "an-operators-token-of-32-bytes-or-more";

/// A gateway whose commands find it by its configuration.
fn gateway(config: Config) -> (Gateway, SocketAddr) {
    let admin = free_address();
    let config = config.set("server", "admin_listen", json!(admin)).set(
        "server",
        "admin_token_file",
        json!("admin-token"),
    );
    let gateway = Gateway::start_with_files(&config, &[("admin-token", TOKEN.as_bytes())]);
    (gateway, admin)
}

/// Runs `sluice` as the page says it.
fn sluice(gateway: &Gateway, line: &str) -> Done {
    let config = gateway.folder().join("sluice.toml");
    let line = line.replace("sluice.toml", &config.display().to_string());
    let words: Vec<_> = line.split_whitespace().skip(1).collect();
    run(&mut command::sluice(&words))
}

fn section() -> String {
    let page = command::root().join("host/docs/operate.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, runbook) = page.split_once("\n## Runbook\n").expect("the runbook");
    let (runbook, _) = runbook.split_once("\n## ").expect("a section behind it");
    runbook.to_owned()
}

fn refused(gateway: &Gateway, token: &str) -> Client {
    Client::connect(Library::Ws, gateway, &meeting("m1", "mic", token))
}

fn verbose(gateway: &Gateway) -> (u16, String) {
    gateway.admin("GET /readyz?verbose")
}

/// Waits until the readiness has this reason.
fn not_ready(gateway: &Gateway, reason: &str) {
    eventually(reason, || {
        let (status, checks) = verbose(gateway);
        (status == 503 && checks.contains(reason)).then_some(())
    });
}

#[test]
fn every_command_and_every_metric_of_it_is_real() {
    let config = Config::ingest().set("decisions", "file", json!("decisions.jsonl"));
    let (gateway, _) = gateway(config.clone());
    refused(&gateway, "nonsense").expect_refusal(4001, "auth_failed");
    let runbook = section();
    let mut commands = 0;
    for line in runbook.lines().filter(|line| line.starts_with("sluice ")) {
        let line = line.split('#').next().expect("a command");
        let done = sluice(&gateway, line);
        // 1: there is nothing to tell of this user. 2: the command is wrong.
        assert!(matches!(done.status, Some(0 | 1)), "{line}: {done:?}");
        assert!(!done.stderr.contains("Usage"), "{line}: {done:?}");
        commands += 1;
    }
    assert!(commands >= 7, "{commands}");
    let (_, metrics) = gateway.admin("GET /metrics");
    let mut named = 0;
    for name in runbook.split('`').skip(1).step_by(2) {
        if name.starts_with("sluice_") || name.starts_with("process_") {
            let known = base::metrics::ALL.iter().any(|metric| {
                let bare = name.split('{').next();
                bare == Some(metric.name)
            });
            assert!(known, "no metric {name}");
            // Those of backends, of disks and of TLS alone are not there.
            let beginning = name.trim_end_matches('}');
            let absent = ["upstream_held", "certificate_expiry"];
            let may_be_absent = absent.iter().any(|part| name.contains(part));
            assert!(
                may_be_absent || metrics.contains(beginning),
                "no sample {name}"
            );
            named += 1;
        }
    }
    assert!(named >= 14, "{named}");
}

#[test]
fn one_user_who_cannot_connect_is_found_by_what_the_gateway_told_them() {
    let config = Config::ingest().set("decisions", "file", json!("decisions.jsonl"));
    let (gateway, _) = gateway(config);
    let why = |whom: &str| {
        let line = format!("sluice why {whom} --config sluice.toml");
        sluice(&gateway, &line)
    };
    let (_live, session) = Client::stream_of(&gateway, "m1", "u-1");
    // The other user's claim keeps this one out, and the policy saw who they are.
    let path = meeting("m1", "mic", &token::of_user("u-2"));
    let mut second = Client::connect(Library::Ws, &gateway, &path);
    let frame = second.expect_refusal(4002, "ingest_exists");
    let told = frame["message"].as_str().expect("a message");
    let said = eventually("the record", || {
        let said = why("u-2").stdout;
        said.contains("meeting_id").then_some(said)
    });
    for part in [told, "duplicate", "u-2", "sluice policy replay"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    for whom in [&*session, "u-1"] {
        let live = why(whom);
        assert_eq!(live.status, Some(1), "{live:?}");
        let said = "was not refused: it is in the stage stream";
        assert!(live.stderr.contains(said), "{live:?}");
    }
    // Somebody who never got as far as a policy.
    let nobody = why("u-9");
    assert_eq!(nobody.status, Some(1), "{nobody:?}");
    let refused = "sluice_http_refused_total{status=\"426\"}";
    let before = gateway.metric(refused);
    let mut plain = Raw::connect(gateway.address());
    let answer = plain.request("GET /ws/ingest/meetings/m1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer.status, 426);
    assert_eq!(gateway.metric(refused), before + 1.0);
}

#[test]
fn clocks_that_differ_are_seen_in_tokens_that_the_issuer_has_signed() {
    let (gateway, _) = gateway(Config::ingest());
    let clocks = || sluice(&gateway, "sluice status --config sluice.toml").stdout;
    assert!(!clocks().contains("clocks"), "no token yet");
    let early = token::sign(&token::claims_with(json!({
        "iat": token::now() + 345, "nbf": token::now() + 345, "exp": token::now() + 3900,
    })));
    let frame = refused(&gateway, &early).expect_refusal(4001, "auth_failed");
    let message = frame["message"].as_str().expect("a message");
    assert!(message.contains("not yet valid"), "{message}");
    let said = clocks();
    for part in [
        "main: 5 min ahead of this machine's",
        "1 tokens",
        "1 not yet valid",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

#[test]
fn everybody_is_refused_with_4001_and_the_sentence_says_why() {
    let (gateway, _) = gateway(Config::ingest());
    for (changes, word) in [
        (json!({"exp": 1}), "expired"),
        (json!({"aud": "others"}), "audience"),
        (json!({"iss": "others"}), "issuer"),
    ] {
        let bad = token::sign(&token::claims_with(changes));
        let frame = refused(&gateway, &bad).expect_refusal(4001, "auth_failed");
        let session = frame["session_id"].as_str().expect("a session");
        let why = sluice(
            &gateway,
            &format!("sluice why {session} --config sluice.toml"),
        );
        assert!(why.stdout.contains(word), "{word} in {why:?}");
    }
    let forged = format!("{}x", token::good());
    let frame = refused(&gateway, &forged).expect_refusal(4001, "auth_failed");
    let message = frame["message"].as_str().expect("a message");
    assert!(message.contains("signature"), "{message}");
}

#[test]
fn a_full_gateway_and_a_drained_one_say_so() {
    let (gateway, _) = gateway(Config::open().set("server", "max_connections", json!(1)));
    let mut first = Client::connect(Library::Ws, &gateway, "/echo");
    first.echoes("hello");
    let mut second = Client::connect(Library::Ws, &gateway, "/echo");
    second.expect_refusal(1013, "overloaded");
    assert_eq!(gateway.metric("sluice_connections_limit"), 1.0);
    let status = sluice(&gateway, "sluice status --config sluice.toml");
    assert!(status.stdout.contains("1 live"), "{status:?}");
    first.leave();
    assert_eq!(
        sluice(&gateway, "sluice drain --config sluice.toml").status,
        Some(0)
    );
    let mut drained = Client::connect(Library::Ws, &gateway, "/echo");
    drained.expect_refusal(1001, "draining");
    let status = sluice(&gateway, "sluice status --config sluice.toml");
    assert!(status.stdout.contains("draining"), "{status:?}");
    assert_eq!(
        sluice(&gateway, "sluice undrain --config sluice.toml").status,
        Some(0)
    );
    Client::connect(Library::Ws, &gateway, "/echo").echoes("hello");
}

#[test]
fn a_full_disk_is_named_with_what_is_free() {
    let config = Config::ingest().set("upstreams.recordings", "min_free", json!("1000TiB"));
    let (gateway, _) = gateway(config);
    not_ready(&gateway, "upstream recordings");
    let (_, checks) = verbose(&gateway);
    assert!(checks.contains("free"), "{checks}");
    let mut client = refused(&gateway, &token::good());
    client.handshake();
    client.expect_refusal(4006, "upstream_unavailable");
}

#[test]
fn a_policy_in_quarantine_is_found_and_released() {
    let (gateway, _) = gateway(Config::ingest());
    assert_eq!(
        sluice(&gateway, "sluice quarantine auth --config sluice.toml").status,
        Some(0)
    );
    let frame = refused(&gateway, &token::good()).expect_refusal(4007, "policy_failed");
    let session = frame["session_id"].as_str().expect("a session");
    let why = sluice(
        &gateway,
        &format!("sluice why {session} --config sluice.toml"),
    );
    assert!(why.stdout.contains("quarantine"), "{why:?}");
    let (_, policies) = gateway.admin("GET /policies");
    assert!(policies.contains("quarantined-by-operator"), "{policies}");
    assert_eq!(
        sluice(&gateway, "sluice release auth --config sluice.toml").status,
        Some(0)
    );
    let (mut client, _) = Client::stream_of(&gateway, "m1", "u-1");
    client.finalize(0, 0);
}

#[test]
fn keys_that_are_gone_are_named_and_are_taken_up_again() {
    let config = Config::ingest().without("key_sets.main", "secret").set(
        "key_sets.main",
        "secret_file",
        json!("secret"),
    );
    let admin = free_address();
    let config = config.set("server", "admin_listen", json!(admin));
    let secret = sluice_tests::token::SECRET;
    let gateway = Gateway::start_with_files(&config, &[("secret", secret.as_bytes())]);
    fs::remove_file(gateway.folder().join("secret")).expect("the file");
    not_ready(&gateway, "key set main");
    refused(&gateway, &token::good()).expect_refusal(4012, "auth_unavailable");
    assert_eq!(
        gateway.metric("sluice_key_set_available{key_set=\"main\"}"),
        0.0
    );
    gateway.replace("secret", secret);
    eventually("the keys", || (verbose(&gateway).0 == 200).then_some(()));
    let (mut client, _) = Client::stream_of(&gateway, "m1", "u-1");
    client.finalize(0, 0);
}

#[test]
fn a_backend_that_is_down_is_named() {
    let config = relaying(free_address()).set("upstreams.recordings", "rest_after", json!(1));
    let (gateway, _) = gateway(config);
    let mut client = refused(&gateway, &token::good());
    client.handshake();
    client.expect_refusal(4006, "upstream_unavailable");
    not_ready(&gateway, "upstream recordings");
    assert_eq!(
        gateway.metric("sluice_upstream_up{upstream=\"recordings\"}"),
        0.0
    );
    let (_, upstreams) = gateway.admin("GET /upstreams");
    assert!(
        upstreams.contains("\"rests\"") || upstreams.contains("\"probed\""),
        "{upstreams}"
    );
}

#[test]
fn a_reload_that_was_refused_is_explained_and_a_corrected_file_is_taken_up() {
    let (gateway, _) = gateway(Config::ingest());
    let file = gateway.folder().join("sluice.toml");
    let good = fs::read_to_string(&file).expect("the file");
    gateway.replace(
        "sluice.toml",
        good.replace("our-app", "our-app\", \"\"\nno = \""),
    );
    eventually("the refusal", || {
        (gateway.metric("sluice_last_reload_successful") == 0.0).then_some(())
    });
    for (line, said) in [
        ("sluice check --config sluice.toml", "sluice.toml:"),
        ("sluice status --config sluice.toml", "refused"),
    ] {
        let done = sluice(&gateway, line);
        let all = format!("{}{}", done.stdout, done.stderr);
        // The file names the listener no more, so the status is asked for by its address.
        if done.status != Some(0) && line.contains("status") {
            continue;
        }
        assert!(all.contains(said), "{said} in {done:?}");
    }
    gateway.replace("sluice.toml", good);
    eventually("the good one", || {
        (gateway.metric("sluice_last_reload_successful") == 1.0).then_some(())
    });
    let status: Value = {
        let (_, body) = gateway.admin("GET /status");
        serde_json::from_str(&body).expect("JSON")
    };
    assert_eq!(status["needs_restart"], json!([]));
}
