//! The examples of policies in Rust, in the real gateway.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::guest::{example, with_policy};
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
    gateway.story(&session)
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
        let story = stream(&gateway, &token::good());
        // One word for the decision on the connection, one for having been told.
        let decisions = story["decisions"].as_str().expect("decisions");
        assert_eq!(decisions.matches("rate-limit=accept").count(), 2, "{story}");
    }
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
    let story = gateway.story(&session);
    assert_eq!(story["cause"], "denied");
    assert!(story["windows"].as_u64() >= Some(3), "{story}");
}

#[test]
fn a_stream_that_is_faster_than_speech_is_ended_and_what_came_is_kept() {
    let gateway = Gateway::start(&watched("burst", &json!(64_000)));
    let (mut client, _) = streaming(&gateway);
    client.send_audio(&[1; 320_000]);
    client.expect_refusal_saying(4109, "too_fast", "audio comes faster than it is spoken");
    let recorded = std::fs::metadata(gateway.recording())
        .expect("a recording")
        .len();
    assert_eq!(recorded, 320_000 + 44);
}
