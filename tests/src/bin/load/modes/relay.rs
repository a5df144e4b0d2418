//! Cost of relaying, compared with other proxies: the same clients and the same backend, one proxy
//! after the other.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cli::{Cli, Pair, RelayArgs};
use crate::client::Client;
use crate::frames::{Data, OpCode, frame};
use crate::gateway::Home;
use crate::ingest::HANDSHAKE;
use crate::process::Usage;
use crate::proxy::{Kind, Proxy};
use crate::report::{Latencies, Rows, as_float, as_float_signed};
use crate::{machine, token};

/// Pause between the last connection and the first measurement.
const BREATH: Duration = Duration::from_millis(500);
/// Maximum time for memory to settle.
const SETTLE: Duration = Duration::from_secs(2);
/// Number of messages of a saturated connection in one write, where several share a wake-up.
const PIPELINED: usize = 16;

/// Measurements of one proxy.
struct Measured {
    /// Microseconds of CPU for a frame there and back: of streams in real time, and saturated, with
    /// one message in flight on each connection and with several.
    paced: f64,
    one_in_flight: f64,
    pipelined: f64,
    round_trips: Latencies,
    /// Bytes for each idle session.
    memory: i64,
}

/// Measures all of them.
pub async fn run(cli: &Cli, args: &RelayArgs) -> anyhow::Result<Rows> {
    let Pair(proxy_core, own_core) = cli.cores;
    let secret = token::fresh_secret()?;
    machine::pin(own_core);
    let home = Home::new(cli.gateway.as_deref(), &secret, "")?;
    let backend = home.start().await?;
    let mut table = Vec::new();
    for kind in Kind::ALL {
        machine::pin(proxy_core);
        let program = cli.gateway.as_deref();
        let proxy = Proxy::start(kind, program, &secret, backend.address()).await?;
        machine::pin(own_core);
        let Some(proxy) = proxy else {
            eprintln!("{} is not installed, and is left out", kind.name());
            continue;
        };
        let bench = Bench {
            kind,
            proxy,
            token: token::good(&secret, 1)?,
        };
        table.push((kind, bench.measure(args).await.context(kind.name())?));
    }
    Ok(rows(table))
}

fn rows(table: Vec<(Kind, Measured)>) -> Rows {
    let best = |of: fn(&Measured) -> f64| {
        let others = table.iter();
        let others =
            others.filter(|(kind, _)| matches!(kind, Kind::Nginx | Kind::Haproxy | Kind::Envoy));
        others
            .map(|(_, measured)| of(measured))
            .fold(f64::INFINITY, f64::min)
    };
    let paced = best(|measured| measured.paced);
    let one_in_flight = best(|measured| measured.one_in_flight);
    let pipelined = best(|measured| measured.pipelined);
    let mut rows = Rows::default();
    for (kind, mut measured) in table {
        let name = kind.name();
        rows.add(
            format!("{name}: round trip"),
            measured.round_trips.summary(),
        );
        if kind == Kind::Direct {
            continue;
        }
        let cost = |micros: f64, best: f64| {
            let beside = if kind == Kind::Sluice && best.is_finite() {
                format!(", {:.2} times the best of the others", micros / best)
            } else {
                String::new()
            };
            format!(
                "{micros:.1} µs, {:.0} in a second of CPU{beside}",
                1e6 / micros
            )
        };
        rows.add(
            format!("{name}: an echoed frame, paced"),
            cost(measured.paced, paced),
        );
        rows.add(
            format!("{name}: an echoed frame, saturated, one in flight"),
            cost(measured.one_in_flight, one_in_flight),
        );
        rows.add(
            format!("{name}: an echoed frame, saturated, {PIPELINED} in flight"),
            cost(measured.pipelined, pipelined),
        );
        let kib = as_float_signed(measured.memory) / 1024.0;
        rows.add(
            format!("{name}: memory of an idle session"),
            format!("{kib:.1} KiB"),
        );
    }
    rows
}

struct Bench {
    kind: Kind,
    proxy: Proxy,
    token: String,
}

impl Bench {
    async fn measure(&self, args: &RelayArgs) -> anyhow::Result<Measured> {
        let (paced, round_trips) = self.paced(args).await?;
        let one_in_flight = self.saturated(args, 1).await?;
        let pipelined = self.saturated(args, PIPELINED).await?;
        let memory = self.memory(args).await?;
        Ok(Measured {
            paced,
            one_in_flight,
            pipelined,
            round_trips,
            memory,
        })
    }

    /// Connections that are admitted, each with a meeting of its own.
    async fn open(&self, from: usize, to: usize) -> anyhow::Result<Vec<Client>> {
        let mut clients = Vec::new();
        for number in from..to {
            let path = match self.kind {
                Kind::Sluice => format!("/ws/ingest/meetings/{}-{number}", std::process::id()),
                Kind::Direct | Kind::Nginx | Kind::Haproxy | Kind::Envoy => "/echo".to_owned(),
            };
            let token = (self.kind == Kind::Sluice).then_some(self.token.as_str());
            let mut client = Client::connect(self.proxy.address, &path, token, number).await?;
            if self.kind == Kind::Sluice {
                client
                    .send(&frame(OpCode::Data(Data::Text), HANDSHAKE.as_bytes()))
                    .await?;
                // The ack, and the handshake, which the backend sends back.
                client.count(2).await?;
            }
            clients.push(client);
        }
        Ok(clients)
    }

    /// Streams in real time: what a frame costs, and how long it is away.
    async fn paced(&self, args: &RelayArgs) -> anyhow::Result<(f64, Latencies)> {
        let message: Arc<[u8]> = frame(OpCode::Data(Data::Binary), &vec![0x5a; args.size]).into();
        let clients = self.open(0, args.streams).await?;
        sleep(BREATH).await;
        let every = Duration::from_secs(1) / args.rate;
        let frames = args.rate * args.seconds;
        let start = Instant::now() + every;
        let count = u32::try_from(args.streams.max(1))?;
        let mut streaming = JoinSet::new();
        let before = self.proxy.usage()?;
        for (place, mut client) in (0_u32..).zip(clients) {
            let message = Arc::clone(&message);
            // They are spread over the time between two frames.
            let mut due = start + every * place / count;
            streaming.spawn(async move {
                let mut round_trips = Vec::new();
                for _ in 0..frames {
                    sleep_until(due).await;
                    let sent = Instant::now();
                    client.send(&message).await?;
                    client.count(1).await?;
                    round_trips.push(sent.elapsed());
                    due += every;
                }
                anyhow::Ok((client, round_trips))
            });
        }
        let (mut latencies, mut echoed, mut done) = (Latencies::default(), 0, Vec::new());
        while let Some(ended) = streaming.join_next().await {
            let (client, round_trips) = ended.context("a client panicked")??;
            echoed += round_trips.len() as u64;
            round_trips.into_iter().for_each(|each| latencies.add(each));
            // What it costs that they go is not what is measured.
            done.push(client);
        }
        let used = self.proxy.usage()? - before;
        Ok((micros(used, echoed), latencies))
    }

    /// As fast as it goes, with so many messages of each connection in one write.
    async fn saturated(&self, args: &RelayArgs, in_flight: usize) -> anyhow::Result<f64> {
        let message = frame(OpCode::Data(Data::Binary), &vec![0x5a; args.saturated_size]);
        let batch: Arc<[u8]> = message.repeat(in_flight).into();
        let first = 10_000 * in_flight;
        let clients = self.open(first, first + args.connections).await?;
        let mut echoing = JoinSet::new();
        let before = self.proxy.usage()?;
        let end = Instant::now() + Duration::from_secs(args.seconds.into());
        for mut client in clients {
            let batch = Arc::clone(&batch);
            echoing.spawn(async move {
                let mut echoed = 0;
                while Instant::now() < end {
                    client.send(&batch).await?;
                    client.count(in_flight).await?;
                    echoed += in_flight as u64;
                }
                anyhow::Ok((client, echoed))
            });
        }
        let (mut echoed, mut done) = (0, Vec::new());
        while let Some(ended) = echoing.join_next().await {
            let (client, count) = ended.context("a client panicked")??;
            echoed += count;
            done.push(client);
        }
        Ok(micros(self.proxy.usage()? - before, echoed))
    }

    /// The slope between some idle sessions and more.
    async fn memory(&self, args: &RelayArgs) -> anyhow::Result<i64> {
        let Pair(fewer, more) = args.idle;
        let _some = self.open(200_000, 200_000 + fewer).await?;
        sleep(SETTLE).await;
        let before = self.proxy.usage()?;
        let _more = self
            .open(200_000 + fewer, 200_000 + more.max(fewer))
            .await?;
        sleep(SETTLE).await;
        let used = self.proxy.usage()? - before;
        Ok(used.rss / i64::try_from(more.saturating_sub(fewer).max(1))?)
    }
}

fn micros(used: Usage, frames: u64) -> f64 {
    used.cpu.as_secs_f64() * 1e6 / as_float(frames.max(1))
}
