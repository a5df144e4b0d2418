//! Streams that outlive their connections: by `sluice stream`, and by a client
//! in another language that was written from the protocol's text alone.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use sluice_tests::client::meeting;
use sluice_tests::command::{self, Done, run};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::proxy::{Fault, Proxy};
use sluice_tests::speech::{self, read_wav};
use sluice_tests::token;
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

/// More than the handshake and what is acknowledged at once, so that every
/// connection gets somewhere; the longest clip takes several.
const CUT: usize = 48 * 1024;

/// A gateway, and a way to it that breaks again and again.
fn behind_cuts() -> (Gateway, Proxy) {
    let gateway = Gateway::start(&Config::ingest());
    let proxy = Proxy::start(gateway.address());
    proxy.set(Fault::CutEach(CUT));
    (gateway, proxy)
}

fn url(proxy: &Proxy) -> String {
    format!("ws://{}/ws/ingest/meetings/m1?source=mic", proxy.address())
}

fn stream(file: &Path, url: &str, more: &[&str]) -> Done {
    let mut command = command::sluice(&["stream", "--url", url]);
    run(command
        .arg(file)
        .args(more)
        .env("SLUICE_TOKEN", token::good()))
}

#[test]
fn a_recording_arrives_whole_over_connections_that_are_cut() {
    let (gateway, proxy) = behind_cuts();
    let clip = speech::long_clip();
    let done = stream(&clip.path, &url(&proxy), &["--fast"]);
    assert_eq!(done.status, Some(0), "{done:?}");
    let cuts = clip.pcm.len() / CUT;
    let resumed = done.stderr.matches("the stream goes on from byte").count();
    assert!(cuts >= 3 && resumed >= cuts, "{cuts} cuts: {done:?}");
    let finalized = format!("finalized: {} bytes", clip.pcm.len());
    assert!(done.stdout.contains(&finalized), "{done:?}");
    let (_, pcm) = read_wav(&gateway.recording());
    assert!(pcm == clip.pcm, "{} of {} bytes", pcm.len(), clip.pcm.len());
    // What leads back is nobody's business: 43 characters, as a word.
    let words = done
        .stderr
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    assert!(words.into_iter().all(|word| word.len() != 43), "{done:?}");
}

#[test]
fn a_recording_that_may_not_be_resumed_ends_with_its_connection() {
    let (gateway, proxy) = behind_cuts();
    let clip = speech::long_clip();
    let done = stream(&clip.path, &url(&proxy), &["--fast", "--plain"]);
    assert_eq!(done.status, Some(4), "{done:?}");
    gateway.output().find("the end of the stream", |line| {
        line.contains("connection ended").then_some(())
    });
    let (_, pcm) = read_wav(&gateway.recording());
    assert!(clip.pcm.starts_with(&pcm) && pcm.len() < clip.pcm.len());
}

#[test]
fn what_a_gateway_gave_up_is_in_two_recordings_without_a_gap() {
    // It does not wait for its clients, so that there is nothing to resume.
    let gateway = Gateway::start(&Config::ingest().limit("resume_grace", "0s"));
    let proxy = Proxy::start(gateway.address());
    let clip = speech::long_clip();
    // Once, in the middle. At the speed of speech, so that it is told what is safe by then.
    proxy.set(Fault::CutEach(clip.pcm.len() / 2 + 8_000));
    let done = stream(&clip.path, &url(&proxy), &[]);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(
        done.stderr.contains("a new stream begins at byte"),
        "{done:?}"
    );
    // By the time of their making.
    let recordings = gateway.recordings();
    let [earlier, later] = &recordings[..] else {
        panic!("{recordings:?}")
    };
    let (earlier, later) = (read_wav(earlier).1, read_wav(later).1);
    assert!(clip.pcm.starts_with(&earlier) && clip.pcm.ends_with(&later));
    assert!(earlier.len() + later.len() >= clip.pcm.len());
    assert!(!later.is_empty() && later.len() < clip.pcm.len());
}

/// What was sent and is not acknowledged cannot be had from the other program
/// again.
#[test]
fn what_comes_by_a_pipe_arrives_whole_over_connections_that_are_cut() {
    let (gateway, proxy) = behind_cuts();
    let clip = speech::long_clip();
    let file = std::fs::File::open(&clip.path).unwrap();
    let mut cat = Command::new("cat")
        .stdin(file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut command = command::sluice(&["stream", "-", "--fast", "--url", &url(&proxy)]);
    command
        .env("SLUICE_TOKEN", token::good())
        .stdin(cat.stdout.take().unwrap());
    let done = run(&mut command);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(cat.wait().unwrap().success());
    let resumed = done.stderr.matches("the stream goes on from byte").count();
    assert!(resumed >= 3, "{done:?}");
    assert!(read_wav(&gateway.recording()).1 == clip.pcm);
}

#[test]
fn a_refusal_that_may_pass_is_tried_again_until_patience_ends() {
    let gateway = Gateway::start(&Config::ingest());
    let url = gateway.url("/ws/ingest/meetings/m1?source=mic");
    let (library, path) = (
        sluice_tests::client::Library::Ws,
        meeting("m1", "mic", &token::of_user("u-2")),
    );
    let mut active = sluice_tests::client::Client::connect(library, &gateway, &path);
    active.handshake();
    active.expect_ack();
    let clip = speech::clip();
    let done = stream(&clip.path, &url, &["--retry-for", "1s"]);
    assert_eq!(done.status, Some(3), "{done:?}");
    for part in [
        "4002 Ingest already active; trying again in",
        "ingest_exists",
    ] {
        assert!(done.stderr.contains(part), "{part} in {done:?}");
    }
    assert_eq!(
        stream(&clip.path, &url, &["--retry-for", "0s"]).status,
        Some(3)
    );
}

#[test]
fn what_the_gateway_says_of_its_upstream_is_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let gateway = thread::spawn(move || {
        let mut socket = tungstenite::accept(listener.accept().unwrap().0).unwrap();
        let mut say = |message: Value| socket.send(Message::text(message.to_string())).unwrap();
        say(json!({"type": "handshake-ack", "ok": true, "status": "ready", "session_id": "s"}));
        for status in ["upstream_lost", "upstream_restored"] {
            say(json!({"type": "status", "status": status}));
        }
        say(json!({"type": "status", "status": "finalized", "bytes": 0, "duration_ms": 0}));
        let code = 1000.into();
        let reason = "finalized".into();
        socket.close(Some(CloseFrame { code, reason })).unwrap();
        while socket.read().is_ok() {}
    });
    let done = stream(
        &speech::clip().path,
        &format!("ws://{address}/m"),
        &["--fast"],
    );
    assert_eq!(done.status, Some(0), "{done:?}");
    let lost = done
        .stderr
        .find("upstream is not there")
        .expect(&done.stderr);
    let restored = done
        .stderr
        .find("upstream is there again")
        .expect(&done.stderr);
    assert!(lost < restored, "{done:?}");
    gateway.join().unwrap();
}

#[test]
fn a_client_in_another_language_survives_its_connections_too() {
    let (gateway, proxy) = behind_cuts();
    let clip = speech::long_clip();
    let tests = command::root().join("tests");
    let mut python = Command::new(tests.join(".venv/bin/python"));
    python
        .arg(tests.join("clients/resume.py"))
        .arg(&clip.path)
        .args([&url(&proxy), &token::good()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let done = run(&mut python);
    assert_eq!(done.status, Some(0), "{done:?}");
    let events: Vec<Value> = done
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let resumed = events
        .iter()
        .filter(|event| event["resumed"] == true)
        .count();
    assert!(resumed >= clip.pcm.len() / CUT, "{done:?}");
    let end = events.last().unwrap();
    assert_eq!(
        (&end["event"], &end["bytes"], &end["code"]),
        (&json!("finalized"), &json!(clip.pcm.len()), &json!(1000))
    );
    let (_, pcm) = read_wav(&gateway.recording());
    assert!(pcm == clip.pcm, "{} of {} bytes", pcm.len(), clip.pcm.len());
}
