//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

use crate::target::Url;

/// Puts load on a Sluice gateway and reports what it costs.
///
/// Without a mode, runs all of them with their defaults, each against a
/// gateway of its own: the release binary on core 0, this generator on core 1,
/// with routes through the policies auth, duplicate and sample-rate into the
/// upstream `discard`. Start with `cargo build --release`.
///
/// Every number has its unit. "CPU" is user and system time of the gateway's
/// process, to 10 ms in all; it includes the gateway's own log line for each
/// connection.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
pub struct Cli {
    /// What to do; everything if it is left out
    #[command(subcommand)]
    pub mode: Option<Mode>,

    /// The gateway to start [default: `sluice` beside this program]
    #[arg(long, global = true, value_name = "FILE")]
    pub gateway: Option<PathBuf>,

    /// Load a server that runs already, instead of starting one:
    /// ws://ADDRESS:PORT[/PATH]
    ///
    /// In a path, `{meeting_id}` stands for a meeting of each stream's own.
    #[arg(long, global = true, value_name = "URL", requires = "pids")]
    pub target: Option<Url>,

    /// A process whose CPU and memory count as the target's; several add up,
    /// as those of a proxy and its workers do
    #[arg(long = "pid", global = true, value_name = "PID")]
    pub pids: Vec<u32>,

    /// The secret (HS256) that the target verifies tokens with; `iss` is
    /// "our-app" and `aud` is "meetings" [default: a fresh one, for a gateway
    /// that is started here]
    #[arg(
        long,
        global = true,
        value_name = "SECRET",
        env = "LOAD_SECRET",
        hide_env_values = true
    )]
    pub secret: Option<String>,

    /// The core for the gateway and the core for this generator; a machine
    /// with one core runs both on it
    #[arg(long, global = true, value_name = "N,N", default_value = "0,1")]
    pub cores: Pair,

    /// Clients that may be between their connect and their ack at once
    #[arg(long, global = true, value_name = "N", default_value_t = 64)]
    pub connecting: usize,

    /// The Python of the peer in `admission`: it needs fastapi, uvicorn,
    /// websockets and PyJWT
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "tests/.venv/bin/python"
    )]
    pub python: PathBuf,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Real-time streams: handshake, ack, audio at a pace, a ping each 30 s,
    /// finalize
    ///
    /// All streams are admitted first, as fast as the target goes; then all of
    /// them send. A frame counts as lost unless the target's confirmation
    /// (`finalized`) accounts for its bytes.
    Stream(StreamArgs),
    /// Admitted connections that say nothing: memory of each, as a slope
    /// between two numbers of them
    Idle(IdleArgs),
    /// Connections that come and go: half of them are refused, half stream
    /// briefly and finalize
    ///
    /// Each worker has one meeting, which it uses again and again: a claim
    /// that was not released would refuse its next connection. What the target
    /// holds when all of them have gone is shown too, by its own metrics, where
    /// it was started here.
    Churn(ChurnArgs),
    /// What an admission and a refusal cost, beside bare tokio without checks
    /// (the floor) and an app of `FastAPI` with the same checks
    ///
    /// An admission is a connect, the handshake, its ack, finalize and the
    /// Close. A refusal is for a token that has expired. The servers are
    /// measured one after the other; what is not installed is left out.
    Admission(AdmissionArgs),
    /// The floor of `admission`: prints its address, and serves until it is
    /// killed
    #[command(hide = true)]
    Floor,
    /// A saturated WebSocket echo: messages as fast as they come back
    ///
    /// Works with any echo server, directly or behind a proxy: give --target
    /// and the --pid of what is measured.
    Echo(EchoArgs),
    /// What a stream notices of policies that mean harm: the time that a message
    /// takes to come back, in peace and while others are decided about by one that
    /// refuses at once, loops, traps, or fills memory
    Attack(AttackArgs),
    /// How long the gateway takes from its start until it listens: cold, when
    /// every component is to be compiled, and warm, when an earlier start has
    /// kept what it compiled
    ///
    /// It has all cores, unlike in the other modes.
    Start(StartArgs),
    /// What relaying costs, beside nginx and HAProxy as plain proxies: the same
    /// clients and the same echoing backend, one proxy after the other
    ///
    /// Needs `nginx` and `haproxy` in PATH, and leaves out what is not there.
    Relay(RelayArgs),
}

/// Two numbers with a comma between them.
#[derive(Debug, Clone, Copy)]
pub struct Pair(pub usize, pub usize);

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text
            .split_once(',')
            .and_then(|(first, second)| Some(Self(first.parse().ok()?, second.parse().ok()?)));
        numbers.ok_or("it must be two numbers with a comma between them")
    }
}

/// `load stream`
#[derive(Debug, Args)]
pub struct StreamArgs {
    /// Streams at once
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub streams: usize,
    /// Frames of each stream in a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// Bytes of each frame
    #[arg(long, value_name = "BYTES", default_value_t = 3200)]
    pub size: usize,
    /// How long each stream sends
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub seconds: u32,
}

/// `load idle`
#[derive(Debug, Args)]
pub struct IdleArgs {
    /// The fewer and the more connections between which memory is compared
    #[arg(long, value_name = "N,N", default_value = "1000,5000")]
    pub at: Pair,
}

/// `load churn`
#[derive(Debug, Args)]
pub struct ChurnArgs {
    /// Connections in all, half of each kind
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub cycles: usize,
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub workers: usize,
    /// Connections before the first measurement
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub warm_up: usize,
}

/// `load admission`
#[derive(Debug, Args)]
pub struct AdmissionArgs {
    /// Clients at once; several numbers with commas are measured one after the
    /// other
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1,16,256"
    )]
    pub clients: Vec<NonZeroUsize>,
    /// Connections of each kind; fewer clients than 16 make as many fewer, as
    /// each cycle waits for the pause before the Close
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub cycles: usize,
}

/// `load echo`
#[derive(Debug, Args)]
pub struct EchoArgs {
    /// Connections at once
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub connections: usize,
    /// Bytes of each message
    #[arg(long, value_name = "BYTES", default_value_t = 640)]
    pub size: usize,
    /// Messages of each connection on their way at once, in one write
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub in_flight: usize,
    /// How long
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub seconds: u32,
}

/// `load attack`
#[derive(Debug, Args)]
pub struct AttackArgs {
    /// Connections that send a message each 20 ms
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub neighbours: usize,
    /// Clients that come back to a policy that means harm as soon as they are
    /// sent away
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub attackers: usize,
    /// How long in peace, and how long under each attack
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub seconds: u32,
}

/// `load start`
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Starts of which the warm figure is made
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub starts: u32,
    /// More of the configuration, in TOML: sections of policies, with absolute
    /// paths to their components
    #[arg(long, value_name = "FILE")]
    pub more: Option<PathBuf>,
}

/// `load relay`
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// Streams in real time
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub streams: usize,
    /// Frames of each of them in a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// Bytes of each frame
    #[arg(long, value_name = "BYTES", default_value_t = 3200)]
    pub size: usize,
    /// Connections that send as fast as it comes back
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub connections: usize,
    /// Bytes of each message of theirs
    #[arg(long, value_name = "BYTES", default_value_t = 640)]
    pub saturated_size: usize,
    /// The fewer and the more idle sessions between which memory is compared
    #[arg(long, value_name = "N,N", default_value = "200,1000")]
    pub idle: Pair,
    /// How long each measurement takes
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub seconds: u32,
}

impl Mode {
    /// Every mode with its defaults.
    pub fn all() -> Vec<Self> {
        // The others move to a core of their own, and what starts later with them.
        [
            "start",
            "stream",
            "idle",
            "churn",
            "admission",
            "echo",
            "attack",
            "relay",
        ]
        .iter()
        .filter_map(|mode| Cli::parse_from(["load", mode]).mode)
        .collect()
    }

    /// A title for the report.
    pub fn describe(&self) -> String {
        match self {
            Self::Stream(args) => format!(
                "stream: {} streams, {} frames/s of {} bytes, {} s",
                args.streams, args.rate, args.size, args.seconds
            ),
            Self::Idle(args) => format!("idle: {} and {} connections", args.at.0, args.at.1),
            Self::Churn(args) => format!(
                "churn: {} connections, {} at once",
                args.cycles, args.workers
            ),
            Self::Admission(args) => format!(
                "admission: CPU of a connection, {} of each kind",
                args.cycles
            ),
            Self::Floor => "floor".to_owned(),
            Self::Echo(args) => format!(
                "echo: {} connections, {} messages of {} bytes in flight on each, {} s",
                args.connections, args.in_flight, args.size, args.seconds
            ),
            Self::Attack(args) => format!(
                "attack: {} neighbours, {} clients of each policy that means harm, {} s each and as long in peace",
                args.neighbours, args.attackers, args.seconds
            ),
            Self::Start(args) => format!("start: cold once, warm {} times", args.starts),
            Self::Relay(args) => format!(
                "relay: {} streams, {} frames/s of {} bytes; {} connections, {} bytes; {} s each",
                args.streams,
                args.rate,
                args.size,
                args.connections,
                args.saturated_size,
                args.seconds
            ),
        }
    }
}
