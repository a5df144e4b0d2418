//! The examples of policies, in the real gateway.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::guest::{example, with_policy};
use sluice_tests::project::{Project, serve};
use sluice_tests::raw::{self, Raw};
use sluice_tests::token;

fn rate_limit(count: &str) -> Config {
    with_policy(
        Config::ingest(),
        "rate-limit",
        &example("rate-limit"),
        &["counters"],
    )
    .set("policies.rate-limit.config", "attempts", json!(2))
    .set("policies.rate-limit.config", "count", json!(count))
    .set("policies.rate-limit.config", "key", json!(["auth.user_id"]))
    .set(
        "routes.ingest",
        "on_connect",
        json!(["auth", "rate-limit", "duplicate"]),
    )
    .set("routes.ingest", "on_close", json!(["rate-limit"]))
}

/// Streams nothing, and waits until the gateway has done with the connection.
fn stream(gateway: &Gateway, token: &str) -> Value {
    let mut client = Client::connect(Library::Websockets, gateway, &meeting("m1", "mic", token));
    client.handshake();
    let session = client.expect_ack();
    client.finalize(0, 0);
    gateway.connection_log(&session)
}

#[test]
fn rate_limit_counts_across_connections_and_for_each_user_alone() {
    let gateway = Gateway::start(&rate_limit("all"));
    for _ in 0..2 {
        stream(&gateway, &token::good());
    }
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
    let frame = client.expect_refusal_saying(4129, "too_many_attempts", "too many attempts");
    assert_eq!(frame["retry_after_ms"], 60_000);
    stream(&gateway, &token::of_user("somebody-else"));
}

#[test]
fn rate_limit_takes_back_what_got_as_far_as_to_stream() {
    let gateway = Gateway::start(&rate_limit("refused"));
    for _ in 0..4 {
        let entry = stream(&gateway, &token::good());
        // One word for the decision on the connection, one for having been told.
        let decisions = entry["decisions"].as_str().expect("decisions");
        assert_eq!(decisions.matches("rate-limit=accept").count(), 2, "{entry}");
    }
}

#[test]
fn a_client_with_ever_new_keys_leaves_counters_to_others() {
    let config = rate_limit("all")
        .set("policies.rate-limit", "max_counters", json!(16))
        .set(
            "policies.rate-limit.config",
            "key",
            json!(["param.meeting_id"]),
        );
    let gateway = Gateway::start(&config);
    let answer = |host: [u8; 4], number: usize| {
        let mut peer = Raw::connect_from(host.into(), gateway.address());
        let path = meeting(&format!("m{number}"), "mic", &token::good());
        peer.upgrade(&path);
        // A client that is refused already reads all the same.
        drop(peer.write(&raw::text(&handshake().to_string())));
        peer.message()
    };
    let mut answers = (0..16).map(|number| answer([127, 0, 0, 2], number));
    let refused = answers.find(|answer| answer["type"] == "error");
    assert_eq!(refused.expect("a refusal")["retryable"], true);
    let other = answer([127, 0, 0, 1], 16);
    assert_eq!(other["type"], "handshake-ack", "{other}");
}

fn watched(key: &str, value: &Value) -> Config {
    let name = "silence-or-too-fast";
    with_policy(Config::ingest(), name, &example(name), &["counters"])
        .set(&format!("policies.{name}.config"), key, value.clone())
        .set("routes.ingest", "on_frames", json!([name]))
        .limit("frames_window", "200ms")
}

fn streaming(gateway: &Gateway) -> (Client, String) {
    let path = meeting("m1", "mic", &token::good());
    let mut client = Client::connect(Library::Websockets, gateway, &path);
    client.handshake();
    let session = client.expect_ack();
    (client, session)
}

#[test]
fn a_stream_that_falls_silent_is_ended_with_the_policys_own_words() {
    let gateway = Gateway::start(&watched("silence", &json!("600ms")));
    let (mut client, session) = streaming(&gateway);
    client.send_audio(&[1; 6400]);
    let frame = client.expect_refusal_saying(4108, "silent", "no audio came for too long");
    assert_eq!(frame["retryable"], true);
    let entry = gateway.connection_log(&session);
    assert_eq!(entry["cause"], "denied");
    assert!(entry["windows"].as_u64() >= Some(3), "{entry}");
}

#[test]
fn a_stream_that_is_faster_than_speech_is_ended_and_what_came_is_kept() {
    let gateway = Gateway::start(&watched("burst", &json!(64_000)));
    let (mut client, _) = streaming(&gateway);
    // In one message: all of it comes in one window, however busy the machine is.
    client.binary(&[1; 200_000]);
    client.expect_refusal_saying(4109, "too_fast", "audio comes faster than it is spoken");
    let recorded = std::fs::metadata(gateway.recording())
        .expect("a recording")
        .len();
    assert_eq!(recorded, 200_000 + 44);
}

/// A route of this name that asks this policy behind `auth`.
fn asked(config: Config, name: &str, project: Project, grants: &[&str]) -> Config {
    let route = format!("routes.{name}");
    with_policy(config, name, &project.tested().component, grants)
        // Other tests run on the same processor.
        .set(&format!("policies.{name}"), "timeout", json!("60s"))
        .set(&route, "admission_timeout", json!("5min"))
        .set(&route, "paths", json!([format!("/{name}")]))
        .set(&route, "handshake", json!("none"))
        .set(&route, "on_connect", json!(["auth", name]))
        .set(&route, "upstream", json!("mirror"))
}

fn path(name: &str, token: &str) -> String {
    format!("/{name}?token={token}")
}

#[test]
fn office_hours_lets_in_while_it_is_open_and_says_when_it_opens() {
    // Closed on all days but one, which is half a week away.
    const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
    let today = token::now() / 86_400;
    let later = DAYS[usize::try_from((today + 3) % 7).expect("a day")];
    let mut config = Config::ingest();
    for (name, days) in [("open", json!(DAYS)), ("shut", json!([later]))] {
        let own = format!("policies.{name}.config");
        config = asked(config, name, Project::OfficeHours, &[])
            .set(&own, "opens", json!("00:00"))
            .set(&own, "closes", json!("24:00"))
            .set(&own, "days", days);
    }
    let gateway = serve(&config);
    let mut client = Client::connect(Library::Ws, &gateway, &path("open", &token::good()));
    client.echoes("let in");
    client.leave();
    client.open(&gateway, &path("shut", &token::good()), &[]);
    let said = format!("closed until {later} 00:00");
    let frame = client.expect_refusal_saying(4110, "closed", &said);
    assert_eq!(frame["retryable"], true);
    let wait = frame["retry_after_ms"].as_u64().expect("a time");
    assert!((2 * 86_400_000..=3 * 86_400_000).contains(&wait), "{frame}");
}

#[test]
fn tenant_quota_gives_places_back_and_counts_who_had_one() {
    let grants = ["counters", "sessions"];
    let config = asked(Config::ingest(), "quota", Project::TenantQuota, &grants)
        .set("policies.quota.config", "at_once", json!(1))
        .set("policies.quota.config", "total", json!(2));
    let gateway = serve(&config);
    let path = path("quota", &token::good());
    let mut first = Client::connect(Library::Websockets, &gateway, &path);
    first.echoes("first");
    let mut second = Client::connect(Library::Ws, &gateway, &path);
    let frame = second.expect_refusal_saying(4120, "too_many_sessions", "no more than 1 at once");
    assert_eq!(frame["retryable"], true);
    // A claim is released before the Close that its client sees.
    first.leave();
    second.open(&gateway, &path, &[]);
    second.echoes("second");
    second.leave();
    second.open(&gateway, &path, &[]);
    second.expect_refusal_saying(4121, "quota_used", "the quota of 2 is used");
    let other = token::sign(&token::claims_with(json!({"tenant_id": "t-2"})));
    second.open(&gateway, &self::path("quota", &other), &[]);
    second.echoes("another tenant");
}
