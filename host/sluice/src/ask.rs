//! Commands that ask a running gateway: who streams, how it is, and why somebody was refused. Others
//! change something.
//!
//! They read the same JSON that the admin listener gives everybody. Without `--json` they print it
//! for people.

use std::process::ExitCode;

use serde::Serialize;

mod admin;
mod arguments;
mod change;
mod diff;
mod sessions;
mod status;
mod table;
mod target;
mod top;
mod why;

pub use arguments::{
    AdminArgs, CloseArgs, DiffArgs, LiftArgs, OwnerArgs, PolicyArgs, SessionsArgs, StatusArgs,
    TopArgs, WhyArgs,
};
pub use change::{close, drain, lift, quarantine, release, reload, revocations, undrain};
pub use diff::{config_diff, config_schema};
pub use sessions::sessions;
pub use status::status;
pub use top::top;
pub use why::why;

/// Whom a command prints for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// People.
    Text,
    /// Other programs.
    Json,
}

/// Prints an answer: as JSON in one line, or as the text that `render` makes of it.
fn print<T: Serialize>(
    output: Output,
    answer: &T,
    render: impl FnOnce(&T) -> String,
) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let text = match output {
        Output::Text => render(answer),
        Output::Json => format!("{}\n", serde_json::to_string(answer)?),
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
