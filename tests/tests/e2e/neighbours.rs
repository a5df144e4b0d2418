//! The whole contract in one property: no client changes another's outcome.
//!
//! Honest clients are served twice, alone and beside random hostile ones, and
//! have to come to the same: what they are told, and what is kept of what they
//! sent. `SLUICE_SEED=n` plays one seed again.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use hostile::{Hostile, greeting};
use serde_json::{Value, json};
use sluice_tests::backend::{Backend, relaying};
use sluice_tests::client::{Library, meeting};
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{Clip, clips, read_wav};
use sluice_tests::{eventually, token};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

mod hostile;

/// Seeds that are played, and hostile clients at once.
const SEEDS: u64 = 3;
const HOSTILE: u64 = 4;
/// What each of these does at the least, and before the honest clients come.
const ACTS: u32 = 60;
const BEFORE: u32 = 30;
/// Where the honest clients are.
const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1));
/// What one client has of each thing: enough for the honest, and not for the hostile.
const EACH: u32 = 12;
/// Bytes that a stream has brought when its client is cut off, and brings afterwards.
const HALF: usize = 32_000;

#[test]
fn no_client_changes_what_becomes_of_another() {
    let clips = clips(16);
    let backend = Backend::start(Library::Websockets);
    let gateway = || gateway(&backend);
    let alone = {
        let gateway = gateway();
        honest(&gateway, &clips)
    };
    let expected = [
        "finalized",
        "finalized",
        "auth_failed",
        "invalid_sample_rate",
        "echoed",
        "finalized",
        "relayed",
    ];
    for (outcome, expected) in alone.values().zip(expected) {
        assert!(outcome.contains(expected), "{expected}: {alone:#?}");
    }
    let seeds = match std::env::var("SLUICE_SEED") {
        Ok(seed) => vec![seed.parse().expect("SLUICE_SEED is a number")],
        Err(_) => (1..=SEEDS).collect(),
    };
    for seed in seeds {
        println!("SLUICE_SEED={seed}");
        let gateway = gateway();
        let over = AtomicBool::new(false);
        let among = std::thread::scope(|scope| {
            let (started, begins) = std::sync::mpsc::channel();
            for n in 0..HOSTILE {
                let (gateway, over, started) = (&gateway, &over, started.clone());
                scope.spawn(move || {
                    let mut hostile = Hostile::new(gateway.address(), seed * HOSTILE + n);
                    for act in 0.. {
                        if act == BEFORE {
                            let _ = started.send(());
                        }
                        if act >= ACTS && over.load(Ordering::Relaxed) {
                            return;
                        }
                        hostile.act();
                    }
                });
            }
            // Whatever they can break is broken by then.
            (0..HOSTILE).for_each(|_| begins.recv().expect("they act"));
            let over = Over(&over);
            let among = honest(&gateway, &clips);
            drop(over);
            among
        });
        assert_eq!(among, alone, "again with SLUICE_SEED={seed}");
        // And nothing is left of them.
        eventually("all claims to be released", || {
            (gateway.metric("sluice_claims") == 0.0).then_some(())
        });
        let put_away = "sluice_policy_quarantines_total{policy=\"fragile\"}";
        assert_eq!(gateway.metric(put_away), 0.0);
    }
}

/// Tells the hostile clients to stop, even if an honest one has failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long things may take has tests of its own, on a machine that is not busy
/// with attacks.
fn gateway(backend: &Backend) -> Gateway {
    // Makes a tree of each handshake, with too little memory for a large one.
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fragile = json!(tests.join("guests/v0.1.0/sample-rate.wasm"));
    let config = relaying(backend.address())
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "max_connections_per_address", json!(EACH))
        .set("server", "max_connections_per_user", json!(EACH))
        .set("server", "max_connections_per_tenant", json!(EACH))
        .set("server", "max_parked_per_client", json!(2))
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("policies.fragile", "component", fragile)
        .set("policies.fragile", "max_memory", json!("2MiB"))
        .set("policies.fragile", "timeout", json!("10s"))
        .set("policies.fragile", "quarantine_after", json!(2))
        .set("policies.fragile", "quarantine", json!("1h"))
        .set("upstreams.plain", "rest", json!("1h"))
        // Many addresses are many clients where nobody says who is behind them.
        .set("routes.relay", "on_connect", json!(["auth"]))
        .set("routes.relay", "admission_timeout", json!("60s"))
        .set("upstreams.recordings", "kind", json!("wav"))
        .without("upstreams.recordings", "url")
        .set("routes.ingest", "rate_attempts", json!(EACH))
        .limit("rate_per", "1h")
        .limit("resume_grace", "2s");
    let paths = [
        ("ingest", json!(["/api/v1/ws/ingest/meetings/{meeting_id}"])),
        // Who is cut off has all the time to come back.
        ("patient", json!(["/patient/{meeting_id}"])),
    ];
    let config = paths.into_iter().fold(config, |config, (route, paths)| {
        let route = format!("routes.{route}");
        config
            .set(&route, "paths", paths)
            .set(&route, "handshake", json!("ingest.v1"))
            .set(&route, "on_connect", json!(["auth", "duplicate"]))
            .set(&route, "on_handshake", json!(["sample-rate", "fragile"]))
            .set(&route, "upstream", json!("recordings"))
            .set(&route, "admission_timeout", json!("60s"))
            .set(&route, "handshake_timeout", json!("60s"))
    });
    Gateway::start(&config.set("routes.patient", "resume_grace", json!("10min")))
}

/// What becomes of honest clients that come at once, by their names.
fn honest(gateway: &Gateway, clips: &[Clip]) -> BTreeMap<&'static str, String> {
    type Part<'a> = (&'static str, Box<dyn FnOnce() -> String + Send + 'a>);
    let parts: [Part<'_>; 7] = [
        (
            "1 streams",
            Box::new(|| streams(gateway, "honest-1", "mic", &clips[0])),
        ),
        (
            "2 streams too",
            Box::new(|| streams(gateway, "honest-1", "sys", &clips[1])),
        ),
        ("3 has an old token", Box::new(|| refused(gateway))),
        ("4 has a telephone", Box::new(|| telephones(gateway))),
        ("5 echoes", Box::new(|| echoes(gateway, "/echo"))),
        ("6 comes back", Box::new(|| comes_back(gateway))),
        (
            "7 relays",
            Box::new(|| {
                let token = token::of_user("relaying");
                let path = format!("/relay?do=echo&token={token}");
                echoes(gateway, &path).replace("echoed", "relayed")
            }),
        ),
    ];
    std::thread::scope(|scope| {
        let parts = parts.map(|(name, part)| (name, scope.spawn(part)));
        parts
            .map(|(name, part)| (name, part.join().expect("it is served")))
            .into()
    })
}

fn upgraded(gateway: &Gateway, path: &str) -> Raw {
    let mut peer = Raw::connect_from(HOME, gateway.address());
    peer.upgrade(path);
    peer
}

fn streams(gateway: &Gateway, id: &str, source: &str, clip: &Clip) -> String {
    let mut peer = upgraded(gateway, &meeting(id, source, &token::of_user("honest")));
    peer.write(&raw::text(&greeting(&[]).to_string()))
        .expect("it reads");
    let ack = said(&mut peer);
    for chunk in clip.pcm.chunks(3200) {
        peer.write(&raw::binary(chunk)).expect("it reads");
    }
    peer.write(&raw::text(r#"{"type":"finalize"}"#))
        .expect("it reads");
    let told = said(&mut peer);
    let end = said(&mut peer);
    let mut recordings = gateway.recordings().into_iter();
    let is_its = |path: &std::path::Path| path.components().any(|part| part.as_os_str() == id);
    let kept = recordings.any(|path| is_its(&path) && read_wav(&path).1 == clip.pcm);
    format!("{ack} {told} {end}, kept: {kept}")
}

fn refused(gateway: &Gateway) -> String {
    let expired = token::sign(&token::claims_with(json!({"exp": token::now() - 600})));
    let mut peer = upgraded(gateway, &meeting("honest-2", "mic", &expired));
    let told = said(&mut peer);
    format!("{told} {}", said(&mut peer))
}

fn telephones(gateway: &Gateway) -> String {
    let path = meeting("honest-3", "mic", &token::of_user("honest"));
    let mut peer = upgraded(gateway, &path);
    let greeting = json!({"type": "handshake", "sample_rate": 8000, "device_id": "d"});
    peer.write(&raw::text(&greeting.to_string()))
        .expect("it reads");
    let told = said(&mut peer);
    format!("{told} {}", said(&mut peer))
}

/// Is cut off half way, and goes on where it was.
fn comes_back(gateway: &Gateway) -> String {
    let path = format!("/patient/honest-6?token={}", token::of_user("honest"));
    let asking = greeting(&[("features", json!(["ack", "resume"]))]);
    let begin = |path: &str| {
        let mut peer = upgraded(gateway, path);
        peer.write(&raw::text(&asking.to_string()))
            .expect("it reads");
        let answer = peer.message();
        (peer, answer)
    };
    let (mut peer, ready) = begin(&path);
    let Some(token) = ready["resume_token"].as_str() else {
        return ready.to_string();
    };
    peer.send(OpCode::Data(Data::Binary), &[6; HALF]);
    while peer.message()["bytes"] != HALF {}
    peer.reset();
    let (mut peer, ready) = begin(&format!("{path}&resume={token}"));
    if ready["from_bytes"] != HALF {
        return ready.to_string();
    }
    peer.send(OpCode::Data(Data::Binary), &[6; HALF]);
    peer.write(&raw::text(r#"{"type":"finalize"}"#))
        .expect("it reads");
    loop {
        let told = said(&mut peer);
        if !told.contains("\"ack\"") {
            return format!("{told} {}", said(&mut peer));
        }
    }
}

fn echoes(gateway: &Gateway, path: &str) -> String {
    let mut peer = upgraded(gateway, path);
    for n in 0..50u8 {
        peer.write(&raw::binary(&[n; 2000])).expect("it reads");
        let frame = peer.frame().expect("it is sent back");
        assert_eq!(frame.payload, [n; 2000]);
    }
    peer.send(OpCode::Control(Control::Close), &1000u16.to_be_bytes());
    format!("echoed {}", said(&mut peer))
}

/// The next thing that the gateway says, without what differs each time.
fn said(peer: &mut Raw) -> String {
    let frame = peer.frame().expect("the gateway says something");
    match frame.close() {
        Some((code, reason)) => format!("{code} {reason}"),
        None => {
            let mut message: Value = serde_json::from_slice(&frame.payload).expect("JSON");
            message
                .as_object_mut()
                .expect("an object")
                .remove("session_id");
            message.to_string()
        }
    }
}
