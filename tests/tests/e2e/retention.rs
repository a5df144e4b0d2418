//! Where recordings are put, and which of them are deleted.

use std::fs::{File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sluice_tests::backend::{Backend, relaying};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::machine::{can_mount, with_mounts};
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, HEADER, read_wav};
use sluice_tests::{eventually, token};
use tungstenite::protocol::frame::coding::{Data, OpCode};

const DAY: Duration = Duration::from_hours(24);

fn config() -> Config {
    Config::ingest().set("server", "admin_listen", json!("127.0.0.1:0"))
}

/// A client of a tenant.
fn of_tenant(tenant: impl Into<Value>) -> String {
    token::sign(&token::claims_with(json!({"tenant_id": tenant.into()})))
}

/// Records a little audio, and gives the first answer.
fn record(gateway: &Gateway, meeting_id: &str, token: &str) -> Value {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting(meeting_id, "mic", token));
    let first = {
        // Refused behind the upgrade, it is told without a handshake.
        drop(peer.write(&raw::text(&handshake().to_string())));
        drop(peer.write(&raw::binary(&[7; 3200])));
        drop(peer.write(&raw::text(r#"{"type":"finalize"}"#)));
        peer.message()
    };
    while peer.frame().is_some_and(|frame| frame.close().is_none()) {}
    first
}

/// The folders of a recording below that of all of them.
fn folders(gateway: &Gateway, recording: &Path) -> Vec<String> {
    let root = gateway.data().join("recordings");
    let folder = recording.strip_prefix(root).expect("inside").parent();
    let parts = folder.expect("a folder").iter();
    parts
        .map(|part| part.to_str().expect("text").to_owned())
        .collect()
}

fn set_age(path: &Path, age: Duration) {
    let times = FileTimes::new().set_modified(SystemTime::now() - age);
    let file = File::options().write(true).open(path).expect("a file");
    file.set_times(times).expect("its time is set");
}

/// A recording of an earlier gateway.
fn leave(data: &Path, path: &str, age: Duration) -> PathBuf {
    let path = data.join("recordings").join(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    std::fs::write(&path, [0; 1000]).expect("a file");
    set_age(&path, age);
    path
}

fn removed(gateway: &Gateway, upstream: &str) -> (f64, f64, f64) {
    let metric = |name: &str| {
        gateway.metric(&format!(
            "sluice_recordings_{name}_total{{upstream=\"{upstream}\"}}"
        ))
    };
    (
        metric("removed"),
        metric("removed_bytes"),
        metric("removal_failures"),
    )
}

#[test]
fn tenants_share_no_folder_whatever_they_are_called() {
    let gateway = Gateway::start(&config());
    let long = "x".repeat(900);
    let tenants = [
        json!("t-1"),
        json!("T-1"),
        json!("t-1."),
        json!(".t-1"),
        json!("../../x"),
        json!(".."),
        json!("/etc"),
        json!("a/b"),
        json!("a\\b"),
        json!("a\0b"),
        json!("a\nb"),
        json!("CON"),
        json!("con"),
        json!("%none"),
        json!("🎙️"),
        json!("\u{202e}t"),
        json!(long),
        json!(format!("{long}y")),
    ];
    let mut recorded = 0;
    for tenant in &tenants {
        let answer = record(&gateway, "m1", &of_tenant(tenant.clone()));
        if answer["status"] == "ready" {
            recorded += 1;
        } else {
            // What auth does not take for a tenant's name.
            assert_eq!(answer["type"], "error", "{tenant}: {answer}");
        }
        let recordings = gateway.recordings();
        assert_eq!(recordings.len(), recorded, "{tenant}: {answer}");
    }
    assert!(
        recorded > 12,
        "harmless is not the same as refused: {recorded}"
    );
    let mut seen: Vec<String> = gateway
        .recordings()
        .iter()
        .map(|path| {
            let folders = folders(&gateway, path);
            let [tenant, meeting] = &folders[..] else {
                panic!("{}", path.display())
            };
            assert_eq!(meeting, "m1");
            assert!(!tenant.starts_with('.') && tenant.is_ascii(), "{tenant}");
            tenant.to_ascii_lowercase()
        })
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), recorded, "{seen:?}");
    assert!(
        seen.contains(&"t-1".to_owned()) && !seen.contains(&"%none".to_owned()),
        "{seen:?}"
    );
    // Far too long for an attribute: refused, and nobody's folder is touched.
    let answer = record(&gateway, "m1", &of_tenant("y".repeat(8000)));
    assert_eq!(answer["type"], "error", "{answer}");
    assert_eq!(gateway.recordings().len(), recorded);
    let parent = gateway.folder().parent().expect("a parent");
    assert!(!parent.join("x").exists());
}

#[test]
fn recordings_are_put_where_the_configuration_says_and_so_are_those_beside_a_backend() {
    let path = "calls/{date}/{tenant}/{user}/{param.meeting_id}/{source}/{route}/{query.room}";
    let backend = Backend::start(Library::Ws);
    let recorded = config().set("upstreams.recordings", "path", json!(path));
    let teed = relaying(backend.address())
        .set("upstreams.recordings", "tee", json!("wav"))
        .set("upstreams.recordings", "path", json!(path));
    for config in [recorded, teed] {
        let gateway = Gateway::start(&config);
        let mut client = Client::connect(
            Library::Ws,
            &gateway,
            &format!("{}&do=", meeting("Weekly", "sys", &token::good())),
        );
        client.json(&{
            let mut handshake = handshake();
            handshake
                .as_object_mut()
                .expect("an object")
                .remove("source");
            handshake
        });
        client.expect_ack();
        client.binary(&[1; 3200]);
        let found = eventually("a recording", || gateway.recordings().pop());
        let folders = folders(&gateway, &found);
        let [calls, date, tenant, user, meeting, source, route, room] = &folders[..] else {
            panic!("{}", found.display())
        };
        assert_eq!(calls, "calls");
        let name = found.file_name().expect("a name").to_string_lossy();
        assert!(name.starts_with(date.as_str()), "{date}: {name}");
        assert_eq!(
            [tenant, user, source, route, room],
            ["t-1", "u-1", "sys", "ingest", "%none"]
        );
        assert!(meeting.starts_with("Weekly~"), "{meeting}");
    }
}

#[test]
fn a_recording_that_is_past_its_age_is_deleted_at_the_start_and_nothing_else_is() {
    let config = config()
        .set("upstreams.recordings", "keep_for", json!("30d"))
        .set("upstreams.elsewhere", "kind", json!("wav"))
        .set("upstreams.elsewhere", "folder", json!("elsewhere"));
    let name = |number: u32| format!("2026-01-01T00-00-00Z-mic-{number:012}.wav");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let outside = elsewhere.path().join(name(1));
    std::fs::write(&outside, "precious").expect("a file");
    set_age(&outside, 90 * DAY);
    let (mut old, mut young) = (Vec::new(), vec![outside]);
    let gateway = Gateway::start_as(&config, |command: Command| {
        let data = PathBuf::from(command.get_args().last().expect("the data folder"));
        // As it was before there were tenants, and as it is now.
        old.push(leave(&data, &format!("m1/{}", name(2)), 31 * DAY));
        old.push(leave(&data, &format!("t-1/m1/{}", name(3)), 31 * DAY));
        old.push(leave(&data, &format!("t-2/m1/{}", name(4)), 400 * DAY));
        young.push(leave(&data, &format!("t-2/m2/{}", name(5)), 29 * DAY));
        young.push(leave(&data, "t-1/notes.wav", 400 * DAY));
        young.push(leave(
            &data,
            &format!("../elsewhere/m1/{}", name(6)),
            400 * DAY,
        ));
        let link = data.join("recordings/t-3");
        std::os::unix::fs::symlink(elsewhere.path(), link).expect("a link");
        command
    });
    let said = gateway.output().find("a line about it", |line| {
        line.contains("retention deleted recordings")
            .then(|| line.to_owned())
    });
    let said: Value = serde_json::from_str(&said.expect("it is said")).expect("JSON");
    let sums = ["files", "bytes", "kept_files", "kept_bytes"].map(|name| said[name].clone());
    assert_eq!(
        sums,
        [json!(3), json!(3000), json!(1), json!(1000)],
        "{said}"
    );
    assert_eq!(removed(&gateway, "recordings"), (3.0, 3000.0, 0.0));
    assert_eq!(removed(&gateway, "elsewhere"), (0.0, 0.0, 0.0));
    for path in old {
        assert!(!path.exists(), "{}", path.display());
    }
    for path in young {
        assert!(path.exists(), "{}", path.display());
    }
    let recordings = gateway.data().join("recordings");
    for (folder, is_there) in [
        ("m1", false),
        ("t-1", true),
        ("t-1/m1", false),
        ("t-3", true),
    ] {
        let found = recordings.join(folder).symlink_metadata().is_ok();
        assert_eq!(found, is_there, "{folder}");
    }
}

/// A stream that could be resumed, with some audio that the disk has; and its resume token.
fn stream(gateway: &Gateway, path: &str, pcm: &[u8]) -> (Raw, String) {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(path);
    let mut handshake = handshake();
    handshake["features"] = json!(["ack", "resume"]);
    peer.write(&raw::text(&handshake.to_string()))
        .expect("it is sent");
    let ack = peer.message();
    assert_eq!(ack["status"], "ready", "{ack}");
    for chunk in pcm.chunks(3200) {
        peer.send(OpCode::Data(Data::Binary), chunk);
    }
    while peer.message()["bytes"] != pcm.len() {}
    let token = ack["resume_token"].as_str().expect("a token");
    (peer, token.to_owned())
}

#[test]
fn the_oldest_finished_recordings_make_room_while_streams_go_on_or_wait() {
    let keep = |total: usize| {
        config()
            .set(
                "upstreams.recordings",
                "keep_total",
                json!(format!("{total}B")),
            )
            .limit("resume_grace", "10m")
    };
    let gateway = Gateway::start(&config().limit("resume_grace", "10m"));
    let clip = speech::long_clip();
    let (early, late) = clip.pcm.split_at(64_000);
    for n in 1..=4 {
        let answer = record(&gateway, &format!("done-{n}"), &token::good());
        assert_eq!(answer["status"], "ready", "{answer}");
    }
    let name = |n| meeting(n, "mic", &token::good());
    let (mut live, _) = stream(&gateway, &name("live"), early);
    let (held, resume) = stream(&gateway, &name("held"), early);
    held.reset();
    gateway
        .output()
        .find("the client that was cut off", |line| {
            line.contains("connection ended").then_some(())
        });
    let of = |meeting: &str| -> PathBuf {
        let paths = gateway.recordings();
        let mut of = paths
            .into_iter()
            .filter(|path| path.iter().any(|part| part == meeting));
        of.next()
            .unwrap_or_else(|| panic!("no recording of {meeting}"))
    };
    // Whoever goes on, or may come back, is older than all that are finished.
    for (meeting, days) in [("done-1", 4), ("done-2", 3), ("done-3", 2), ("done-4", 1)] {
        set_age(&of(meeting), days * DAY);
    }
    let going_on = [of("live"), of("held")];
    for path in &going_on {
        set_age(path, 100 * DAY);
    }
    let one = HEADER + 3200;
    let both = 2 * (HEADER + early.len());
    gateway.replace("sluice.toml", keep(both + 2 * one).to_string());
    eventually("room", || {
        (removed(&gateway, "recordings").0 >= 2.0).then_some(())
    });
    let left: Vec<PathBuf> = gateway.recordings();
    let mut expected = vec![
        of("done-3"),
        of("done-4"),
        going_on[0].clone(),
        going_on[1].clone(),
    ];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(
        removed(&gateway, "recordings"),
        (2.0, 2.0 * one as f64, 0.0)
    );
    // With no room at all, only what goes on stays, and is whole in the end.
    gateway.replace("sluice.toml", keep(1).to_string());
    eventually("no more", || {
        (removed(&gateway, "recordings").0 >= 4.0).then_some(())
    });
    for chunk in late.chunks(3200) {
        live.send(OpCode::Data(Data::Binary), chunk);
    }
    let mut back = Raw::connect(gateway.address());
    back.upgrade(&format!("{}&resume={resume}", name("held")));
    let mut again = handshake();
    again["features"] = json!(["ack", "resume"]);
    back.write(&raw::text(&again.to_string()))
        .expect("it is sent");
    let ack = back.message();
    assert_eq!(ack["from_bytes"], early.len(), "{ack}");
    for chunk in late.chunks(3200) {
        back.send(OpCode::Data(Data::Binary), chunk);
    }
    for peer in [&mut live, &mut back] {
        peer.write(&raw::text(r#"{"type":"finalize"}"#))
            .expect("it is sent");
        loop {
            let message = peer.message();
            if message["type"] != "ack" {
                assert_eq!(message["status"], "finalized", "{message}");
                break;
            }
        }
    }
    for path in going_on {
        assert!(read_wav(&path).1 == clip.pcm, "{}", path.display());
    }
}

#[test]
fn recordings_that_cannot_be_deleted_are_counted_and_harm_no_stream() {
    if !can_mount() {
        return;
    }
    let script = "mkdir -p \"$DATA/old\"; mount -t tmpfs none \"$DATA/old\"; cd \"$DATA/old\"; \
                  name=2020-01-01T00-00-00Z-mic-0123456789ab.wav; echo > $name; \
                  touch -d 2020-01-01 $name; cd /; mount -o remount,ro \"$DATA/old\"";
    let config = config()
        .set("upstreams.old", "kind", json!("wav"))
        .set("upstreams.old", "folder", json!("old"))
        .set("upstreams.old", "keep_for", json!("1d"));
    let gateway = Gateway::start_as(&config, |command| with_mounts(&command, script));
    let said = gateway.output().find("why", |line| {
        let found = line.contains("retention could not delete all recordings");
        found.then(|| line.to_owned())
    });
    let said = said.expect("it is said");
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(removed(&gateway, "old"), (0.0, 0.0, 1.0));
    let answer = record(&gateway, "m1", &token::good());
    assert_eq!(answer["status"], "ready", "{answer}");
}
