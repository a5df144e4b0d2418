//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

use crate::target::Url;

/// Puts load on a Sluice gateway and measures its CPU time, memory and latency.
///
/// Without a command, runs all of them with their defaults, each against a new gateway. Run `cargo
/// build --release` first. The gateway runs on core 0 and this generator on core 1. Its routes lead
/// through the policies auth, duplicate and sample-rate to the upstream `discard`.
///
/// Each number in the report has its unit. "CPU" is the user and system time of the gateway's
/// process, in steps of 10 ms. It includes one log line for each connection.
#[derive(Debug, Parser)]
#[command(name = "load", version)]
pub struct Cli {
    /// What to measure. Without it, everything
    #[command(subcommand)]
    pub mode: Option<Mode>,

    /// Gateway to start. Without it, `sluice` beside this program
    #[arg(long, global = true, value_name = "FILE")]
    pub gateway: Option<PathBuf>,

    /// Running server to load, instead of a gateway that is started for it:
    /// ws://ADDRESS:PORT[/PATH]. Needs --pid
    ///
    /// `{meeting_id}` in the path is replaced by another meeting for each stream.
    #[arg(long, global = true, value_name = "URL", requires = "pids")]
    pub target: Option<Url>,

    /// Process of the target, whose CPU and memory are measured. Repeat it for a proxy and its
    /// workers: the numbers are added
    #[arg(long = "pid", global = true, value_name = "PID")]
    pub pids: Vec<u32>,

    /// Shared secret (HS256) with which the target verifies tokens. Their `iss` is "our-app" and
    /// their `aud` is "meetings". Without it, a random one, for a gateway that is started here
    #[arg(
        long,
        global = true,
        value_name = "SECRET",
        env = "LOAD_SECRET",
        hide_env_values = true
    )]
    pub secret: Option<String>,

    /// Processor core of the gateway, and that of this generator. On a machine with one core both
    /// share it
    #[arg(long, global = true, value_name = "N,N", default_value = "0,1")]
    pub cores: Pair,

    /// Maximum number of clients that connect at the same time, up to their ack
    #[arg(long, global = true, value_name = "N", default_value_t = 64)]
    pub connecting: usize,

    /// Python of the peer in `admission`, with the packages fastapi, uvicorn, websockets and PyJWT
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "tests/.venv/bin/python"
    )]
    pub python: PathBuf,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Mode {
    /// Streams in real time: CPU, memory and lost frames
    ///
    /// Each stream sends its handshake, waits for the ack, sends audio and a ping every 30 s, and
    /// finalizes. All streams are admitted before the first one sends. A frame counts as lost
    /// unless the target's confirmation (`finalized`) includes its bytes.
    Stream(StreamArgs),
    /// Admitted connections that send nothing: memory of one, from the difference between fewer and
    /// more of them
    Idle(IdleArgs),
    /// Connections that come and go: half of them are refused, half stream briefly and finalize
    ///
    /// Each worker uses its meeting again and again, so a claim that is not released would refuse
    /// its next connection. For a gateway that is started here, the report shows what it still
    /// holds in the end, by its own metrics.
    Churn(ChurnArgs),
    /// Cost of an admission and of a refusal, compared with bare tokio that checks nothing (the floor)
    /// and with an app of `FastAPI` that checks the same
    ///
    /// An admission is a connection with handshake, ack, finalize and Close. A refusal is for an
    /// expired token. The servers run one after the other. A server that is not installed is left
    /// out.
    Admission(AdmissionArgs),
    /// Floor of `admission`: prints its address, and serves until it is killed
    #[command(hide = true)]
    Floor,
    /// WebSocket echo under full load: messages are sent as soon as the earlier ones are back
    ///
    /// To measure another echo server, alone or behind a proxy, give --target and --pid.
    Echo(EchoArgs),
    /// Effect of hostile policies on other streams: the time until a message is back, first
    /// undisturbed, then beside a policy that refuses at once, loops, traps, or fills memory
    Attack(AttackArgs),
    /// Time from the start of the gateway until it listens: cold, when it compiles every component,
    /// and warm, when an earlier start has compiled them
    ///
    /// The gateway may use all cores here.
    Start(StartArgs),
    /// Cost of relaying, compared with nginx, HAProxy and Envoy as plain proxies, with the same clients
    /// and the same backend
    ///
    /// Leaves out `nginx`, `haproxy` or `envoy` if it is not in PATH.
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
    /// Number of streams at the same time
    #[arg(long, value_name = "N", default_value_t = 5000)]
    pub streams: usize,
    /// Frames that each stream sends in a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// Bytes of each frame
    #[arg(long, value_name = "BYTES", default_value_t = 3200)]
    pub size: usize,
    /// How long each stream sends, in seconds
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub seconds: u32,
}

/// `load idle`
#[derive(Debug, Args)]
pub struct IdleArgs {
    /// Two numbers of connections, between which memory is compared
    #[arg(long, value_name = "N,N", default_value = "1000,5000")]
    pub at: Pair,
}

/// `load churn`
#[derive(Debug, Args)]
pub struct ChurnArgs {
    /// Number of connections in all, half of each kind
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub cycles: usize,
    /// Number of connections at the same time
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub workers: usize,
    /// Number of connections before the first measurement
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub warm_up: usize,
}

/// `load admission`
#[derive(Debug, Args)]
pub struct AdmissionArgs {
    /// Numbers of clients at a time, which are measured one after the other
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1,16,256"
    )]
    pub clients: Vec<NonZeroUsize>,
    /// Connections of each kind. Fewer than 16 clients make fewer of them, because each one waits
    /// for the pause before its Close
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub cycles: usize,
}

/// `load echo`
#[derive(Debug, Args)]
pub struct EchoArgs {
    /// Number of connections at the same time
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub connections: usize,
    /// Bytes of each message
    #[arg(long, value_name = "BYTES", default_value_t = 640)]
    pub size: usize,
    /// Number of messages that each connection sends at once and waits for
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub in_flight: usize,
    /// How long to measure, in seconds
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub seconds: u32,
}

/// `load attack`
#[derive(Debug, Args)]
pub struct AttackArgs {
    /// Number of harmless connections, each of which sends a message every 20 ms
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub neighbours: usize,
    /// Number of clients that connect to a hostile policy, again as soon as they are refused
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub attackers: usize,
    /// How long to measure without an attack, and under each attack, in seconds
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub seconds: u32,
}

/// `load start`
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Number of warm starts
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub starts: u32,
    /// TOML file with further sections of policies for the configuration. Paths of their components
    /// must be absolute
    #[arg(long, value_name = "FILE")]
    pub more: Option<PathBuf>,
}

/// `load relay`
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// Number of streams in real time
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub streams: usize,
    /// Frames that each of them sends in a second
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// Bytes of each frame
    #[arg(long, value_name = "BYTES", default_value_t = 3200)]
    pub size: usize,
    /// Number of connections under full load
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub connections: usize,
    /// Bytes of each message under full load
    #[arg(long, value_name = "BYTES", default_value_t = 640)]
    pub saturated_size: usize,
    /// Two numbers of idle sessions, between which memory is compared
    #[arg(long, value_name = "N,N", default_value = "200,1000")]
    pub idle: Pair,
    /// How long each measurement takes, in seconds
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
