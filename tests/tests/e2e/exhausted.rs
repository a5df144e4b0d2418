//! What runs out under what is already running: descriptors, a quota, a disk that is read-only from
//! one moment to the next.

use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::backend::{Backend, relaying};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::machine::{
    Disk, FailingWrites, leave_descriptors, limit_descriptors, with_mounts,
};
use sluice_tests::proxy::{Fault, Proxy};
use sluice_tests::raw::{self, Raw};
use sluice_tests::{eventually, token, with_both_clients};
use tungstenite::protocol::frame::coding::{Data, OpCode};

const GUEST: &str = include_str!("../../guests/connect.wat");
/// Bytes of audio that are sent at a time.
const CHUNK: usize = 3200;

/// The main job, and recordings of another folder under `/elsewhere`.
fn config() -> Config {
    Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("upstreams.elsewhere", "kind", json!("wav"))
        .set("upstreams.elsewhere", "folder", json!("elsewhere"))
        .set(
            "routes.elsewhere",
            "paths",
            json!(["/elsewhere/{meeting_id}"]),
        )
        .set("routes.elsewhere", "handshake", json!("ingest.v1"))
        .set("routes.elsewhere", "upstream", json!("elsewhere"))
}

fn streaming(library: Library, gateway: &Gateway, path: &str) -> Client {
    let mut client = Client::connect(library, gateway, path);
    client.handshake();
    client.expect_ack();
    client.binary(&[1; CHUNK]);
    client
}

/// How often the log has this text.
fn lines_with(gateway: &Gateway, text: &str) -> Vec<String> {
    let mut lines = gateway.output().lines();
    lines.retain(|line| line.contains(text));
    lines
}

/// A stream that is recorded where the fault is ends with `failed`, a newcomer is refused with
/// `refused`, and everything else goes on.
fn ends_alone(library: Library, gateway: &Gateway, begin: impl FnOnce(), failed: &str) {
    let path = meeting("m1", "mic", &token::good());
    let mut echo = Client::connect(library, gateway, "/echo");
    let mut elsewhere = streaming(library, gateway, "/elsewhere/m2");
    let mut stream = streaming(library, gateway, &path);
    begin();
    // As much as is written at once, and more; and all of it is to be made safe.
    stream.binary(&[2; 128_000]);
    stream.json(&json!({"type": "finalize"}));
    stream.expect_refusal_saying(
        4006,
        "upstream_unavailable",
        &format!("recording failed: {failed}"),
    );
    elsewhere.binary(&[1; CHUNK]);
    elsewhere.finalize(2 * CHUNK, 200);
    echo.echoes("still here");
    assert_eq!(gateway.admin("GET /livez").0, 200);
    assert_eq!(gateway.metric("sluice_worker_stalls_total"), 0.0);
    // Its session ends in one line, which has the path and the reason.
    let ends = lines_with(gateway, "connection ended");
    let ends = ends.iter().filter(|line| line.contains("cannot write"));
    assert_eq!(ends.count(), 1);
}

with_both_clients! {
    fn a_quota_that_is_used_up_ends_the_stream_that_it_has_no_room_for(library) {
        // Some file systems say so of a write, others when it is to be made safe.
        for step in ["write", "sync"] {
            let faults = FailingWrites::below("/recordings/");
            let gateway = Gateway::start_as(&config(), |command| faults.within(command));
            let begin = || faults.begin(step, rustix::io::Errno::DQUOT);
            ends_alone(library, &gateway, begin, "disk quota exceeded");
            faults.end();
            let path = meeting("m3", "mic", &token::good());
            streaming(library, &gateway, &path).finalize(CHUNK, 100);
        }
    }

    fn a_disk_that_becomes_read_only_under_a_recording_ends_it_alone(library) {
        let Some(disk) = Disk::new() else { return };
        let gateway = Gateway::start_as(&config(), |command| {
            with_mounts(&command, &disk.mounted_at("recordings"))
        });
        let begin = || {
            let mut remount = Command::new("nsenter");
            remount.arg(format!("--mount=/proc/{}/ns/mnt", gateway.id()));
            // As the kernel does itself after an error: files that are open are no reason not to.
            remount.args(["mount", "-o", "remount,abort"]);
            let done = remount.arg(gateway.data().join("recordings")).output();
            let done = done.expect("nsenter runs");
            assert!(done.status.success(), "{done:?}");
        };
        ends_alone(library, &gateway, begin, "folder is not writable");
        let mut newcomer = Client::connect(library, &gateway, &meeting("m3", "mic", &token::good()));
        newcomer.handshake();
        let refused = "recording is not possible: folder is not writable";
        newcomer.expect_refusal_saying(4006, "upstream_unavailable", refused);
    }
}

#[test]
fn without_a_descriptor_for_its_file_a_held_stream_has_what_memory_holds_and_loses_nothing() {
    const AUDIO: usize = 400_000;
    let backend = Backend::start(Library::Ws);
    let way = Proxy::start(backend.address());
    let config = relaying(way.address())
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("upstreams.recordings", "on_loss", json!("hold"))
        .set("upstreams.recordings", "replay", json!("at-least-once"))
        .set("upstreams.recordings", "hold_memory", json!("64KiB"))
        .set("upstreams.recordings", "hold_file", json!("16MiB"))
        .set("upstreams.recordings", "hold_timeout", json!("30min"))
        .limit("write_timeout", "30min");
    let gateway = Gateway::start(&config);
    let mut echo = Client::connect(Library::Websockets, &gateway, "/echo");
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&sluice_tests::backend::path(""));
    peer.write(&raw::text(&handshake().to_string())).unwrap();
    assert_eq!(peer.message()["status"], "ready");
    way.set(Fault::Cut);
    peer.send(OpCode::Data(Data::Binary), &[1; CHUNK]);
    assert_eq!(peer.message()["status"], "upstream_lost");
    leave_descriptors(&gateway, 0);
    // It is held back when memory is full: that takes another thread to see.
    let mut writer = peer.writer();
    let sending = std::thread::spawn(move || {
        use std::io::Write as _;
        let rest = raw::binary(&[1; CHUNK]).repeat(AUDIO / CHUNK - 1);
        writer.write_all(&rest).expect("it is taken in the end");
    });
    let cannot = "held audio cannot be written to a file";
    let said = gateway.output().find("that there is no file", |line| {
        let why = line.contains("Too many open files");
        (line.contains(cannot) && why).then_some(())
    });
    said.expect("the gateway runs");
    echo.echoes("still here");
    limit_descriptors(&gateway, "1024");
    way.set(Fault::None);
    sending.join().expect("all was sent");
    peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    let finalized = loop {
        let message = peer.message();
        if message["status"] == "finalized" {
            break message;
        }
    };
    assert_eq!(finalized["bytes"], AUDIO);
    assert_eq!(backend.whole()["bytes"], AUDIO);
    assert_eq!(lines_with(&gateway, cannot).len(), 1);
}

#[test]
fn without_a_descriptor_for_the_record_decisions_are_made_and_that_is_said_once() {
    let config = Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("routes.ingest", "upstream", json!("nowhere"));
    let gateway = Gateway::start(&config);
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    let open = |meeting: &str| {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade(&sluice_tests::client::meeting(
            meeting,
            "mic",
            &token::good(),
        ));
        peer
    };
    let ready = |peer: &mut Raw| {
        peer.write(&raw::text(&handshake().to_string())).unwrap();
        assert_eq!(peer.message()["status"], "ready");
    };
    // There is one for the socket of a newcomer, and none for the file.
    leave_descriptors(&gateway, 1);
    let mut peer = open("m1");
    let cannot = "decisions cannot be recorded; they are made all the same";
    let said = gateway.output().find("that nothing is recorded", |line| {
        let why = line.contains("Too many open files");
        (line.contains(cannot) && why).then_some(())
    });
    said.expect("the gateway runs");
    // About the handshake another one is made.
    ready(&mut peer);
    echo.echoes("still here");
    let unrecorded = || gateway.metric("sluice_decisions_unrecorded_total{reason=\"disk\"}");
    limit_descriptors(&gateway, "1024");
    assert!(unrecorded() > 0.0);
    let mut another = open("m2");
    ready(&mut another);
    eventually("a decision that is recorded", || {
        let record = std::fs::read_to_string(gateway.data().join("decisions.jsonl")).ok()?;
        record.contains("\"m2\"").then_some(())
    });
    assert_eq!(lines_with(&gateway, cannot).len(), 1);
}

/// A component that is another one each time.
fn component(number: u32) -> Vec<u8> {
    let body = format!("(drop (i32.const {number})) (call $drop (local.get 0)) (i32.const 0)");
    wat::parse_str(GUEST.replace("BODY", &body)).expect("a component")
}

#[test]
fn without_descriptors_a_reload_is_refused_with_the_reason_and_the_old_generation_serves() {
    let with_path = |number: u32| {
        Config::open()
            .set("server", "watch", json!(false))
            .set("policies.guest", "component", json!("guest.wasm"))
            .set("routes.echo", "on_connect", json!(["guest"]))
            .set(
                "routes.echo",
                "paths",
                json!(["/echo", format!("/{number}")]),
            )
    };
    let gateway = Gateway::start_with_files(&with_path(1), &[("guest.wasm", &component(1))]);
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    let (mut refused, mut reloads) = (0, 0);
    // Each time another opening is the first that fails: of the configuration, of the component, of
    // what was compiled earlier, of what a process that compiles is spoken to with.
    for free in 0..16 {
        let number = u32::try_from(free).expect("a small number") + 2;
        gateway.replace("guest.wasm", component(number));
        gateway.replace("sluice.toml", with_path(number).to_string());
        leave_descriptors(&gateway, free);
        gateway.signal(Signal::HUP);
        reloads += 1;
        let outcomes = || -> Vec<Value> {
            let lines = gateway.output().lines().into_iter();
            let events = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
            let is_one = |event: &Value| event["trigger"] == "signal";
            events.filter(is_one).collect()
        };
        let outcome = eventually("the end of a reload", || {
            let mut outcomes = outcomes();
            (outcomes.len() == reloads).then(|| outcomes.pop())?
        });
        echo.echoes("still here");
        let message = outcome["message"].as_str().expect("a sentence");
        if message != "reloaded" {
            assert!(message.contains("os error 24"), "{free}: {message}");
            refused += 1;
        }
        limit_descriptors(&gateway, "1024");
        let mut newcomer = Client::connect(Library::Ws, &gateway, "/echo");
        newcomer.echoes("hello");
    }
    assert!((1..reloads).contains(&refused), "{refused} of {reloads}");
    gateway.signal(Signal::HUP);
    eventually("the last configuration", || {
        let mut newcomer = Client::idle(Library::Ws);
        newcomer.open(&gateway, "/17", &[]);
        newcomer.text("hello");
        let event = newcomer.event();
        (event == sluice_tests::client::Event::Text("hello".to_owned())).then_some(())
    });
}
