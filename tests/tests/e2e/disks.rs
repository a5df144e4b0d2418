//! Disks that hang, fill up or become read-only, and limits of the process.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::backend::{Backend, finalize, relaying};
use sluice_tests::client::{Client, Event, Library, handshake, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::machine::{
    Disk, Frozen, can_mount, leave_descriptors, limit_descriptors, seen_by, with_mounts,
};
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, HEADER, read_wav};
use sluice_tests::{eventually, token, with_both_clients};
use tungstenite::protocol::frame::coding::{Data, OpCode};

fn config() -> Config {
    Config::ingest().set("server", "admin_listen", json!("127.0.0.1:0"))
}

/// Everything that has nothing to do with a disk goes on.
fn goes_on(gateway: &Gateway, echo: &mut Client) {
    echo.text("still here");
    assert_eq!(echo.event(), Event::Text("still here".to_owned()));
    assert_eq!(gateway.admin("GET /livez").0, 200);
    let mut refused = Raw::connect(gateway.address());
    refused.upgrade(&meeting("m0", "mic", "nonsense"));
    assert_eq!(refused.message()["code"], "auth_failed");
}

/// A stream that could be resumed, and its first answer.
fn start(gateway: &Gateway, path: &str) -> (Raw, Value) {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(path);
    let mut handshake = handshake();
    handshake["features"] = json!(["ack", "resume"]);
    handshake.as_object_mut().unwrap().remove("source");
    peer.write(&raw::text(&handshake.to_string())).unwrap();
    let answer = peer.message();
    (peer, answer)
}

fn send(peer: &mut Raw, audio: &[u8]) {
    for chunk in audio.chunks(3200) {
        peer.send(OpCode::Data(Data::Binary), chunk);
    }
}

/// A gateway whose default recordings are on a disk of its own.
fn with_disk(config: &Config, disk: &Disk) -> Gateway {
    Gateway::start_as(config, |command| {
        with_mounts(&command, &disk.mounted_at("recordings"))
    })
}

#[test]
fn a_disk_that_hangs_under_parked_streams_stops_nobody_else() {
    let Some(disk) = Disk::new() else { return };
    let config = config()
        .limit("write_timeout", "3s")
        .limit("resume_grace", "100ms");
    let mut gateway = with_disk(&config, &disk);
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    let clip = speech::long_clip();
    // What comes after is more than is written at once, and less than is held in memory.
    let (before, after) = clip.pcm[..83_200].split_at(64_000);
    let name = |n: usize| meeting(&format!("m{n}"), "mic", &token::good());
    // More than there are workers.
    let streams = 12;
    let mut peers: Vec<_> = (0..streams)
        .map(|n| {
            let (mut peer, ack) = start(&gateway, &name(n));
            assert_eq!(ack["status"], "ready", "{ack}");
            send(&mut peer, before);
            loop {
                let message = peer.message();
                if message["bytes"] == before.len() {
                    return peer;
                }
            }
        })
        .collect();
    let recordings = seen_by(&gateway, &gateway.data().join("recordings"));
    let frozen = Frozen::freeze(&recordings);
    for peer in &mut peers {
        send(peer, after);
        // Answered once all of that was read: a reset takes back what was not.
        peer.send(OpCode::Data(Data::Text), br#"{"type":"ping"}"#);
        while peer.message()["type"] != "pong" {}
    }
    // They are parked, and given up while the disk still hangs.
    peers.into_iter().for_each(Raw::reset);
    eventually("the end of the streams", || {
        goes_on(&gateway, &mut echo);
        (gateway.metric("sluice_claims") == 0.0).then_some(())
    });
    let (_, refused) = start(&gateway, &name(0));
    assert_eq!(refused["code"], "upstream_unavailable", "{refused}");
    goes_on(&gateway, &mut echo);
    drop(frozen);
    // What was taken is there, once the disk takes it.
    for n in 0..streams {
        let folder = recordings.join(format!("t-1/m{n}"));
        eventually("a recording of all that was taken", || {
            let files = std::fs::read_dir(&folder).ok()?;
            let mut files = files.filter_map(|file| Some(file.ok()?.path()));
            let whole = files.any(|file| {
                let whole = HEADER + before.len() + after.len();
                file.metadata().is_ok_and(|it| it.len() as usize >= whole)
                    && clip.pcm.starts_with(&read_wav(&file).1)
            });
            whole.then_some(())
        });
    }
    assert_eq!(gateway.metric("sluice_worker_stalls_total"), 0.0);
    echo.close(1000, "");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_disk_that_hangs_under_very_many_streams_leaves_threads_for_all_else() {
    let Some(disk) = Disk::new() else { return };
    let config = Config::open()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("upstreams.recordings", "kind", json!("wav"))
        .set("upstreams.elsewhere", "kind", json!("wav"))
        .set("upstreams.elsewhere", "folder", json!("elsewhere"))
        .set("routes.ingest", "upstream", json!("recordings"))
        .set("routes.other", "paths", json!(["/other/{meeting_id}"]))
        .set("routes.other", "handshake", json!("ingest.v1"))
        .set("routes.other", "upstream", json!("elsewhere"));
    let backend = Backend::start(Library::Ws);
    let config = config
        .set("upstreams.near", "kind", json!("websocket"))
        // A name, so that it has to be resolved.
        .set(
            "upstreams.near",
            "url",
            json!(format!("ws://localhost:{}/", backend.address().port())),
        )
        .set("routes.near", "paths", json!(["/near"]))
        .set("routes.near", "handshake", json!("none"))
        .set("routes.near", "upstream", json!("near"));
    let gateway = with_disk(&config, &disk);
    let recordings = seen_by(&gateway, &gateway.data().join("recordings"));
    let frozen = Frozen::freeze(&recordings);
    // More than the threads that a runtime has for what blocks.
    let waiting: Vec<_> = (0..600)
        .map(|n| {
            let mut peer = Raw::connect(gateway.address());
            peer.upgrade(&format!("/ingest/m{n}"));
            peer.write(&raw::text(&handshake().to_string())).unwrap();
            peer
        })
        .collect();
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    echo.text("still here");
    assert_eq!(echo.event(), Event::Text("still here".to_owned()));
    assert_eq!(gateway.admin("GET /livez").0, 200);
    assert_eq!(gateway.admin("POST /reload").0, 200);
    let (_, answer) = start(&gateway, "/other/m1");
    assert_eq!(answer["status"], "ready", "{answer}");
    let mut near = Raw::connect(gateway.address());
    near.upgrade("/near");
    backend.event("open");
    for mut peer in waiting {
        let refused = peer.message();
        assert_eq!(refused["code"], "upstream_unavailable", "{refused}");
    }
    assert_eq!(gateway.metric("sluice_worker_stalls_total"), 0.0);
    drop(frozen);
}

#[test]
fn a_gateway_whose_disk_hangs_can_be_told_to_stop() {
    let Some(disk) = Disk::new() else { return };
    let config = config()
        .set("server", "drain_timeout", json!("1ms"))
        .set("decisions", "file", json!("recordings/decisions.jsonl"))
        .limit("write_timeout", "300ms");
    let gateway = with_disk(&config, &disk);
    let (mut peer, ack) = start(&gateway, &meeting("m1", "mic", &token::good()));
    assert_eq!(ack["status"], "ready", "{ack}");
    let frozen = Frozen::freeze(&seen_by(&gateway, &gateway.data().join("recordings")));
    send(&mut peer, &[1; 64_000]);
    gateway.signal(Signal::TERM);
    loop {
        let message = peer.message();
        if message["type"] == "error" {
            assert_eq!(message["code"], "draining", "{message}");
            break;
        }
    }
    let close = peer.frame().expect("a Close");
    assert_eq!(close.close().map(|(code, _)| code), Some(1001));
    // It is done: what is left of its process is the thread that the disk has.
    let stopped = gateway.output().find("the end", |line| {
        line.contains("\"message\":\"stopped\"").then_some(())
    });
    stopped.expect("it says so");
    drop(frozen);
}

/// The command, as a shell that first runs `script` has it.
fn after(command: &Command, script: &str) -> Command {
    let mut limited = command::quiet(Path::new("sh"), &["-ec"]);
    limited
        .arg(format!("{script}\nexec \"$0\" \"$@\""))
        .arg(command.get_program())
        .args(command.get_args());
    limited
}

with_both_clients! {
    fn a_recording_past_the_limit_of_file_sizes_ends_alone(library) {
        // 64 or 128 KiB, whichever size the shell counts blocks in.
        let mut gateway = Gateway::start_as(&config(), |command| after(&command, "ulimit -f 128"));
        let clip = speech::long_clip();
        let mut echo = Client::connect(library, &gateway, "/echo");
        let mut short = Client::connect(library, &gateway, &meeting("short", "mic", &token::good()));
        short.handshake();
        short.expect_ack();
        short.binary(&clip.pcm[..3200]);
        let mut long = Client::connect(library, &gateway, &meeting("long", "mic", &token::good()));
        long.handshake();
        long.expect_ack();
        long.stream(&clip, 3200);
        long.expect_refusal_saying(4006, "upstream_unavailable", "recording failed: file size limit reached");
        goes_on(&gateway, &mut echo);
        short.binary(&clip.pcm[3200..6400]);
        short.finalize(6400, 200);
        assert!(gateway.runs());
    }

    fn a_disk_that_is_full_ends_the_streams_that_it_has_no_room_for(library) {
        if !can_mount() {
            return;
        }
        let mount = "mkdir -p \"$DATA/recordings\"; mount -t tmpfs -o size=128k none \"$DATA/recordings\"";
        let config = config().set("upstreams.recordings", "min_free", json!("0B"));
        let gateway = Gateway::start_as(&config, |command| with_mounts(&command, mount));
        let clip = speech::long_clip();
        let mut echo = Client::connect(library, &gateway, "/echo");
        let mut client = Client::connect(library, &gateway, &meeting("m1", "mic", &token::good()));
        client.handshake();
        client.expect_ack();
        client.stream(&clip, 3200);
        client.expect_refusal_saying(4006, "upstream_unavailable", "recording failed: no space left on device");
        goes_on(&gateway, &mut echo);
        // There is no room for a newcomer's file either.
        let mut newcomer = Client::connect(library, &gateway, &meeting("m2", "mic", &token::good()));
        newcomer.handshake();
        newcomer.expect_refusal_saying(4006, "upstream_unavailable", "recording is not possible: no space left on device");
        goes_on(&gateway, &mut echo);
    }

    fn a_disk_that_is_nearly_full_begins_no_recording_and_goes_on_with_those_that_it_has(library) {
        if !can_mount() {
            return;
        }
        let folders = "for folder in recordings teed; do mkdir -p \"$DATA/$folder\"; \
                       mount -t tmpfs -o size=4m none \"$DATA/$folder\"; done";
        let backend = Backend::start(library);
        let config = config()
            .set("upstreams.recordings", "min_free", json!("2MiB"))
            .set("upstreams.teed", "kind", json!("websocket"))
            .set("upstreams.teed", "url", json!(format!("ws://{}/", backend.address())))
            .set("upstreams.teed", "tee", json!("wav"))
            .set("upstreams.teed", "folder", json!("teed"))
            .set("upstreams.teed", "min_free", json!("2MiB"))
            .set("routes.teed", "paths", json!(["/teed/{meeting_id}"]))
            .set("routes.teed", "handshake", json!("ingest.v1"))
            .set("routes.teed", "upstream", json!("teed"));
        let gateway = Gateway::start_as(&config, |command| with_mounts(&command, folders));
        let clip = speech::clip();
        for (upstream, name) in [
            ("recordings", (|n| meeting(n, "mic", &token::good())) as fn(&str) -> String),
            ("teed", |n| format!("/teed/{n}")),
        ] {
            let start = |n: &str| {
                let mut client = Client::connect(library, &gateway, &name(n));
                client.handshake();
                client
            };
            let free = || gateway.metric(&format!("sluice_disk_free_bytes{{upstream=\"{upstream}\"}}"));
            let mut live = start("m1");
            live.expect_ack();
            assert!(free() > f64::from(2 << 20), "{}", free());
            let filler = seen_by(&gateway, &gateway.data().join(upstream)).join("filler");
            std::fs::write(&filler, vec![0; 3 << 20]).unwrap();
            let mut newcomer = start("m2");
            if upstream == "teed" {
                // Nobody was promised its recording, and its backend is there.
                newcomer.expect_ack();
                assert_eq!(gateway.metric("sluice_tee_given_up_total{upstream=\"teed\",half=\"recording\"}"), 1.0);
            } else {
                newcomer.expect_refusal_saying(4006, "upstream_unavailable", "the recording cannot be begun now");
            }
            assert!(free() < f64::from(2 << 20), "{}", free());
            // The operator is told what the client is not.
            let said = gateway.output().find("why", |line| line.contains("`min_free` keeps 2097152").then_some(()));
            said.expect("it says why");
            live.send_audio(&clip.pcm);
            finalize(&mut live, clip.pcm.len());
            std::fs::remove_file(filler).unwrap();
            start("m3").expect_ack();
        }
    }

    fn a_disk_that_has_become_read_only_refuses_its_streams(library) {
        if !can_mount() {
            return;
        }
        let mount = "mkdir -p \"$DATA/recordings\"; mount -t tmpfs -o ro none \"$DATA/recordings\"";
        let gateway = Gateway::start_as(&config(), |command| with_mounts(&command, mount));
        let mut echo = Client::connect(library, &gateway, "/echo");
        let mut client = Client::connect(library, &gateway, &meeting("m1", "mic", &token::good()));
        client.handshake();
        client.expect_refusal_saying(4006, "upstream_unavailable", "recording is not possible: folder is not writable");
        goes_on(&gateway, &mut echo);
    }
}

#[test]
fn a_data_folder_that_is_read_only_serves_what_needs_none() {
    if !can_mount() {
        return;
    }
    let config = Config::open()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("decisions", "file", json!("decisions.jsonl"));
    let gateway = Gateway::start_as(&config, |command| {
        with_mounts(
            &command,
            "mkdir -p \"$DATA\"; mount -t tmpfs -o ro none \"$DATA\"",
        )
    });
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    echo.text("still here");
    assert_eq!(echo.event(), Event::Text("still here".to_owned()));
    let said = gateway.output().find("what is missing", |line| {
        line.contains("the data folder cannot be locked")
            .then_some(())
    });
    said.expect("the gateway runs");
}

#[test]
fn descriptors_that_run_out_refuse_a_recording_and_end_nothing_else() {
    let gateway = Gateway::start(&config());
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    let open = |name: &str| {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade(&meeting(name, "mic", &token::good()));
        peer.write(&raw::text(&handshake().to_string())).unwrap();
        peer.message()
    };
    // There is one for the socket of a newcomer, and none for its file.
    leave_descriptors(&gateway, 1);
    let refused = open("m1");
    assert_eq!(
        refused["message"], "recording is not possible: too many open files",
        "{refused}"
    );
    echo.text("still here");
    assert_eq!(echo.event(), Event::Text("still here".to_owned()));
    limit_descriptors(&gateway, "1024");
    assert_eq!(open("m2")["status"], "ready");
}

#[test]
fn descriptors_that_run_out_are_no_failure_of_the_backend() {
    let backend = Backend::start(Library::Ws);
    for url in ["127.0.0.1", "localhost"] {
        let port = backend.address().port();
        let config = relaying(backend.address())
            .set(
                "upstreams.recordings",
                "url",
                json!(format!("ws://{url}:{port}/")),
            )
            .set("upstreams.recordings", "warm_connections", json!(0))
            .set("upstreams.recordings", "rest_after", json!(1))
            .set("upstreams.recordings", "rest", json!("1h"));
        let gateway = Gateway::start(&config);
        let open = |name: &str| start(&gateway, &meeting(name, "mic", &token::good()));
        // All that comes with the first stream is open.
        let (_first, answer) = open("m0");
        assert_eq!(answer["status"], "ready", "{answer}");
        leave_descriptors(&gateway, 1);
        let (_, refused) = open("m1");
        assert_eq!(refused["code"], "upstream_unavailable", "{refused}");
        limit_descriptors(&gateway, "1024");
        let (_, answer) = open("m2");
        assert_eq!(answer["status"], "ready", "{answer}");
    }
}

#[test]
fn audio_that_is_held_waits_for_no_disk_that_hangs() {
    let Some(disk) = Disk::new() else { return };
    let mut backend = Backend::start(Library::Ws);
    let config = relaying(backend.address())
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("upstreams.recordings", "on_loss", json!("hold"))
        .set("upstreams.recordings", "replay", json!("at-least-once"))
        .set("upstreams.recordings", "hold_memory", json!("64KiB"))
        .set("upstreams.recordings", "hold_file", json!("16MiB"))
        .set("upstreams.recordings", "hold_timeout", json!("4s"))
        .limit("write_timeout", "300ms");
    let gateway = Gateway::start_as(&config, |command| {
        with_mounts(&command, &disk.mounted_at("held"))
    });
    let mut echo = Client::connect(Library::Websockets, &gateway, "/echo");
    // More than there are workers, each with a file that has begun.
    let mut peers: Vec<_> = (0..6)
        .map(|n| {
            let mut peer = Raw::connect(gateway.address());
            let name = meeting(&format!("m{n}"), "mic", &token::good());
            peer.upgrade(&format!("{name}&do="));
            peer.write(&raw::text(&handshake().to_string())).unwrap();
            assert_eq!(peer.message()["status"], "ready");
            peer
        })
        .collect();
    backend.kill();
    for peer in &mut peers {
        send(peer, &[1; 96_000]);
    }
    let frozen = Frozen::freeze(&seen_by(&gateway, &gateway.data().join("held")));
    for peer in &mut peers {
        send(peer, &[2; 96_000]);
    }
    // They are given up, and their files let go of, while the disk hangs.
    for peer in &mut peers {
        loop {
            let message = peer.message();
            if message["type"] == "error" {
                assert_eq!(message["code"], "upstream_unavailable", "{message}");
                break;
            }
        }
        goes_on(&gateway, &mut echo);
    }
    drop(peers);
    goes_on(&gateway, &mut echo);
    assert_eq!(gateway.metric("sluice_worker_stalls_total"), 0.0);
    drop(frozen);
}
