//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use crate::ask;
use base::units;
use policy::compile::{self, Priority};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Sluice: a WebSocket gateway whose admission policy is WebAssembly.
///
/// Clients open a WebSocket and stream audio. Policies, which are WebAssembly components, decide
/// which clients are admitted. The gateway tells a refused client why, in a message and a close
/// code.
#[derive(Debug, Parser)]
#[command(
    version,
    styles = STYLES,
    after_help = "\
First steps:
  sluice serve                        start with the built-in configuration
  sluice token                        make a token for development
  sluice stream speech.wav --url ws://127.0.0.1:8080/ws/ingest/meetings/demo
                                      stream a recording (token in SLUICE_TOKEN)

`sluice COMMAND --help` explains a command and its options."
)]
pub struct Cli {
    /// Command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// Command to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until it is told to stop.
    ///
    /// At the first SIGINT (Ctrl-C), SIGTERM or SIGQUIT the gateway accepts nothing new, and live
    /// streams may finish within `drain_timeout` of the configuration (default: 30s). At the second
    /// one it stops at once. SIGHUP reloads the configuration. SIGUSR1 reopens the file of the
    /// decision record, for log rotation.
    Serve(ServeArgs),
    /// Check the configuration: read it, load every policy, and report all mistakes.
    ///
    /// Exit status: 0 if `serve` would start with this configuration, 1 if it would not.
    Check(CheckArgs),
    /// Look at the configuration: its schema, and what a reload would change.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make a token for development, and print only the token.
    ///
    /// The token is signed with a key set of the configuration that has a shared secret or a
    /// generated key. A generated key that does not exist yet is made. Issuer and audience are the
    /// first ones that the key set accepts.
    #[command(after_help = "\
Example:
  export SLUICE_TOKEN=$(sluice token --user alice --meeting demo --expires 8h)")]
    Token(TokenArgs),
    /// Stream a WAV file to a gateway, as a client would.
    ///
    /// Sends the handshake with the file's sample rate and channels, streams the audio at the speed
    /// of speech, and finishes. Prints the session id, and in the end the number of bytes that the
    /// gateway has received.
    ///
    /// If the connection is lost, or a refusal may be temporary, the command connects again and
    /// resumes the stream where it was cut. If the gateway no longer has the stream, the part that
    /// it acknowledged is a recording of its own, and the rest is sent as a new stream.
    #[command(after_help = "\
The token comes from --token, --token-file or the environment variable
SLUICE_TOKEN, in this order. Every user of the machine can see a command line
(with `ps`), so use --token for development only.

Exit status:
  0  the gateway has confirmed that it received everything
  1  a local mistake: the file is missing, is not a WAV file, …
  2  a mistake on the command line
  3  the gateway refused or closed the stream: its error message, close code and
     reason are printed
  4  the gateway could not be reached, is not a WebSocket server, or was lost
     for longer than --retry-for; it is not known how much arrived")]
    Stream(client::arguments::StreamArgs),
    /// Show who streams now, as a running gateway's admin listener says.
    ///
    /// Lists live connections and streams that wait for their clients, the oldest first.
    Sessions(ask::SessionsArgs),
    /// Show the busiest sessions of a running gateway, again and again.
    ///
    /// A picture has the state of the gateway, and the sessions that move the most bytes a second.
    Top(ask::TopArgs),
    /// Show the state of a running gateway: connections, generation, last reload, health.
    Status(ask::StatusArgs),
    /// Explain why a session or a user was refused.
    ///
    /// The gateway keeps its latest refusals. If it records decisions, or with --record, the command
    /// also shows what the policy saw, and the command line that repeats the decision.
    Why(ask::WhyArgs),
    /// End a session, or all sessions of a user or a tenant.
    ///
    /// The clients get close code 4003 and the reason. With --until or --for, new sessions of the
    /// user or tenant are refused meanwhile.
    Close(ask::CloseArgs),
    /// Show which users and tenants are refused for a time.
    Revocations(ask::AdminArgs),
    /// Let a user or a tenant come again before the time is over.
    Lift(ask::LiftArgs),
    /// Refuse newcomers; live streams go on.
    ///
    /// The gateway is not ready from then on, and tells newcomers to come back later. A client that
    /// was cut off still resumes its stream.
    Drain(ask::AdminArgs),
    /// Take newcomers again.
    Undrain(ask::AdminArgs),
    /// Read the configuration again, as SIGHUP does, and print what came of it.
    Reload(ask::AdminArgs),
    /// Stop calling a policy, until it is released or another version of it is loaded.
    ///
    /// Each of its calls counts as a failure meanwhile: a policy that fails closed refuses everybody.
    Quarantine(ask::PolicyArgs),
    /// End the quarantine of a policy, whoever began it.
    Release(ask::PolicyArgs),
    /// Write a policy: make a project, build it, test it, and replay recorded decisions.
    #[command(subcommand)]
    Policy(kit::arguments::PolicyCommand),
    /// Compile the component on standard input: the gateway starts itself with this.
    #[command(name = compile::COMMAND, hide = true)]
    CompileComponent(CompileArgs),
}

/// `sluice config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON Schema of the configuration, for editors.
    ///
    /// It knows every option, the form of its value and its default. `sluice check` finds more
    /// mistakes than the schema does.
    Schema,
    /// Show which options differ between two files, or what a reload of a running gateway would
    /// change.
    ///
    /// Nothing changes, and no value is shown.
    Diff(ask::DiffArgs),
}

/// Limits of a process that compiles.
#[derive(Debug, Args)]
pub struct CompileArgs {
    /// Maximum memory, in bytes.
    #[arg(long)]
    pub memory: u64,
    /// Maximum processor time, in milliseconds.
    #[arg(long)]
    pub time_ms: u64,
    /// Whether the component is compiled for an engine that counts executed instructions.
    #[arg(long)]
    pub metered: bool,
    /// Whether it gets only the processor time that streams leave over.
    #[arg(long)]
    pub below_streams: bool,
    /// Folder with the code of functions of earlier components, which it uses and adds to.
    #[arg(long)]
    pub functions: Option<PathBuf>,
}

impl CompileArgs {
    fn limits(&self) -> compile::Limits {
        compile::Limits {
            memory: usize::try_from(self.memory).unwrap_or(usize::MAX),
            time: Duration::from_millis(self.time_ms),
        }
    }

    /// Compiles the component on standard input.
    #[must_use]
    pub fn run(&self) -> ExitCode {
        let priority = if self.below_streams {
            Priority::BelowStreams
        } else {
            Priority::Usual
        };
        let functions = self.functions.as_deref();
        compile::run(self.limits(), self.metered, priority, functions)
    }
}

/// `sluice serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Which configuration, and where data lives.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// IP address and port to listen on: `0.0.0.0:8080`, `[::1]:8080`. Port 0 takes any free port.
    /// Without it, `listen` of the configuration (default: 127.0.0.1:8080).
    #[arg(
        long,
        value_name = "ADDR",
        help_heading = "Overrides of the configuration"
    )]
    pub listen: Option<SocketAddr>,
    /// Take over from the gateway that serves from the same data folder, without a moment in which a
    /// client is refused. Without such a gateway it starts as always.
    #[arg(long)]
    pub take_over: bool,
}

/// `sluice check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Configuration file, in TOML. Without it, the built-in configuration for development.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Which configuration, and where data lives.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Configuration file, in TOML. Without it, the built-in configuration for development.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for recordings, generated keys and compiled policies. Without it, `data_dir` of the
    /// configuration (default: `data` beside the configuration file, or here if there is no file).
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "Overrides of the configuration"
    )]
    pub data_dir: Option<PathBuf>,
}

/// `sluice token`
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Which configuration, and where data lives.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Name of the key set to sign with. Needed only if several key sets can sign.
    #[arg(long, value_name = "NAME")]
    pub key_set: Option<String>,
    /// Claim `user_id`.
    #[arg(
        long,
        visible_alias = "subject",
        value_name = "ID",
        default_value = "dev-user"
    )]
    pub user: String,
    /// Claim `tenant_id`.
    #[arg(long, value_name = "ID", default_value = "dev")]
    pub tenant: String,
    /// Claim `email`.
    #[arg(long, value_name = "ADDRESS", default_value = "dev@example.com")]
    pub email: String,
    /// Claim `role`.
    #[arg(long, value_name = "ROLE", default_value = "user")]
    pub role: String,
    /// Claim `meeting_id`: a policy can then accept the token for this meeting only. Without it,
    /// the token has no such claim.
    #[arg(long, value_name = "ID")]
    pub meeting: Option<String>,
    /// How long the token is valid, with a unit: `90s`, `15m`, `8h`, `7days`.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::duration)]
    pub expires: Duration,
}

#[cfg(test)]
mod tests;
