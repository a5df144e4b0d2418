//! A new gateway in the place of one that runs: no client is refused.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::client::{Client, Event, Library, handshake, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::Raw;
use sluice_tests::speech::{self, read_wav};
use sluice_tests::{token, with_both_clients};

fn config() -> Config {
    Config::ingest()
        .set("server", "drain_timeout", json!("60s"))
        .set("server", "admin_listen", json!("127.0.0.1:0"))
}

/// Opens a stream that may be resumed, or goes on with one. Gives its token and where it goes on.
fn open(client: &mut Client, gateway: &Gateway, resume: Option<&str>) -> (String, usize) {
    let path = meeting("m1", "mic", &token::good());
    let path = resume.map_or(path.clone(), |token| format!("{path}&resume={token}"));
    let mut asking = handshake();
    asking["features"] = json!(["ack", "resume"]);
    client.open_url(&gateway.url(&path), &[]);
    client.json(&asking);
    let ack = client.message();
    assert_eq!(ack["status"], "ready", "{ack}");
    let from = ack["from_bytes"].as_u64().unwrap_or_default();
    let token = ack["resume_token"].as_str().expect("a token").to_owned();
    (token, usize::try_from(from).unwrap())
}

/// Comes and goes until it is told to stop. Gives how often it was answered.
fn come_and_go(gateway: std::net::SocketAddr, stop: &AtomicBool) -> usize {
    let mut answered = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut peer = Raw::connect(gateway);
        peer.upgrade(&meeting("m9", "mic", "no-token"));
        assert!(peer.message()["code"].is_string());
        answered += 1;
    }
    answered
}

with_both_clients! {
    fn streams_go_on_in_the_next_gateway_or_in_the_last_and_nobody_is_refused(library) {
        let mut gateway = Gateway::start(&config());
        let clip = speech::long_clip();
        let mut resuming = Client::idle(library);
        let (mut token, mut from) = open(&mut resuming, &gateway, None);
        let stop = AtomicBool::new(false);
        let address = gateway.address();
        std::thread::scope(|scope| {
            let visitor = scope.spawn(|| come_and_go(address, &stop));
            for turn in 0..3 {
                // One that cannot be resumed stays where it is.
                let others = meeting(&format!("other-{turn}"), "mic", &token::of_user("u-2"));
                let mut staying = Client::connect(library, &gateway, &others);
                staying.handshake();
                staying.expect_ack();
                for chunk in clip.pcm[from..].chunks(3200).take(20) {
                    resuming.binary(chunk);
                }
                let mut old = gateway.take_over();
                assert_eq!(closed(&mut resuming), 1001);
                (token, from) = open(&mut resuming, &gateway, Some(&token));
                assert!(old.runs(), "it has a stream yet");
                let short = speech::clip();
                staying.send_audio(&short.pcm);
                staying.finalize(short.pcm.len(), short.pcm.len() / 32);
                assert!(old.wait().success());
            }
            stop.store(true, Ordering::Relaxed);
            assert!(visitor.join().expect("nobody is refused") > 3);
        });
        for chunk in clip.pcm[from..].chunks(3200) {
            resuming.binary(chunk);
        }
        resuming.json(&json!({"type": "finalize"}));
        while resuming.message()["type"] == "ack" {}
        let recordings = gateway.recordings();
        assert_eq!(recordings.len(), 4, "{recordings:?}");
        let whole = recordings.iter().any(|file| read_wav(file).1 == clip.pcm);
        assert!(whole, "the stream is not whole: {recordings:?}");
    }
}

fn closed(client: &mut Client) -> u16 {
    loop {
        if let Event::Close(code, _) = client.event() {
            return code;
        }
    }
}

#[test]
fn a_successor_that_cannot_start_leaves_the_gateway_as_it_is() {
    let gateway = Gateway::start(&config());
    let mut staying = Client::idle(Library::Ws);
    open(&mut staying, &gateway, None);
    let broken = gateway.folder().join("broken.toml");
    std::fs::write(&broken, "[server]\nno_such_option = 1\n").expect("a file");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let good = gateway.folder().join("sluice.toml");
    for (config, listen, said) in [
        (broken, "127.0.0.1:0", "no_such_option"),
        (good, &*taken, "cannot listen on"),
    ] {
        let options = ["serve", "--take-over", "--listen", listen, "--config"];
        let mut successor = command::quiet(command::binary(), &options);
        successor.arg(config).arg("--data-dir").arg(gateway.data());
        let ended = successor.output().expect("it runs");
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{error}");
        assert!(error.contains(said), "{error}");
    }
    // Nor does a program that only connects.
    let socket = gateway.data().join("handover.sock");
    drop(UnixStream::connect(socket).expect("it is offered"));
    gateway.output().find("that it does not ask", |line| {
        let event = line.contains("connected to take over does not");
        (event && line.contains("its request")).then_some(())
    });
    staying.binary(&[1; 32_000]);
    assert_eq!(staying.message()["type"], "ack");
    let others = meeting("m2", "mic", &token::of_user("u-2"));
    let mut client = Client::connect(Library::Ws, &gateway, &others);
    client.handshake();
    client.expect_ack();
}

#[test]
fn a_gateway_with_nothing_to_take_over_from_starts_as_always() {
    let mut gateway = Gateway::start(&config());
    let mut client = Client::idle(Library::Ws);
    let (token, _) = open(&mut client, &gateway, None);
    client.binary(&[1; 32_000]);
    while client.message()["type"] != "ack" {}
    // A killed gateway leaves its socket behind.
    gateway.kill();
    assert_eq!(closed(&mut client), 1006);
    drop(gateway.take_over());
    let (_, from) = open(&mut client, &gateway, Some(&token));
    assert_eq!(from, 32_000);
}

/// Listens as a service manager does, and becomes the gateway: sd_listen_fds(3).
const MANAGER: &str = "
import os, socket, sys
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(int(sys.argv[1]))]
for place, listening in enumerate(sockets):
    os.dup2(listening.fileno(), 3 + place)
    os.set_inheritable(3 + place, True)
host, port = sockets[0].getsockname()
os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], [*sys.argv[2:], '--listen', f'{host}:{port}'])
";

fn managed(gateway: &Gateway, sockets: &str) -> Command {
    let mut manager = command::quiet("python3".as_ref(), &["-c", MANAGER, sockets]);
    manager.arg(command::binary()).args(["serve", "--config"]);
    manager.arg(gateway.folder().join("sluice.toml"));
    manager
        .arg("--data-dir")
        .arg(gateway.folder().join("managed"));
    manager
}

#[test]
fn sockets_of_a_service_manager_are_served_and_one_that_no_option_names_is_a_mistake() {
    // For its folder.
    let files = Gateway::start(&config());
    let aside = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::launch(managed(&files, "1"), aside);
    let mut client = Client::idle(Library::Ws);
    open(&mut client, &gateway, None);
    gateway.signal(Signal::TERM);
    client.json(&json!({"type": "close"}));
    assert_eq!(closed(&mut client), 1000);
    assert!(gateway.wait().success());
    let ended = managed(&files, "3").output().expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("LISTEN_FDS has a socket on 127.0.0.1:"),
        "{said}"
    );
}
