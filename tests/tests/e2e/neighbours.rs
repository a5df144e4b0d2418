//! The whole contract in one property: no client changes another's outcome.
//!
//! Honest clients are served twice, alone and beside random hostile ones, and
//! have to come to the same: what they are told, and what is kept of what they
//! sent. `SLUICE_SEED=n` plays one seed again.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sluice_tests::client::{handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw, upgrade_request};
use sluice_tests::speech::{Clip, clips, read_wav};
use sluice_tests::{eventually, token};
use socket2::SockRef;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Seeds that are played, and hostile clients at once.
const SEEDS: u64 = 3;
const HOSTILE: u64 = 4;
/// What each of these does at the least, and before the honest clients come.
const ACTS: u32 = 60;
const BEFORE: u32 = 15;

#[test]
fn no_client_changes_what_becomes_of_another() {
    let clips = clips(16);
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
fn gateway() -> Gateway {
    Gateway::start(
        &Config::ingest()
            .set("server", "admin_listen", json!("127.0.0.1:0"))
            .set("decisions", "file", json!("decisions.jsonl"))
            .limit("admission_timeout", "60s")
            .limit("handshake_timeout", "60s")
            .limit("resume_grace", "2s"),
    )
}

/// What becomes of honest clients that come at once, by their names.
fn honest(gateway: &Gateway, clips: &[Clip]) -> BTreeMap<&'static str, String> {
    type Part<'a> = (&'static str, Box<dyn FnOnce() -> String + Send + 'a>);
    let parts: [Part<'_>; 5] = [
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
        ("5 echoes", Box::new(|| echoes(gateway))),
    ];
    std::thread::scope(|scope| {
        let parts = parts.map(|(name, part)| (name, scope.spawn(part)));
        parts
            .map(|(name, part)| (name, part.join().expect("it is served")))
            .into()
    })
}

fn streams(gateway: &Gateway, id: &str, source: &str, clip: &Clip) -> String {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting(id, source, &token::of_user("honest")));
    let mut greeting = handshake();
    for field in ["source", "meeting_id"] {
        greeting.as_object_mut().expect("an object").remove(field);
    }
    peer.write(&raw::text(&greeting.to_string()))
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
    let mut peer = Raw::connect(gateway.address());
    let expired = token::sign(&token::claims_with(json!({"exp": token::now() - 600})));
    peer.upgrade(&meeting("honest-2", "mic", &expired));
    let told = said(&mut peer);
    format!("{told} {}", said(&mut peer))
}

fn telephones(gateway: &Gateway) -> String {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting("honest-3", "mic", &token::of_user("honest")));
    let greeting = json!({"type": "handshake", "sample_rate": 8000, "device_id": "d"});
    peer.write(&raw::text(&greeting.to_string()))
        .expect("it reads");
    let told = said(&mut peer);
    format!("{told} {}", said(&mut peer))
}

fn echoes(gateway: &Gateway) -> String {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade("/echo");
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

/// Somebody who does one bad thing after the other.
struct Hostile {
    gateway: SocketAddr,
    rng: fastrand::Rng,
    /// Who neither reads nor goes.
    held: Vec<TcpStream>,
}

impl Hostile {
    fn new(gateway: SocketAddr, seed: u64) -> Self {
        Self {
            gateway,
            rng: fastrand::Rng::with_seed(seed),
            held: Vec::new(),
        }
    }

    /// What becomes of it is of no interest.
    fn act(&mut self) {
        let name = format!("evil-{}", self.rng.u8(..20));
        // Whoever shares a tenant shares its meetings, and may take them.
        let claims = json!({"user_id": "evil", "tenant_id": "evil"});
        let mine = token::sign(&token::claims_with(claims));
        match self.rng.u8(..16) {
            0 => drop(self.says(&meeting(&name, "mic", "no.token.atall"), "", &[])),
            // Of somebody else's meeting.
            1 => drop(self.says(&meeting("honest-1", "mic", &mine), "", &[])),
            2 => {
                let id = "m".repeat(self.rng.usize(500..3000));
                self.leaves(&meeting(&id, "mic", &mine), "", &handshaken());
            }
            3 => {
                let email = "e".repeat(self.rng.usize(1000..6000));
                let large = json!({"tenant_id": "evil", "email": email});
                let large = token::sign(&token::claims_with(large));
                self.leaves(&meeting(&name, "mic", &large), "", &handshaken());
            }
            4 => {
                let query = "&a".repeat(self.rng.usize(100..5000));
                drop(self.says(&(meeting(&name, "mic", &mine) + &query), "", &handshaken()));
            }
            5 => {
                let cookies =
                    "Cookie: ".to_owned() + &"a-cookie=of-mine; ".repeat(self.rng.usize(1..1500));
                drop(self.says(
                    &meeting(&name, "mic", "none"),
                    &format!("{cookies}\r\n"),
                    &[],
                ));
            }
            // Takes nothing of all that it is sent.
            6 => {
                let flood = raw::binary(&[6; 60_000]).repeat(8);
                let stalled = self.says("/echo", "", &flood);
                self.held.extend(stalled);
                self.held.truncate(8);
            }
            // Breaks off within a message.
            7 => {
                let audio = [handshaken(), raw::binary(&[7; 3200]).repeat(5)].concat();
                self.leaves(
                    &meeting(&name, "mic", &mine),
                    "",
                    &audio[..audio.len() - 100],
                );
            }
            8 => {
                let noise: Vec<u8> = (0..self.rng.usize(1..3000))
                    .map(|_| self.rng.u8(..))
                    .collect();
                let path = meeting(&name, "sys", &mine);
                drop(self.says(&path, "", &noise));
                drop(self.says(&path, "", &[handshaken(), noise.clone()].concat()));
                drop(self.sends(&noise));
            }
            9 => {
                let code = self.rng.u16(..5100).to_be_bytes();
                let close = raw::masked(OpCode::Control(Control::Close), &code);
                drop(self.says(
                    &meeting(&name, "mic", &mine),
                    "",
                    &[handshaken(), close].concat(),
                ));
            }
            10 => {
                let array = format!("[{}0]", "0,".repeat(self.rng.usize(1..60_000)));
                let mut large = handshake();
                large["extra"] = serde_json::from_str(&array).expect("JSON");
                self.leaves(
                    &meeting(&name, "mic", &mine),
                    "",
                    &raw::text(&large.to_string()),
                );
            }
            11 => {
                let deep = raw::text(&"[".repeat(self.rng.usize(1..100_000)));
                drop(self.says(&meeting(&name, "mic", &mine), "", &deep));
            }
            // Never asks for anything.
            12 => {
                let half = self.sends(b"GET /echo HTTP/1.1\r\nHost: ");
                self.held.extend(half);
                self.held.truncate(8);
            }
            // Parks a stream, and comes back with what leads nowhere.
            13 => {
                let mut asking = handshake();
                asking["features"] = json!(["ack", "resume"]);
                let asking = raw::text(&asking.to_string());
                self.leaves(&meeting(&name, "mic", &mine), "", &asking);
                let path = meeting(&name, "mic", &mine) + "&resume=sluice.resume.none";
                drop(self.says(&path, "", &asking));
            }
            14 => (0..10).for_each(|_| drop(self.sends(b""))),
            _ => {
                let part = raw::masked(OpCode::Data(Data::Text), b"\xff\xfe");
                drop(self.says("/echo", "", &part));
            }
        }
    }

    /// Upgrades, and says something, as far as it is let.
    fn says(&self, path: &str, headers: &str, bytes: &[u8]) -> Option<TcpStream> {
        let head = format!("\r\n{headers}\r\n");
        let request = upgrade_request(path).replacen("\r\n\r\n", &head, 1);
        self.sends(&[request.as_bytes(), bytes].concat())
    }

    fn sends(&self, bytes: &[u8]) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(self.gateway).ok()?;
        stream
            .set_write_timeout(Some(Duration::from_millis(200)))
            .ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        stream.write_all(bytes).ok()?;
        Some(stream)
    }

    /// Waits until it is told something behind the 101, and leaves in an odd way.
    fn leaves(&mut self, path: &str, headers: &str, bytes: &[u8]) {
        let Some(mut stream) = self.says(path, headers, bytes) else {
            return;
        };
        let mut heard = Vec::new();
        let mut some = [0; 1024];
        while !String::from_utf8_lossy(&heard).contains('{') {
            match stream.read(&mut some) {
                Ok(read) if read > 0 => heard.extend_from_slice(&some[..read]),
                _ => return,
            }
        }
        match self.rng.u8(..3) {
            0 => drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
            1 => drop(stream.shutdown(std::net::Shutdown::Write)),
            _ => {}
        }
    }
}

fn handshaken() -> Vec<u8> {
    let mut greeting = handshake();
    greeting
        .as_object_mut()
        .expect("an object")
        .remove("meeting_id");
    greeting
        .as_object_mut()
        .expect("an object")
        .remove("source");
    raw::text(&greeting.to_string())
}
