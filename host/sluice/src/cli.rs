//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

use base::units;
use policy::compile::{self, Priority};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Sluice: a WebSocket gateway whose admission policy is WebAssembly.
///
/// Clients open a WebSocket and stream. Policies, which are WebAssembly components, decide who is
/// admitted. A refused client is told why, in a message and a close code.
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

`sluice COMMAND --help` says more about each."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway until it is told to stop.
    ///
    /// The first SIGINT (Ctrl-C), SIGTERM or SIGQUIT drains: live streams may
    /// finish within the configured time. The second one stops at once. SIGHUP
    /// reloads, and SIGUSR1 opens the decision record again.
    Serve(ServeArgs),
    /// Read the configuration and load every policy, and report all mistakes.
    ///
    /// Exits with 0 when `serve` would start with it, and with 1 otherwise.
    Check(CheckArgs),
    /// Make a token for development and print it, and nothing else.
    ///
    /// It is signed with a key set that has a shared secret or a generated key;
    /// a generated key is made when it does not exist yet. Issuer and audience
    /// are the first that the key set accepts.
    #[command(after_help = "\
Example:
  export SLUICE_TOKEN=$(sluice token --user alice --meeting demo --expires 8h)")]
    Token(TokenArgs),
    /// Stream a WAV file to a gateway, as a client would.
    ///
    /// Connects, sends the handshake with the file's own rate and channels,
    /// streams the audio at the speed at which it was spoken, and finishes.
    /// Prints the session id, and at the end what the gateway has received.
    ///
    /// It asks the gateway to acknowledge what is safe and to let it resume.
    /// When the connection is lost, or a refusal may be temporary, it tries
    /// again, and the stream goes on where it was cut. Where the gateway has
    /// given the stream up, what was acknowledged is safe as a recording of
    /// its own, and the rest goes on as a new stream.
    #[command(after_help = "\
The token comes from --token, --token-file or the environment variable
SLUICE_TOKEN, in this order. What stands on a command line can be seen by every
user of the machine (in `ps`): outside of development use one of the others.

Exit status:
  0  everything was sent, and the gateway has confirmed it
  1  something is wrong here: the file is missing, is not a WAV file, …
  2  the command line is wrong
  3  the gateway refused or closed: its error frame, code and reason are printed
  4  no connection, no WebSocket at that address, or the connection was lost
     and nobody knows how much arrived, or nothing got on within --retry-for")]
    Stream(client::arguments::StreamArgs),
    /// Write a policy: make a project, build it, look at a component.
    #[command(subcommand)]
    Policy(kit::arguments::PolicyCommand),
    /// Compile the component on standard input: the gateway starts itself with this.
    #[command(name = compile::COMMAND, hide = true)]
    CompileComponent(CompileArgs),
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
        compile::run(self.limits(), self.metered, priority)
    }
}

/// `sluice serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Which configuration, and where data lives.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Address and port to listen on, instead of the configured ones; port 0
    /// takes any that is free.
    #[arg(
        long,
        value_name = "ADDR",
        help_heading = "Instead of the configuration's"
    )]
    pub listen: Option<SocketAddr>,
}

/// `sluice check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file. Without it, the built-in configuration.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Which configuration, and where data lives.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// The configuration file. Without it, the built-in configuration.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for recordings and generated keys.
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "Instead of the configuration's"
    )]
    pub data_dir: Option<PathBuf>,
}

/// `sluice token`
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Which configuration, and where data lives.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// The key set to sign with. Needed only where several could.
    #[arg(long, value_name = "NAME")]
    pub key_set: Option<String>,
    /// The claim `user_id`.
    #[arg(
        long,
        visible_alias = "subject",
        value_name = "ID",
        default_value = "dev-user"
    )]
    pub user: String,
    /// The claim `tenant_id`.
    #[arg(long, value_name = "ID", default_value = "dev")]
    pub tenant: String,
    /// The claim `email`.
    #[arg(long, value_name = "ADDRESS", default_value = "dev@example.com")]
    pub email: String,
    /// The claim `role`.
    #[arg(long, value_name = "ROLE", default_value = "user")]
    pub role: String,
    /// The claim `meeting_id`: the token is then good for this meeting only,
    /// where the auth policy compares it. Without it, there is no such claim.
    #[arg(long, value_name = "ID")]
    pub meeting: Option<String>,
    /// How long the token is valid: `90s`, `15m`, `1h`, `7days`.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::duration)]
    pub expires: Duration,
}

#[cfg(test)]
mod tests;
