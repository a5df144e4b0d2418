//! The backend that the gateway will mostly stand in front of: an app of
//! FastAPI, served by uvicorn.

use std::path::Path;

use serde_json::{Value, json};
use sluice_tests::backend::{Backend, finalize, path, relaying, sha256};
use sluice_tests::client::{Client, Library};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::{speech, token};

/// A gateway whose streams go where the client's `do` says.
fn before(backend: &Backend, change: impl FnOnce(Config) -> Config) -> Gateway {
    let url = format!(
        "ws://{}/{{query.do}}/{{param.meeting_id}}",
        backend.address()
    );
    let config = relaying(backend.address())
        .set("upstreams.recordings", "url", json!(url))
        .set("upstreams.recordings", "receipts", json!("confirmed"))
        .set("upstreams.recordings", "attributes", json!(["auth.email"]));
    Gateway::start(&change(config))
}

fn connect(gateway: &Gateway, to: &str) -> Client {
    let mut client = Client::connect(Library::Ws, gateway, &path(to));
    client.handshake();
    client
}

fn start(gateway: &Gateway, to: &str) -> Client {
    let mut client = connect(gateway, to);
    client.expect_ack();
    client
}

/// Finalizes a stream, and gives how far each of its transcripts reached, once
/// it has ended well.
fn transcripts(client: &mut Client, bytes: usize) -> Vec<u64> {
    let said = finalize(client, bytes).into_iter();
    let transcripts = said.filter(|message| message["text"] != "the last words");
    transcripts
        .map(|message| message["bytes"].as_u64().expect("a transcript"))
        .collect()
}

#[test]
fn speech_arrives_and_what_the_app_says_comes_down_in_order() {
    let store = tempfile::tempdir().unwrap();
    let backend = Backend::uvicorn(0, store.path());
    let gateway = before(&backend, |config| config);
    let clip = speech::long_clip();
    let mut client = start(&gateway, "take");
    client.stream(&clip, 3200);
    let reached = transcripts(&mut client, clip.pcm.len());
    let ends = clip.pcm.chunks(3200).scan(0, |end, chunk| {
        *end += chunk.len() as u64;
        Some(*end)
    });
    assert_eq!(reached, ends.collect::<Vec<_>>());
    let end = backend.whole();
    assert_eq!(
        (&end["sha256"], &end["bytes"], &end["reason"]),
        (
            &json!(sha256(&clip.pcm)),
            &json!(clip.pcm.len()),
            &json!("finalized")
        )
    );
}

#[test]
fn the_app_learns_who_the_client_is() {
    let store = tempfile::tempdir().unwrap();
    let backend = Backend::uvicorn(0, store.path());
    let gateway = before(&backend, |config| config);
    let mut client = Client::idle(Library::Ws);
    client.open(&gateway, &path("take"), &[("x-sluice-user", "forged")]);
    client.handshake();
    let session = client.expect_ack();
    let open = backend.event("open");
    let claims = token::claims();
    for (name, expected) in [
        ("x-sluice-session", &json!(session)),
        ("x-sluice-user", &claims["user_id"]),
        ("x-sluice-tenant", &claims["tenant_id"]),
        ("x-sluice-auth-email", &claims["email"]),
        ("authorization", &Value::Null),
    ] {
        assert_eq!(&open["headers"][name], expected, "{name}");
    }
    assert_eq!(open["path"], "/take/m1");
}

#[test]
fn an_app_that_closes_before_it_accepts_refuses_the_stream() {
    let store = tempfile::tempdir().unwrap();
    let backend = Backend::uvicorn(0, store.path());
    let gateway = before(&backend, |config| config);
    // In its own words, and where it has no such path.
    for to in ["refuse", "nowhere"] {
        let mut client = connect(&gateway, to);
        let message = "the upstream does not take streams";
        let frame = client.expect_refusal_saying(4006, "upstream_unavailable", message);
        assert_eq!(frame["retryable"], true);
    }
    let told =
        |line: &str| (line.contains("connection ended") && line.contains("HTTP 403")).then_some(());
    gateway
        .output()
        .find("the status in the log", told)
        .expect("a log entry");
}

#[test]
fn an_app_that_closes_in_the_middle_is_passed_on_or_translated() {
    let store = tempfile::tempdir().unwrap();
    let backend = Backend::uvicorn(0, store.path());
    let gateway = before(&backend, |config| config);
    for code in [1000, 3001, 4321] {
        let mut client = start(&gateway, &format!("close-{code}"));
        client.binary(&[0; 640]);
        client.expect_close(code, "enough");
    }
    // `break` is an app that has a bug: uvicorn ends its connection with no Close.
    for (to, message) in [
        ("close-1011", "the upstream closed the stream"),
        ("close-1013", "the upstream closed the stream"),
        ("break", "the upstream was lost"),
    ] {
        let mut client = start(&gateway, to);
        client.binary(&[0; 640]);
        let frame = client.expect_refusal_saying(4006, "upstream_unavailable", message);
        assert_eq!(frame["retryable"], true, "{to}");
    }
}

/// A held stream whose backend ends in the middle, and starts again on its port
/// while the client goes on.
fn restarts(end_it: impl FnOnce(Backend), store: &Path) {
    let backend = Backend::uvicorn(0, store);
    let port = backend.address().port();
    let gateway = before(&backend, |config| {
        config.set("upstreams.recordings", "on_loss", json!("hold"))
    });
    let clip = speech::long_clip();
    let (first, second) = clip.pcm.split_at(clip.pcm.len() / 2);
    let mut client = start(&gateway, "take");
    client.audio(first);
    // Some of it was taken, and more is on its way.
    assert_eq!(
        client.message(),
        json!({"type": "transcript", "bytes": 3200})
    );
    end_it(backend);
    client.audio(second);
    let again = Backend::uvicorn(port, store);
    transcripts(&mut client, clip.pcm.len());
    let end = again.whole();
    assert_eq!(
        (&end["sha256"], &end["bytes"]),
        (&json!(sha256(&clip.pcm)), &json!(clip.pcm.len()))
    );
}

#[test]
fn a_held_stream_loses_nothing_when_uvicorn_is_killed_and_starts_again() {
    let store = tempfile::tempdir().unwrap();
    restarts(|mut backend| backend.kill(), store.path());
}

#[test]
fn or_when_it_is_restarted_as_for_a_new_version() {
    let store = tempfile::tempdir().unwrap();
    restarts(Backend::terminate, store.path());
}
