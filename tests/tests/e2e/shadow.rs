//! A policy that is tried out beside the one that decides.

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::guest::{example, with_policy};
use sluice_tests::{eventually, token};

/// The main job with stricter versions of two policies beside the real ones.
fn with_candidates(canary: u32) -> Config {
    Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("policies.auth-next", "component", json!("builtin:auth"))
        .set("policies.auth-next", "grants", json!(["jwt"]))
        .set("policies.auth-next", "shadow_of", json!("auth"))
        .set("policies.auth-next", "canary", json!(canary))
        .set("policies.auth-next.config", "key_set", json!("main"))
        .set(
            "policies.rate-next",
            "component",
            json!("builtin:sample-rate"),
        )
        .set("policies.rate-next", "shadow_of", json!("sample-rate"))
        .set("policies.rate-next.config", "rates", json!([48000]))
}

fn shadowed(gateway: &Gateway, policy: &str, result: &str) -> bool {
    let (_, metrics) = gateway.admin("GET /metrics");
    let name = format!("sluice_shadow_decisions_total{{policy=\"{policy}\",result=\"{result}\"}}");
    metrics.lines().any(|line| line.starts_with(&name))
}

fn lines(gateway: &mut Gateway) -> Vec<Value> {
    gateway.signal(Signal::TERM);
    gateway.wait();
    let text = std::fs::read_to_string(gateway.data().join("decisions.jsonl")).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn shadows_are_compared_and_change_nothing() {
    let mut gateway = Gateway::start(&with_candidates(0));
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
    client.handshake();
    client.expect_ack();
    for (policy, result) in [("auth-next", "agree"), ("rate-next", "differ")] {
        eventually("the count of a shadow", || {
            shadowed(&gateway, policy, result).then_some(())
        });
    }
    client.finalize(0, 0);
    let lines = lines(&mut gateway);
    let of = |policy: &str| lines.iter().find(|line| line["policy"] == policy).unwrap();
    let rate = of("rate-next");
    assert_eq!(rate["role"], "shadow");
    assert_eq!(
        (&rate["compared"], &rate["effect"]),
        (&json!("differ"), &json!("none"))
    );
    assert_eq!(rate["code"], "invalid_sample_rate");
    assert_eq!(of("sample-rate")["role"], "enforced");
}

#[test]
fn a_canary_decides_in_the_place_and_under_the_name_of_the_other() {
    // `duplicate` needs `auth.tenant_id`, which the candidate now leaves.
    let mut gateway = Gateway::start(&with_candidates(100));
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
    client.handshake();
    let session = client.expect_ack();
    client.finalize(0, 0);
    let mut stranger = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", "none"));
    stranger.expect_refusal(4001, "auth_failed");
    let entry = gateway.connection_log(&session).to_string();
    assert!(entry.contains("auth-next=accept"), "{entry}");
    eventually("the count of a shadow", || {
        shadowed(&gateway, "auth", "agree").then_some(())
    });
    let lines = lines(&mut gateway);
    let role = |line: &Value| (line["policy"].to_string(), line["role"].to_string());
    assert_eq!(
        role(&lines[0]),
        ("\"auth-next\"".into(), "\"canary\"".into())
    );
}

#[test]
fn mistakes_about_shadows_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    let config = with_candidates(0)
        .set("policies.auth-next", "shadow_of", json!("aut"))
        .set("policies.rate-next", "canary", json!(101))
        .set("policies.duplicate", "canary", json!(5))
        .set(
            "routes.ingest",
            "on_handshake",
            json!(["sample-rate", "rate-next"]),
        );
    std::fs::write(&file, config.to_string()).unwrap();
    let check = &mut sluice_tests::command::sluice(&["check", "--config"]);
    let done = sluice_tests::command::run(check.arg(file));
    let report = done.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in [
        "there is no policy \"aut\"",
        "`canary` cannot be 101",
        "[policies.duplicate] decides about every session",
        "names \"rate-next\", which is asked wherever \"sample-rate\" is",
    ] {
        assert!(report.contains(said), "{said} in: {report}");
    }
}

#[test]
fn a_shadow_is_asked_about_the_world_before_the_one_who_decided_changed_it() {
    let config = with_candidates(0)
        .set("policies.duplicate.config", "mode", json!("takeover"))
        .set(
            "policies.strict-next",
            "component",
            json!("builtin:duplicate"),
        )
        .set("policies.strict-next", "grants", json!(["sessions"]))
        .set("policies.strict-next", "shadow_of", json!("duplicate"))
        .set("policies.strict-next.config", "same_user", json!("reject"));
    let mut gateway = Gateway::start(&config);
    let path = meeting("m1", "mic", &token::good());
    let mut first = Client::connect(Library::Ws, &gateway, &path);
    first.handshake();
    let holder = first.expect_ack();
    eventually("the count of a shadow", || {
        shadowed(&gateway, "strict-next", "agree").then_some(())
    });
    // Lets in a newcomer in the place of the first; the candidate would not.
    let mut second = Client::connect(Library::Ws, &gateway, &path);
    first.expect_refusal(4003, "superseded");
    second.handshake();
    second.expect_ack();
    eventually("the count of a shadow", || {
        shadowed(&gateway, "strict-next", "differ").then_some(())
    });
    second.finalize(0, 0);
    let lines = lines(&mut gateway);
    let of_it: Vec<_> = lines
        .iter()
        .filter(|line| line["policy"] == "strict-next")
        .collect();
    assert_eq!(of_it[1]["code"], "ingest_exists");
    let claimed = &of_it[1]["calls"][0]["answer"];
    assert_eq!(claimed["err"]["session_id"], holder);
}

#[test]
fn a_shadow_is_told_of_the_end_and_takes_back_what_it_counted() {
    let component = example("rate-limit");
    let limit = |config: Config, name: &str| {
        with_policy(config, name, &component, &["counters"])
            .set(&format!("policies.{name}.config"), "attempts", json!(1))
            .set(
                &format!("policies.{name}.config"),
                "count",
                json!("refused"),
            )
    };
    let config = limit(limit(with_candidates(0), "limit"), "limit-next")
        .set("policies.limit-next", "shadow_of", json!("limit"))
        .set("routes.ingest", "on_connect", json!(["auth", "limit"]))
        .set("routes.ingest", "on_close", json!(["limit"]));
    let mut gateway = Gateway::start(&config);
    let file = gateway.data().join("decisions.jsonl");
    for round in 1..=3 {
        let path = meeting("m1", "mic", &token::good());
        let mut client = Client::connect(Library::Ws, &gateway, &path);
        client.handshake();
        client.expect_ack();
        client.finalize(0, 0);
        // Told in its own time; it is to have been before the next one comes.
        eventually("what both were told", || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let told = text.matches("\"stage\":\"close\"").count();
            (told == 2 * round).then_some(())
        });
    }
    let lines = lines(&mut gateway);
    let compared = lines
        .iter()
        .filter(|line| line["policy"] == "limit-next")
        .map(|line| (line["stage"].as_str(), line["compared"].as_str()));
    let (asked, told) = ((Some("connect"), Some("agree")), (Some("close"), None));
    assert_eq!(
        compared.collect::<Vec<_>>(),
        [asked, told, asked, told, asked, told]
    );
}
