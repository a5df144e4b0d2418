//! Histories of gateways that share three servers, each made from a seed.
//!
//! The servers, the claims and the chains of streams are real. A gateway is a process without sockets
//! and policies. Servers and gateways are killed and stand still, and the network between them fails.
//! Then a model judges what the gateways said, and what the servers have kept.
//!
//! `SLUICE_HISTORY_RUNS=n` says how many histories are played, `SLUICE_HISTORY_SEED=n` plays one and
//! prints what happened. The README beside this file says more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a history that cannot be set up has failed"
)]

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cluster::reader::{Read, ReadError, Reader};
use cluster::record::Fin;
use cluster::space::{Kind, Space};
use cluster::{Cluster, Place};
use serde_json::Value;
use sluice_tests::nats;
use sluice_tests::proxy::Proxy;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};

use gateway::Log;
use history::Ways;
use model::{Counts, Stream, Writer};
use product::Product;
use said::Nanos;
use schedule::{BATCH, lasts, outage, steps};
use servers::{Outages, Servers};

mod gateway;
mod history;
mod model;
mod node;
mod product;
mod said;
mod schedule;
mod servers;

/// Stream of `JetStream` with the chains.
const SPACE: &str = "HISTORIES";
/// First argument of a process that is a gateway.
const GATEWAY: &str = "gateway";
/// Number of histories.
const RUNS: u64 = 20;
/// Number of histories that come to everything that is to be put to the test.
const MANY: u64 = 100;
/// Time from the first step of a batch until something happens to the servers.
const BEFORE: Duration = Duration::from_secs(3);
/// Time limit for what must become true once nothing happens any more.
const PATIENCE: Duration = Duration::from_mins(2);

/// What became of a history.
struct Played {
    seed: u64,
    faults: Vec<String>,
    counts: Counts,
    log: Arc<Log>,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [first, name, urls @ ..] if first == GATEWAY => node::serve(name, urls),
        [filter, ..] if !filter.starts_with('-') && !"histories".contains(&**filter) => {}
        _ => return run(),
    }
    ExitCode::SUCCESS
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} must be a number, not {value:?}")))
}

fn run() -> ExitCode {
    let only = number("SLUICE_HISTORY_SEED");
    let runs = number("SLUICE_HISTORY_RUNS").unwrap_or(RUNS);
    let seeds: Vec<_> = only.map_or_else(|| (0..runs).collect(), |seed| vec![seed]);
    let mut servers = Servers::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = nats::client(&servers.urls());
    let ways: [Ways; BATCH as usize] =
        std::array::from_fn(|_| std::array::from_fn(|_| servers.addresses().map(Proxy::start)));
    runtime.block_on(are_ready(&cluster));
    let product = Product::start(servers.urls());
    let mut played = Vec::new();
    for batch in seeds.chunk_by(|one, other| one / BATCH == other / BATCH) {
        runtime.block_on(are_ready(&cluster));
        played.extend(play(
            batch,
            &mut servers,
            &product,
            &ways,
            &runtime,
            &cluster,
        ));
    }
    let failed: Vec<_> = played.iter().filter(|it| !it.faults.is_empty()).collect();
    let total = played
        .iter()
        .fold(Counts::default(), |total, it| total.and(&it.counts));
    println!("{} histories: {total:?}", played.len());
    if let Some(first) = failed.first().or(only.and(played.first()).as_ref()) {
        print(first);
    }
    for it in &failed {
        println!("seed {}:\n    {}", it.seed, it.faults.join("\n    "));
    }
    // A promise that was never put to the test is not kept. A few histories may not come to all.
    let missing = match runs >= MANY && only.is_none() {
        true => total.missing(),
        false => Vec::new(),
    };
    match (failed.first(), missing.is_empty()) {
        (None, true) => ExitCode::SUCCESS,
        (None, false) => {
            println!("no history came to these: {}", missing.join(", "));
            ExitCode::FAILURE
        }
        (Some(first), _) => {
            println!(
                "{} of {} histories broke the promise; the first again: \
                 SLUICE_HISTORY_SEED={} cargo test --workspace --test histories",
                failed.len(),
                played.len(),
                first.seed
            );
            ExitCode::FAILURE
        }
    }
}

/// Plays histories side by side, with one outage of the servers.
fn play(
    seeds: &[u64],
    servers: &mut Servers,
    product: &Product,
    ways: &[Ways],
    runtime: &Runtime,
    cluster: &Cluster,
) -> Vec<Played> {
    let nonce = fastrand::u64(..);
    let outages = &Outages::default();
    let (seen, of_product): (Vec<_>, _) = std::thread::scope(|scope| {
        let real = scope.spawn(move || {
            let lasts = Duration::from_millis(lasts(seeds[0]));
            product.play(&format!("{nonce:x}"), lasts)
        });
        let playing: Vec<_> = seeds
            .iter()
            .zip(ways)
            .map(|(seed, ways)| {
                scope.spawn(move || {
                    let log = Arc::default();
                    let playing = AssertUnwindSafe(|| history::play(*seed, nonce, ways, &log));
                    let seen = std::panic::catch_unwind(playing);
                    let seen =
                        seen.unwrap_or_else(|_| Err("the history itself panicked".to_owned()));
                    (*seed, seen, log)
                })
            })
            .collect();
        std::thread::sleep(BEFORE);
        let (what, lasts) = outage(seeds[0]);
        servers.suffer(what, lasts, outages);
        let seen = playing.into_iter().map(|it| it.join().unwrap()).collect();
        let panicked = |_| vec!["the client panicked".to_owned()];
        (seen, real.join().unwrap_or_else(panicked))
    });
    let judging = seen.into_iter().map(|(seed, seen, log)| {
        let outages = outages.all();
        async move {
            let mut faults = Vec::new();
            let mut counts = Counts::default();
            match seen {
                Err(why) => faults.push(why),
                Ok(seen) => {
                    faults = model::judge_claims(&seen, &outages);
                    match timeout(PATIENCE, read(cluster, &seen.place)).await {
                        Ok(Ok(stream)) => {
                            faults.extend(model::judge_stream(&seen, &stream));
                            counts = model::count(&seen, &stream, &outages);
                        }
                        Ok(Err(error)) => faults.push(format!("its stream: {error}")),
                        Err(_) => faults.push("its stream cannot be read".to_owned()),
                    }
                }
            }
            Played {
                seed,
                faults,
                counts,
                log,
            }
        }
    });
    let mut played = runtime.block_on(futures_util::future::join_all(judging));
    if let Some(first) = played.first_mut() {
        let of_product = of_product.into_iter();
        let of_product = of_product.map(|fault| format!("with whole gateways: {fault}"));
        first.faults.extend(of_product);
    }
    played
}

/// Waits until the servers keep what is written.
async fn are_ready(cluster: &Cluster) {
    let space = Space {
        kind: Kind::Chains,
        name: SPACE.to_owned(),
        subjects: "histories.>".to_owned(),
        max_bytes: 1 << 30,
        max_age: Duration::from_hours(1),
    };
    let place = Place {
        space: SPACE.to_owned(),
        subject: format!("histories.ready.{:x}", fastrand::u64(..)),
    };
    let ready = async {
        while cluster.ensure(&space).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        let chain = cluster::chain::Chain::begin(cluster.clone(), place, "{}".to_owned());
        chain.await.map(drop)
    };
    timeout(PATIENCE, ready)
        .await
        .expect("the servers are ready")
        .unwrap();
}

/// Reads a stream by the reference reader.
async fn read(cluster: &Cluster, place: &Place) -> Result<Stream, ReadError> {
    let mut reader = Reader::new(cluster.clone(), place.clone());
    let mut stream = Stream::default();
    loop {
        match reader.next().await {
            Ok(Some(Read::Writer { about, .. })) => {
                let about: Value = serde_json::from_str(&about).unwrap();
                let generation = about["generation"].as_u64().unwrap();
                stream.writers.push(Writer {
                    generation: generation.try_into().unwrap(),
                    from: reader.bytes(),
                    bytes: Vec::new(),
                });
            }
            Ok(Some(Read::Bytes(bytes))) => {
                let writer = stream
                    .writers
                    .last_mut()
                    .expect("the reader has seen a fence");
                writer.bytes.extend_from_slice(&bytes);
            }
            Ok(Some(Read::End { fin, bytes })) => {
                assert_eq!(fin, Fin::Complete);
                stream.end = Some(bytes);
                return Ok(stream);
            }
            Ok(None) | Err(ReadError::Away(_)) => sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(error),
        }
    }
}

/// Prints what was to happen in a history, and what its gateways said of it.
fn print(played: &Played) {
    println!(
        "seed {}: {:?}, {} ms",
        played.seed,
        outage(played.seed),
        lasts(played.seed)
    );
    for (at, step) in steps(played.seed) {
        println!("{at:>8} ms  {step:?}");
    }
    let said = played.log.all();
    let first = said
        .iter()
        .map(|(_, event)| event.at)
        .min()
        .unwrap_or_default();
    for (name, event) in said.iter().filter(|(_, event)| is_told(&event.what)) {
        let name = name.rsplit('-').next().unwrap_or_default();
        println!(
            "{:>8} ms  {name}  {:?}",
            (event.at - first) / MS,
            event.what
        );
    }
}

const MS: Nanos = 1_000_000;

/// Whether it is printed: acks and leases are many.
fn is_told(what: &said::What) -> bool {
    !matches!(what, said::What::Acked { .. } | said::What::Term { .. })
}
