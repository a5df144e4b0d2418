//! Streams that outlive the connections to their backend.

use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::backend::{Backend, finalize, path, relaying, sha256};
use sluice_tests::client::{Client, Library, handshake};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::proxy::{Fault, Proxy};
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, read_wav};
use sluice_tests::{eventually, with_both_clients};

/// A route whose streams are held, to a backend at the end of a proxy.
fn holding(proxy: &Proxy, options: &[(&str, Value)]) -> Config {
    let config = relaying(proxy.address()).set("upstreams.recordings", "on_loss", json!("hold"));
    options.iter().fold(config, |config, (key, value)| {
        config.set("upstreams.recordings", key, value.clone())
    })
}

fn start(library: Library, gateway: &Gateway, orders: &str) -> Client {
    let mut client = Client::connect(library, gateway, &path(orders));
    client.handshake();
    client.expect_ack();
    client
}

fn says(client: &mut Client, status: &str) {
    assert_eq!(
        client.message(),
        json!({"type": "status", "status": status})
    );
}

/// The end of a stream that is complete.
fn complete(client: &mut Client, bytes: usize) {
    for message in finalize(client, bytes) {
        assert_eq!(message["type"], "transcript", "{message}");
    }
}

with_both_clients! {
    fn a_backend_that_confirms_gets_every_byte_once_whatever_befalls_its_connections(library) {
        let backend = Backend::start(library);
        let proxy = Proxy::start(backend.address());
        let gateway = Gateway::start(&holding(&proxy, &[("receipts", json!("confirmed"))]));
        let clip = speech::long_clip();
        let mut client = start(library, &gateway, "confirm");
        let parts = clip.pcm.chunks(clip.pcm.len() / 4 + 1).collect::<Vec<_>>();
        for (number, part) in parts.iter().enumerate() {
            client.send_audio(part);
            if number < 3 {
                proxy.reset_all();
                says(&mut client, "upstream_lost");
                says(&mut client, "upstream_restored");
            }
        }
        complete(&mut client, clip.pcm.len());
        let end = backend.whole();
        assert_eq!((&end["sha256"], &end["bytes"]), (&json!(sha256(&clip.pcm)), &json!(clip.pcm.len())));
        for replay in backend.events("replay") {
            let of = |field: &str| replay[field].as_u64().unwrap();
            // It is told what it had beyond what it confirmed, or more.
            assert!(of("from_bytes") <= of("had") && of("had") <= of("from_bytes") + of("overlap_bytes"), "{replay}");
            assert_eq!(of("gap_bytes"), 0);
        }
    }

    fn a_backend_that_confirms_nothing_may_get_some_of_it_twice(library) {
        let backend = Backend::start(library);
        let proxy = Proxy::start(backend.address());
        let gateway = Gateway::start(&holding(&proxy, &[("replay", json!("at-least-once"))]));
        let clip = speech::long_clip();
        let mut client = start(library, &gateway, "");
        let (first, second) = clip.pcm.split_at(200_000);
        client.send_audio(first);
        proxy.reset_all();
        says(&mut client, "upstream_lost");
        client.audio(second);
        says(&mut client, "upstream_restored");
        complete(&mut client, clip.pcm.len());
        // It drops what it had, so that nothing is there twice.
        let end = backend.whole();
        assert_eq!((&end["sha256"], &end["bytes"]), (&json!(sha256(&clip.pcm)), &json!(clip.pcm.len())));
        let replay = backend.event("replay");
        let of = |field: &str| replay[field].as_u64().unwrap();
        assert!(of("had") <= of("from_bytes") + of("overlap_bytes"), "{replay}");
    }

    fn or_it_may_miss_some_of_it(library) {
        let backend = Backend::start(library);
        let proxy = Proxy::start(backend.address());
        let gateway = Gateway::start(&holding(&proxy, &[("replay", json!("at-most-once"))]));
        let clip = speech::long_clip();
        let mut client = start(library, &gateway, "tell");
        let (first, second) = clip.pcm.split_at(100_000);
        client.audio(first);
        while client.message() != json!({"type": "heard", "bytes": first.len()}) {}
        // What is sent now is taken by the proxy, and never arrives.
        proxy.set(Fault::BlackHole);
        client.audio(&second[..32_000]);
        eventually("it is on its way", || (proxy.swallowed() >= 32_000).then_some(()));
        proxy.reset_all();
        proxy.set(Fault::None);
        says(&mut client, "upstream_lost");
        says(&mut client, "upstream_restored");
        client.audio(&second[32_000..]);
        client.json(&json!({"type": "close"}));
        let replay = backend.event("replay");
        let of = |field: &str| usize::try_from(replay[field].as_u64().unwrap()).unwrap();
        assert_eq!((of("had"), of("from_bytes"), of("overlap_bytes")), (first.len(), first.len() + 32_000, 0));
        assert!(of("gap_bytes") >= 32_000, "{replay}");
        let end = eventually("the end", || backend.events("end").into_iter().find(|end| end["code"] == 1000));
        let got = [first, &second[32_000..]].concat();
        assert_eq!((&end["sha256"], &end["bytes"]), (&json!(sha256(&got)), &json!(got.len())));
    }
}

#[test]
fn a_backend_that_restarts_goes_on_with_what_it_has_on_its_disk() {
    let store = tempfile::tempdir().unwrap();
    let mut backend = Backend::storing(store.path());
    let proxy = Proxy::start(backend.address());
    let gateway = Gateway::start(&holding(&proxy, &[("receipts", json!("confirmed"))]));
    let clip = speech::long_clip();
    let mut client = start(Library::Ws, &gateway, "confirm");
    let (first, second) = clip.pcm.split_at(clip.pcm.len() / 2);
    client.send_audio(first);
    backend.kill();
    says(&mut client, "upstream_lost");
    client.send_audio(second);
    let again = Backend::storing(store.path());
    proxy.lead_to(again.address());
    says(&mut client, "upstream_restored");
    complete(&mut client, clip.pcm.len());
    assert_eq!(again.whole()["sha256"], sha256(&clip.pcm));
}

#[test]
fn a_backend_that_stays_away_ends_the_stream_once_its_time_is_over() {
    let mut backend = Backend::start(Library::Ws);
    let proxy = Proxy::start(backend.address());
    let config = holding(
        &proxy,
        &[
            ("replay", json!("at-most-once")),
            ("hold_timeout", json!("700ms")),
        ],
    );
    let gateway = Gateway::start(&config);
    let mut client = start(Library::Ws, &gateway, "");
    backend.kill();
    says(&mut client, "upstream_lost");
    let message = "the upstream was lost, and did not come back";
    client.expect_refusal_saying(4006, "upstream_unavailable", message);
    let entry = gateway.output().find("the log entry", |line| {
        line.contains("connection ended").then(|| line.to_owned())
    });
    assert!(entry.unwrap_or_default().contains("was away for 700ms"));
}

#[test]
fn a_backend_that_has_closed_the_stream_is_not_dialled_again() {
    let backend = Backend::start(Library::Ws);
    let proxy = Proxy::start(backend.address());
    let gateway = Gateway::start(&holding(&proxy, &[("replay", json!("at-most-once"))]));
    let mut client = start(Library::Ws, &gateway, "close:4321,close-after:1000");
    client.binary(&[0; 1000]);
    client.expect_close(4321, "enough");
    assert_eq!(backend.events("open").len(), 1);
    // A Close that speaks of the backend itself is a loss like any other.
    let mut client = start(Library::Ws, &gateway, "close:1011,close-after:1000");
    client.binary(&[0; 1000]);
    says(&mut client, "upstream_lost");
    says(&mut client, "upstream_restored");
}

#[test]
fn what_memory_cannot_hold_waits_in_a_file_and_what_that_cannot_holds_the_client_back() {
    let backend = Backend::start(Library::Ws);
    let proxy = Proxy::start(backend.address());
    let config = holding(
        &proxy,
        &[
            ("receipts", json!("confirmed")),
            ("hold_memory", json!("64KiB")),
            ("hold_file", json!("1MiB")),
        ],
    );
    let gateway = Gateway::start(&config);
    let mut client = start(Library::Ws, &gateway, "confirm");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = nobody.local_addr().unwrap();
    drop(nobody);
    proxy.lead_to(away);
    proxy.reset_all();
    says(&mut client, "upstream_lost");
    // Far more than is held: the rest waits in the kernel, or in the client.
    let clip: Vec<u8> = speech::long_clip()
        .pcm
        .iter()
        .copied()
        .cycle()
        .take(12 << 20)
        .collect();
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), &clip).unwrap();
    client.file(path.path(), 0, 32_000);
    let held = gateway.data().join("held");
    eventually("the file", || held.exists().then_some(()));
    assert_eq!(
        std::fs::read_dir(&held).unwrap().count(),
        0,
        "it has no name"
    );
    proxy.lead_to(backend.address());
    says(&mut client, "upstream_restored");
    complete(&mut client, clip.len());
    assert_eq!(backend.whole()["sha256"], sha256(&clip));
    let resident = gateway.peak_memory();
    assert!(resident < 200 << 20, "{resident} bytes");
}

/// Sends audio until the gateway has read nothing more for two seconds.
fn send_until_held_back(peer: &Raw, mut on_the_way: impl FnMut()) {
    let mut writer = peer.writer();
    writer
        .set_write_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let frame = raw::binary(&[7; 32_000]);
    loop {
        let mut rest = &frame[..];
        while !rest.is_empty() {
            match writer.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the stream goes on: {error}"),
            }
        }
        on_the_way();
    }
}

#[test]
fn files_of_all_held_streams_have_one_bound_and_past_it_each_is_held_back() {
    const ALL: f64 = (1 << 20) as f64;
    let backend = Backend::start(Library::Ws);
    let proxy = Proxy::start(backend.address());
    let config = holding(
        &proxy,
        &[
            ("receipts", json!("confirmed")),
            ("hold_memory", json!("64KiB")),
            ("hold_file", json!("64MiB")),
            ("hold_files", json!("1MiB")),
            ("hold_timeout", json!("5m")),
        ],
    )
    .set("server", "admin_listen", json!("127.0.0.1:0"));
    let gateway = Gateway::start(&config);
    let held = || gateway.metric("sluice_upstream_held_bytes{upstream=\"recordings\"}");
    let mut client = start(Library::Ws, &gateway, "confirm");
    let peers = ["m2", "m3"].map(|name| {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade(&path("confirm").replacen("m1", name, 1));
        peer.write(&raw::text(&handshake().to_string())).unwrap();
        assert_eq!(peer.message()["status"], "ready");
        peer
    });
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = nobody.local_addr().unwrap();
    drop(nobody);
    proxy.lead_to(away);
    proxy.reset_all();
    says(&mut client, "upstream_lost");
    // Each alone has room for far more.
    for peer in &peers {
        send_until_held_back(peer, || assert!(held() <= ALL, "{} bytes", held()));
    }
    assert!(held() > ALL / 2.0, "{} bytes are held in files", held());
    // One that finds no room in files goes on all the same, when its backend is back.
    let clip: Vec<u8> = speech::long_clip().pcm.repeat(3);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &clip).unwrap();
    client.file(file.path(), 0, 32_000);
    peers.into_iter().for_each(Raw::reset);
    assert!(held() <= ALL, "{} bytes", held());
    proxy.lead_to(backend.address());
    says(&mut client, "upstream_restored");
    complete(&mut client, clip.len());
    assert_eq!(backend.whole()["sha256"], sha256(&clip));
    eventually("the end of all files", || (held() == 0.0).then_some(()));
}

#[test]
fn a_stream_that_is_over_is_delivered_when_its_backend_is_back() {
    let backend = Backend::start(Library::Websockets);
    let proxy = Proxy::start(backend.address());
    let gateway = Gateway::start(&holding(&proxy, &[("receipts", json!("confirmed"))]));
    let clip = speech::clip();
    let mut client = start(Library::Websockets, &gateway, "confirm");
    proxy.set(Fault::Reset);
    client.audio(&clip.pcm);
    says(&mut client, "upstream_lost");
    client.json(&json!({"type": "finalize"}));
    proxy.set(Fault::None);
    complete(&mut client, clip.pcm.len());
    assert_eq!(backend.whole()["sha256"], sha256(&clip.pcm));
}

#[test]
fn a_stream_is_recorded_as_well() {
    let backend = Backend::start(Library::Ws);
    let config = relaying(backend.address())
        .set("upstreams.recordings", "tee", json!("wav"))
        .set("upstreams.recordings", "receipts", json!("recorded"));
    let gateway = Gateway::start(&config);
    let clip = speech::clip();
    let mut client = start(Library::Ws, &gateway, "");
    client.send_audio(&clip.pcm);
    complete(&mut client, clip.pcm.len());
    assert_eq!(backend.whole()["sha256"], sha256(&clip.pcm));
    assert!(read_wav(&gateway.recording()).1 == clip.pcm);
}

#[test]
fn the_recording_ends_with_the_backend_where_nothing_is_held() {
    let mut backend = Backend::start(Library::Ws);
    let config = relaying(backend.address()).set("upstreams.recordings", "tee", json!("wav"));
    let gateway = Gateway::start(&config);
    let clip = speech::clip();
    let mut client = start(Library::Ws, &gateway, "tell");
    client.audio(&clip.pcm[..32_000]);
    while client.message()["bytes"] != 32_000 {}
    backend.kill();
    client.expect_refusal(4006, "upstream_unavailable");
    assert!(read_wav(&gateway.recording()).1 == clip.pcm[..32_000]);
}

#[test]
fn a_stream_that_was_only_recorded_says_so_and_its_recording_is_complete() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let config = relaying(address)
        .set("upstreams.recordings", "on_loss", json!("hold"))
        .set("upstreams.recordings", "replay", json!("at-least-once"))
        .set("upstreams.recordings", "hold_timeout", json!("300ms"))
        .set("upstreams.recordings", "tee", json!("wav"))
        .set("server", "admin_listen", json!("127.0.0.1:0"));
    let gateway = Gateway::start(&config);
    let clip = speech::clip();
    let mut client = start(Library::Ws, &gateway, "");
    says(&mut client, "upstream_lost");
    let (first, second) = clip.pcm.split_at(clip.pcm.len() / 2);
    client.send_audio(first);
    gateway.output().find("the backend fails", |line| {
        line.contains("the backend failed").then_some(())
    });
    client.send_audio(second);
    client.json(&json!({"type": "finalize"}));
    let told = "the stream was recorded, but not delivered to the upstream";
    client.expect_refusal_saying(4006, "upstream_unavailable", told);
    assert!(read_wav(&gateway.recording()).1 == clip.pcm);
    assert_eq!(
        gateway.metric(r#"sluice_tee_given_up_total{upstream="recordings",half="backend"}"#),
        1.0
    );
}

/// Runs under a limit of 64 KiB a file, which is a full disk to a recording.
fn with_a_full_disk(config: &Config) -> Gateway {
    let config = config
        .clone()
        .set("upstreams.recordings", "tee", json!("wav"))
        .set("server", "admin_listen", json!("127.0.0.1:0"));
    Gateway::start_as(&config, |command| {
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\""]);
        limited.arg(command.get_program()).args(command.get_args());
        let piped = std::process::Stdio::piped;
        limited.stdout(piped()).stderr(piped());
        limited
    })
}

#[test]
fn a_full_disk_under_a_tee_ends_no_stream_whose_backend_is_fine() {
    let backend = Backend::start(Library::Websockets);
    let gateway = with_a_full_disk(&relaying(backend.address()));
    let pcm = &speech::long_clip().pcm[..200_000];
    let mut client = start(Library::Ws, &gateway, "");
    client.send_audio(pcm);
    complete(&mut client, pcm.len());
    assert_eq!(backend.whole()["sha256"], sha256(pcm));
    assert_eq!(
        gateway.metric(r#"sluice_tee_given_up_total{upstream="recordings",half="recording"}"#),
        1.0
    );
    gateway.output().find("the recording failed", |line| {
        line.contains("the recording failed").then_some(())
    });
    // What the disk had taken is there.
    let recorded = read_wav(&gateway.recording()).1;
    assert!(!recorded.is_empty() && pcm.starts_with(&recorded));
}

#[test]
fn a_recording_that_cannot_begin_under_a_tee_refuses_no_stream() {
    let backend = Backend::start(Library::Ws);
    let config = relaying(backend.address()).set("upstreams.recordings", "tee", json!("wav"));
    let gateway = Gateway::start(&config);
    let folder = gateway.data().join("recordings");
    eventually("the folder", || folder.is_dir().then_some(()));
    std::fs::rename(&folder, gateway.data().join("moved")).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let clip = speech::clip();
    let mut client = start(Library::Ws, &gateway, "");
    client.send_audio(&clip.pcm);
    complete(&mut client, clip.pcm.len());
    assert_eq!(backend.whole()["sha256"], sha256(&clip.pcm));
}

#[test]
fn a_full_disk_ends_a_stream_that_was_promised_its_recording() {
    let backend = Backend::start(Library::Ws);
    let config =
        relaying(backend.address()).set("upstreams.recordings", "receipts", json!("recorded"));
    let gateway = with_a_full_disk(&config);
    let mut client = Client::connect(Library::Ws, &gateway, &path(""));
    let mut handshake = sluice_tests::client::handshake();
    handshake["features"] = json!(["ack"]);
    client.json(&handshake);
    assert_eq!(client.message()["features"], json!(["ack"]));
    client.stream(&speech::long_clip(), 3200);
    loop {
        let message = client.message();
        if message["type"] == "error" {
            assert_eq!(message["close_code"], 4006, "{message}");
            break;
        }
        assert_eq!(message["type"], "ack", "{message}");
    }
}
