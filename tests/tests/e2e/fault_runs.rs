//! Hundreds of streams over lines that break at places that nobody chose.
//!
//! Each run has a seed, which says what befalls the line of the client and that
//! of the backend, and when. `SLUICE_FAULT_RUNS=5000` makes more of them, and
//! `SLUICE_FAULT_SEED=42` plays one.

use std::ops::Range;
use std::sync::Mutex;

use serde_json::{Value, json};
use sluice_tests::backend::{Backend, relaying, sha256};
use sluice_tests::client::Library;
use sluice_tests::config::Config;
use sluice_tests::eventually;
use sluice_tests::gateway::Gateway;
use sluice_tests::proxy::{Fault, Proxy};
use sluice_tests::speech::{self, read_wav};

mod client;
mod plan;

use client::{Client, End};
use plan::Plan;

/// Runs at once: most of their time is spent waiting.
const WORKERS: usize = 6;

/// One gateway, its backend, and the lines to both.
struct World {
    gateway: Gateway,
    backend: Backend,
    client_line: Proxy,
    backend_line: Proxy,
}

impl World {
    fn new(change: impl FnOnce(Config) -> Config) -> Self {
        let backend = Backend::start(Library::Ws);
        let backend_line = Proxy::start(backend.address());
        let config = relaying(backend_line.address()).limit("settle", "1ms");
        let gateway = Gateway::start(&change(config));
        Self {
            client_line: Proxy::start(gateway.address()),
            backend_line,
            backend,
            gateway,
        }
    }

    /// Both lines are in order.
    fn mended(&self) -> &Self {
        self.client_line.set(Fault::None);
        self.backend_line.set(Fault::None);
        self
    }
}

fn seeds() -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    match number("SLUICE_FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SLUICE_FAULT_RUNS").unwrap_or(300),
    }
}

/// Plays every seed once, each in a world that may have seen others.
fn play(new: impl Fn() -> World + Sync, run: impl Fn(&World, u64) + Sync) {
    let next = Mutex::new(seeds());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut world = None;
                loop {
                    let Some(seed) = next.lock().unwrap().next() else {
                        return;
                    };
                    let world = world.get_or_insert_with(&new).mended();
                    let failed =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(world, seed)));
                    if let Err(panic) = failed {
                        eprintln!("play it again with SLUICE_FAULT_SEED={seed}");
                        std::panic::resume_unwind(panic);
                    }
                }
            });
        }
    });
}

/// How the backend's last connection for a session ended, once it did.
fn ended(world: &World, meeting: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    eventually("the end of the stream at its backend", || {
        let ends = world.backend.events("end");
        let of_meeting = |end: &&Value| {
            end["path"]
                .as_str()
                .is_some_and(|path| path.contains(meeting))
        };
        ends.iter()
            .filter(of_meeting)
            .find(|end| is_it(end))
            .cloned()
    })
}

#[test]
fn streams_that_are_held_and_resumed_arrive_byte_for_byte() {
    let clip = speech::long_clip();
    let digest = sha256(&clip.pcm);
    let new = || {
        World::new(|config| {
            config
                .set("upstreams.recordings", "on_loss", json!("hold"))
                .set("upstreams.recordings", "receipts", json!("confirmed"))
        })
    };
    play(new, |world, seed| {
        let meeting = format!("resumed-{seed}-");
        let plan = Plan::of(seed, clip.pcm.len());
        let mut client = Client::new(&world.client_line, &meeting, "confirm");
        client.stream_through(&clip.pcm, plan, |fault| {
            fault.befall(&world.client_line, &world.backend_line)
        });
        let end = ended(world, &meeting, |end| end["reason"] == "finalized");
        assert_eq!(
            (&end["bytes"], &end["sha256"]),
            (&json!(clip.pcm.len()), &json!(digest)),
            "seed {seed}"
        );
    });
}

#[test]
fn plain_streams_arrive_as_far_as_they_came_and_everybody_is_told_why() {
    let clip = speech::long_clip();
    play(
        || World::new(|config| config),
        |world, seed| {
            let meeting = format!("plain-{seed}-");
            let plan = Plan::of(seed, clip.pcm.len());
            let mut client = Client::new(&world.client_line, &meeting, "");
            let Some((session, end)) = client.stream_once(&clip.pcm, plan, |fault| {
                fault.befall(&world.client_line, &world.backend_line);
            }) else {
                // It broke before there was a stream.
                return;
            };
            let at_backend = ended(world, &meeting, |_| true);
            let bytes = usize::try_from(at_backend["bytes"].as_u64().unwrap()).unwrap();
            assert_eq!(
                at_backend["sha256"],
                sha256(&clip.pcm[..bytes]),
                "seed {seed}: it is no prefix"
            );
            let entry = world.gateway.connection_log(&session);
            let cause = entry["cause"].as_str().unwrap_or_default();
            match end {
                End::Finalized => {
                    assert_eq!((cause, bytes), ("finalized", clip.pcm.len()), "seed {seed}")
                }
                End::Refused(frame) => {
                    assert_eq!(
                        (&frame["code"], cause),
                        (&json!("upstream_unavailable"), "upstream_unavailable"),
                        "seed {seed}"
                    );
                    assert!(!frame["message"].as_str().unwrap().is_empty());
                }
                // Its line is gone: it cannot be told, and the log says why. The
                // backend is, if its own line is not gone as well.
                End::Gone => {
                    assert!(
                        ["eof", "gone", "upstream_unavailable", "finalized"].contains(&cause),
                        "seed {seed}: {entry}"
                    );
                    if at_backend["code"] != 1006 {
                        assert!(
                            !at_backend["reason"].as_str().unwrap().is_empty(),
                            "seed {seed}: {at_backend}"
                        );
                    }
                }
            }
        },
    );
}

#[test]
fn what_is_acknowledged_is_in_the_recording_whenever_the_gateway_is_killed() {
    let clip = speech::long_clip();
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut gateway = Gateway::start(&Config::ingest());
        let line = Proxy::start(gateway.address());
        let mut client = Client::new(&line, &format!("killed-{seed}-"), "");
        let acked = client.stream_until(&clip.pcm, random.usize(1..clip.pcm.len()), || {
            gateway.kill()
        });
        let recordings = gateway.recordings();
        let Some(recording) = recordings.first() else {
            assert_eq!(acked, 0, "seed {seed}");
            continue;
        };
        let (_, kept) = read_wav(recording);
        assert!(
            kept.len() as u64 >= acked && clip.pcm.starts_with(&kept),
            "seed {seed}: {} of {acked}",
            kept.len()
        );
    }
}
