//! What becomes of recordings when something goes wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, HEADER, read_wav};
use sluice_tests::{eventually, token, with_both_clients};

/// Bytes of a second of 16 kHz mono 16-bit audio.
const SECOND: usize = 32_000;

fn mic() -> String {
    meeting("m1", "mic", &token::good())
}

fn start(library: Library, gateway: &Gateway, path: &str) -> Client {
    let mut client = Client::connect(library, gateway, path);
    client.handshake();
    client.expect_ack();
    client
}

#[test]
fn a_recording_is_named_so_that_a_person_finds_it() {
    let gateway = Gateway::start(&Config::ingest());
    let mut client = start(
        Library::Ws,
        &gateway,
        &meeting("weekly-sync", "mic", &token::good()),
    );
    client.binary(&[0; 3200]);
    client.finalize(3200, 100);
    let path = gateway.recording();
    let path = path.strip_prefix(gateway.data()).unwrap().to_string_lossy();
    for part in ["weekly-sync", "mic", "20"] {
        assert!(path.contains(part), "{part} in {path}");
    }
}

#[test]
fn a_gateway_that_is_killed_leaves_a_recording_that_lacks_a_second_at_most() {
    let mut gateway = Gateway::start(&Config::ingest());
    let clip = speech::long_clip();
    let (early, rest) = clip.pcm.split_at(3 * SECOND);
    let late = &rest[..SECOND * 9 / 10];
    let mut client = start(Library::Websockets, &gateway, &mic());
    client.send_audio(early);
    // With no more audio coming, it is written out by itself.
    eventually("three seconds in the file", || {
        let on_disk = gateway.recordings().first()?.metadata().ok()?.len();
        (on_disk as usize >= HEADER + early.len()).then_some(())
    });
    client.send_audio(late);
    gateway.kill();
    let (spec, pcm) = read_wav(&gateway.recording());
    assert_eq!(
        (spec.channels, spec.sample_rate, spec.bits_per_sample),
        (1, 16_000, 16)
    );
    assert!(clip.pcm.starts_with(&pcm), "what is there is what was sent");
    assert!(
        pcm.len() + SECOND >= early.len() + late.len(),
        "{} bytes are lost",
        early.len() + late.len() - pcm.len()
    );
}

#[test]
fn a_recording_opens_at_every_moment() {
    let gateway = Gateway::start(&Config::ingest());
    let clip = speech::long_clip();
    let mut client = start(Library::Ws, &gateway, &mic());
    // What a reader sees now is what a crash now would leave.
    let mut lengths = std::collections::BTreeSet::new();
    for chunk in clip.pcm.chunks(6400) {
        client.send_audio(chunk);
        for path in gateway.recordings() {
            let (_, pcm) = read_wav(&path);
            assert!(clip.pcm.starts_with(&pcm));
            lengths.insert(pcm.len());
        }
    }
    client.finalize(clip.pcm.len(), clip.pcm.len() / 32);
    assert!(lengths.len() > 2, "it was read while it grew: {lengths:?}");
    assert_eq!(read_wav(&gateway.recording()).1, clip.pcm);
}

with_both_clients! {
    fn a_client_that_vanishes_leaves_all_that_it_sent(library) {
        let gateway = Gateway::start(&Config::ingest());
        let clip = speech::clip();
        let mut client = start(library, &gateway, &mic());
        client.send_audio(&clip.pcm);
        client.vanish();
        eventually("the whole recording", || (read_wav(gateway.recordings().first()?).1 == clip.pcm).then_some(()));
    }

    fn a_folder_that_cannot_be_written_refuses_the_stream(library) {
        let gateway = Gateway::start(&Config::ingest());
        // Root may write anywhere, but not into a folder that is a file.
        let folder = gateway.data().join("recordings");
        eventually("the folder", || folder.is_dir().then_some(()));
        std::fs::rename(&folder, gateway.data().join("moved")).unwrap();
        std::fs::write(&folder, "in the way").unwrap();
        let mut client = Client::connect(library, &gateway, &mic());
        client.handshake();
        let frame = client.expect_refusal(4006, "upstream_unavailable");
        assert_eq!(frame["retryable"], true);
        let message = frame["message"].as_str().unwrap();
        assert!(!message.contains('/'), "no path is told to a client: {message}");
        // The claim is given back: the next attempt is told the same.
        let mut again = Client::connect(library, &gateway, &mic());
        again.handshake();
        again.expect_refusal(4006, "upstream_unavailable");
    }

    fn a_disk_that_fills_up_ends_the_stream_and_keeps_what_it_holds(library) {
        // A limit on the size of files stands in for a full disk: 64 or 128
        // blocks, whichever size the shell counts in.
        let gateway = Gateway::start_as(&Config::ingest(), |command| {
            let mut limited = Command::new("sh");
            limited.args(["-c", "ulimit -f 128; exec \"$0\" \"$@\""]);
            limited.arg(command.get_program()).args(command.get_args());
            limited.stdin(std::process::Stdio::null());
            limited.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
            limited
        });
        let clip = speech::long_clip();
        assert!(clip.pcm.len() > 128 * 1024);
        let mut client = start(library, &gateway, &mic());
        client.stream(&clip, 3200);
        let frame = client.expect_refusal(4006, "upstream_unavailable");
        assert_eq!(frame["retryable"], true);
        let (_, pcm) = read_wav(&gateway.recording());
        assert!(clip.pcm.starts_with(&pcm));
        assert!(pcm.len() > SECOND, "only {} bytes were kept", pcm.len());
    }
}

/// Streams a little audio to a path as it is, and returns the first answer.
fn stream_raw(gateway: &Gateway, path: &str) -> Value {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(path);
    peer.write(&raw::text(&handshake().to_string())).unwrap();
    peer.write(&raw::binary(&[7; 3200])).unwrap();
    peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    let first = serde_json::from_slice(&peer.frame().expect("an answer").payload).unwrap();
    while peer.frame().is_some_and(|frame| frame.close().is_none()) {}
    first
}

fn everything_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_under(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn a_meeting_id_cannot_leave_the_folder() {
    let gateway = Gateway::start(&Config::ingest());
    let token = token::good();
    let before = everything_under(gateway.folder());
    let long = "m".repeat(2000);
    let ids = [
        "..%2f..%2fescape",
        "..%2F..%2F..%2Fescape",
        "%2e%2e",
        "..",
        ".",
        "%2e%2e%2f",
        "..%5c..%5cescape",
        "%2fescape",
        "%2ftmp%2fescape",
        "a%00b",
        "%0a",
        "-rf",
        "~",
        "CON",
        "a%2fb",
        "%e2%80%ae",
        "%c3%a7",
        "%20",
        &long,
    ];
    for id in ids {
        let answer = stream_raw(&gateway, &format!("/ws/ingest/meetings/{id}?token={token}"));
        assert!(
            answer["status"] == "ready" || answer["type"] == "error",
            "{id}: {answer}"
        );
    }
    let recordings = gateway.data().join("recordings");
    for path in everything_under(gateway.folder()) {
        // The gateway replaces the first whenever its sessions change, and makes the other once it
        // listens.
        let is_of_the_run = path.starts_with(gateway.data().join("gateway.running"))
            || path.ends_with("gateway.running.new")
            || path == gateway.data().join("handover.sock");
        assert!(
            is_of_the_run || path.starts_with(&recordings) || before.contains(&path),
            "{} got out",
            path.display()
        );
    }
    for path in gateway.recordings() {
        assert!(
            path.canonicalize()
                .unwrap()
                .starts_with(recordings.canonicalize().unwrap()),
            "{}",
            path.display()
        );
    }
    let parent = gateway.folder().parent().unwrap();
    assert!(!parent.join("escape").exists() && !Path::new("/escape").exists());
    assert!(
        gateway.recordings().len() >= 10,
        "harmless is not the same as refused: {:?}",
        gateway.recordings()
    );
}

#[test]
fn two_names_that_look_alike_on_disk_stay_two_recordings() {
    let gateway = Gateway::start(&Config::ingest());
    for id in ["a%2fb", "a_b", "a-b", "A-B", "a%5cb", "a:b"] {
        let answer = stream_raw(
            &gateway,
            &format!("/ws/ingest/meetings/{id}?token={}", token::good()),
        );
        assert_eq!(answer["status"], "ready", "{id}");
    }
    assert_eq!(gateway.recordings().len(), 6);
}
