//! The command line of `sluice policy`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use base::units;

/// `sluice policy`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Write a project that builds and passes its own tests.
    ///
    /// The contract (WIT) and, for Rust, the SDK's source are in this binary,
    /// so that nothing is fetched for them.
    New(NewArgs),
    /// Build a project into a component: build/NAME.wasm.
    Build(BuildArgs),
    /// Say what a component is: its hooks, its imports and the grants that it
    /// needs, its size and its digest.
    Inspect(InspectArgs),
    /// Try a policy on every case of its tests/*.toml.
    ///
    /// Builds the project if its sources have changed. The component runs in
    /// the gateway's own engine, within the limits that sluice.toml gives it;
    /// only the keys, the clock, the counters and the other connections are
    /// the case's. Exits with 1 when a case fails.
    Test(TestArgs),
    /// Try a policy on one case, and show what it did: its answer, its log,
    /// and what it took.
    ///
    /// Exits with 0 when the policy decided, whatever that was; with 2 when it
    /// trapped or passed a limit; and with 1 when it could not be asked.
    Run(RunArgs),
    /// Measure what a decision costs on this machine.
    Bench(BenchArgs),
    /// Make recorded decisions again, and show what comes out differently.
    ///
    /// The component runs in the gateway's own engine, and what it asks is
    /// answered as it was then: a candidate is tried on yesterday's traffic.
    /// What the record cannot answer leaves a decision undecided. Exits with
    /// 1 when something is different.
    Replay(ReplayArgs),
}

/// Which policy is meant, and what it is given.
#[derive(Debug, Args)]
pub struct SubjectArgs {
    /// The project's folder.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// The configuration with the policy's section, instead of sluice.toml in
    /// the project.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The name of its section, where that is not clear.
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// A component to take as it is, instead of building the project.
    #[arg(long, value_name = "FILE")]
    pub component: Option<PathBuf>,
}

/// `sluice policy test`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Files of cases, instead of tests/*.toml in the project.
    #[arg(value_name = "CASES.toml")]
    pub files: Vec<PathBuf>,
    /// Which policy is meant.
    #[command(flatten)]
    pub subject: SubjectArgs,
}

/// `sluice policy run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The file with the case.
    #[arg(value_name = "CASES.toml")]
    pub file: PathBuf,
    /// The name of the case, where there are several.
    #[arg(long, value_name = "NAME")]
    pub case: Option<String>,
    /// Which policy is meant.
    #[command(flatten)]
    pub subject: SubjectArgs,
}

/// `sluice policy bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The case, and which policy is meant.
    #[command(flatten)]
    pub run: RunArgs,
    /// How long to measure.
    #[arg(long = "for", value_name = "DURATION", default_value = "2s", value_parser = units::duration)]
    pub duration: Duration,
}

/// `sluice policy replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Records of decisions, as `[decisions]` has them written; those that
    /// were put aside first.
    #[arg(value_name = "DECISIONS.jsonl", required = true)]
    pub files: Vec<PathBuf>,
    /// Print JSON, for other programs: a line for each finding, and one for
    /// them all.
    #[arg(long)]
    json: bool,
    /// Which policy is meant.
    #[command(flatten)]
    pub subject: SubjectArgs,
}

/// Whom `sluice policy replay` prints for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayOutput {
    /// People.
    Text,
    /// Other programs.
    Json,
}

impl ReplayArgs {
    /// Whom it prints for.
    #[must_use]
    pub fn output(&self) -> ReplayOutput {
        if self.json {
            ReplayOutput::Json
        } else {
            ReplayOutput::Text
        }
    }
}

/// `sluice policy new`
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The policy's name, which is also the name of the folder: lowercase
    /// letters, digits and hyphens.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub lang: Language,
    /// Where the project's folder is made, instead of here.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub within: PathBuf,
}

/// `sluice policy build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The project's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// Where the component goes, instead of build/NAME.wasm in the project.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `sluice policy inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The component: a .wasm file.
    #[arg(value_name = "FILE")]
    pub component: PathBuf,
    /// Print JSON, for other programs.
    #[arg(long)]
    pub json: bool,
}

/// What a policy is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust, with the SDK.
    Rust,
    /// JavaScript, with componentize-js from npm.
    Js,
    /// Python, with componentize-py from PyPI.
    Python,
}
