//! Arguments of the commands that ask a running gateway.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use base::units;
use clap::Args;

use super::Output;

/// Which gateway is asked, and for whom the answer is printed.
#[derive(Debug, Args)]
pub struct AdminArgs {
    /// The configuration file of the gateway, which has its `admin_listen`.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the admin listener, instead of the configured one:
    /// 127.0.0.1:9180, or https://HOST:PORT.
    // Clap would quote a URL that it rejects, with its password. So it is parsed later.
    #[arg(long, value_name = "ADDR|URL")]
    pub admin: Option<String>,
    /// File that holds the token of the admin listener. Without it, the
    /// variable SLUICE_ADMIN_TOKEN, or else the token of the configuration.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file with the certificate authorities to trust for https://. Without
    /// it, those of this machine.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Print the JSON of the admin listener, for other programs.
    #[arg(long)]
    json: bool,
}

impl AdminArgs {
    pub(super) fn output(&self) -> Output {
        if self.json {
            Output::Json
        } else {
            Output::Text
        }
    }
}

/// `sluice sessions`
#[derive(Debug, Args)]
pub struct SessionsArgs {
    /// Which gateway is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Only sessions of this user, whom a policy has verified.
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// Only sessions of this tenant.
    #[arg(long, value_name = "ID")]
    pub tenant: Option<String>,
    /// Only sessions of this meeting.
    #[arg(long, value_name = "ID")]
    pub meeting: Option<String>,
    /// Only sessions of this route.
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// Only sessions in this stage: connect, handshake, open, stream, seal,
    /// close or parked.
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<String>,
}

/// `sluice status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which gateway is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `sluice why`
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Session id, as the client got it in its error frame; or a user, whether
    /// verified or claimed.
    #[arg(value_name = "SESSION|USER")]
    pub whom: String,
    /// Which gateway is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// A decision record to look into instead, when the gateway is gone or has
    /// forgotten the refusal.
    #[arg(long, value_name = "DECISIONS.jsonl", conflicts_with = "admin")]
    pub record: Option<PathBuf>,
}

/// A user or a tenant.
#[derive(Debug, Args)]
pub struct OwnerArgs {
    /// All sessions of this user, whom a policy has verified.
    #[arg(long, value_name = "ID", conflicts_with = "tenant")]
    pub user: Option<String>,
    /// All sessions of this tenant.
    #[arg(long, value_name = "ID")]
    pub tenant: Option<String>,
}

/// `sluice close`
#[derive(Debug, Args)]
#[command(group(
    clap::ArgGroup::new("whose").required(true).args(["session", "user", "tenant"])
))]
pub struct CloseArgs {
    /// Session id, as `sluice sessions` shows it.
    #[arg(value_name = "SESSION", conflicts_with_all = ["until", "for_"])]
    pub session: Option<String>,
    /// Whose sessions end.
    #[command(flatten)]
    pub owner: OwnerArgs,
    /// Sentence that the clients are told.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Refuse new sessions of the user or tenant until this time, in the form of
    /// RFC 3339: 2026-11-27T08:00:00Z.
    #[arg(long, value_name = "TIME", conflicts_with = "for_")]
    pub until: Option<String>,
    /// Refuse new sessions of the user or tenant for so long, with a unit: `8h`.
    #[arg(long = "for", value_name = "DURATION", value_parser = units::duration)]
    pub for_: Option<Duration>,
    /// Which gateway is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `sluice lift`
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("whose").required(true).args(["user", "tenant"])))]
pub struct LiftArgs {
    /// Who may come again.
    #[command(flatten)]
    pub owner: OwnerArgs,
    /// Which gateway is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `sluice quarantine` and `sluice release`
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// Name of the policy in the configuration.
    #[arg(value_name = "POLICY")]
    pub policy: String,
    /// Which gateway is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `sluice config diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Two files to compare. Without them, the configuration of a running
    /// gateway as it is written now, and as it serves.
    #[arg(value_name = "FILE", num_args = 2)]
    pub files: Vec<PathBuf>,
    /// Which gateway is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `sluice top`
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Time between two pictures, with a unit: `2s`.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = units::duration)]
    pub interval: Duration,
    /// Number of pictures. Without it, until Ctrl-C.
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<NonZeroU32>,
    /// Which gateway is asked.
    #[command(flatten)]
    pub admin: AdminArgs,
}
