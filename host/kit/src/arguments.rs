//! The command line of `sluice policy`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use base::units;

/// `sluice policy`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Make the project of a new policy, which builds and passes its own tests.
    ///
    /// The contract (WIT) and, for Rust, the source of the SDK are in this binary. They need no
    /// network.
    New(NewArgs),
    /// Build a project into a component: build/NAME.wasm.
    ///
    /// Rust needs `cargo`. JavaScript and Python need the packages that the project's README tells
    /// how to install.
    Build(BuildArgs),
    /// Describe a component: its hooks, its imports, the grants that it needs, its size and its
    /// digest.
    Inspect(InspectArgs),
    /// Sign a component, for gateways that ask for signatures.
    ///
    /// Builds the project first if its sources have changed. The signature is a Sigstore bundle beside
    /// the component, as `cosign sign-blob --key` makes it. `sluice policy push` takes it along.
    Sign(SignArgs),
    /// Push a component to an OCI registry, and print the line that pins it there.
    ///
    /// Builds the project first if its sources have changed. The line names the component by its
    /// digest, and goes into the policy's section of the gateway's configuration.
    Push(PushArgs),
    /// Test a policy with every case in the files tests/*.toml of its project.
    ///
    /// Builds the project first if its sources have changed. The component runs in the gateway's
    /// own engine, within the limits that sluice.toml sets. A case supplies the keys, the clock,
    /// the counters and the other connections.
    ///
    /// Exit status: 0 if every case passed, 1 if one failed or could not be tried. With --strict, 1
    /// if there is a warning.
    Test(TestArgs),
    /// Build, test and serve a project, and do so again at every change, until it is told to stop.
    ///
    /// Prints a command line that streams to the gateway. Live streams go on while the policy is
    /// replaced, as in every gateway.
    Dev(DevArgs),
    /// Run a policy on one case, and show its answer, its log, and the time and memory that it
    /// used.
    ///
    /// Exit status: 0 if the policy decided, whichever way; 1 if it could not be called; 2 if it
    /// trapped or exceeded a limit.
    Run(RunArgs),
    /// Measure how long a decision takes on this machine.
    ///
    /// Repeats one case, and prints the median, the 99th percentile and the slowest time.
    Bench(BenchArgs),
    /// Make recorded decisions again with another component or configuration, and show what
    /// differs.
    ///
    /// The component runs in the gateway's own engine. Its questions get the answers of the record,
    /// so a new version can be tried on yesterday's traffic. A decision is undecided if the record
    /// lacks an answer.
    ///
    /// Exit status: 0 if nothing differs, 1 if a decision differs or the record cannot be read.
    Replay(ReplayArgs),
    /// Print the recorded decisions about a session as cases of a test.
    ///
    /// A case has what the policy could see and what the gateway answered it, and expects the same
    /// answer. What the record withholds is named in a comment.
    Case(CaseArgs),
}

/// Policy to run, and its configuration.
#[derive(Debug, Args)]
pub struct SubjectArgs {
    /// Folder of the policy's project.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// Configuration file with the section of the policy. Without it, sluice.toml in the project.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Name of the policy: of its section [policies.NAME]. Needed only if several sections fit.
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Component to use as it is: a .wasm file. Without it, the project is built.
    #[arg(long, value_name = "FILE")]
    pub component: Option<PathBuf>,
}

/// `sluice policy sign`
#[derive(Debug, Args)]
pub struct SignArgs {
    /// File with the private key in PEM (PKCS #8), for ECDSA on P-256.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Folder of the policy's project.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// Component to sign as it is: a .wasm file. Without it, the project is built.
    #[arg(long, value_name = "FILE")]
    pub component: Option<PathBuf>,
}

/// `sluice policy push`
#[derive(Debug, Args)]
pub struct PushArgs {
    /// Where it goes: oci://HOST/REPOSITORY:TAG. Without a tag a registry may remove it.
    #[arg(value_name = "DESTINATION")]
    pub to: String,
    /// Folder of the policy's project.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// Component to push as it is: a .wasm file. Without it, the project is built.
    #[arg(long, value_name = "FILE")]
    pub component: Option<PathBuf>,
    /// File with the login, as `docker login` writes it. Without it, the one that
    /// `registry_credentials` names in the configuration.
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Configuration file with `registry_credentials` and `registry_realms`. Without it, sluice.toml
    /// in the project, unless --component or --credentials is given.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `sluice policy test`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Files with the cases. Without them, tests/*.toml in the project.
    #[arg(value_name = "CASES.toml")]
    pub files: Vec<PathBuf>,
    /// Fail where there is a warning: an option that the policy reads in no case, a close code that
    /// was changed, a text that was cut, a component that is older than its sources.
    #[arg(long)]
    strict: bool,
    /// Policy to run.
    #[command(flatten)]
    pub subject: SubjectArgs,
}

/// `sluice policy dev`
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Folder of the project.
    #[arg(value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// Address at which the gateway listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Name of the policy: of its section [policies.NAME]. Needed only if several sections fit.
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
}

impl DevArgs {
    /// The tests of the project.
    #[must_use]
    pub fn test(&self) -> TestArgs {
        TestArgs {
            files: Vec::new(),
            strict: false,
            subject: SubjectArgs {
                project: self.project.clone(),
                config: None,
                policy: self.policy.clone(),
                component: None,
            },
        }
    }
}

/// `sluice policy run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// File with the case.
    #[arg(value_name = "CASES.toml")]
    pub file: PathBuf,
    /// Name of the case. Needed only if the file has several.
    #[arg(long, value_name = "NAME")]
    pub case: Option<String>,
    /// Policy to run.
    #[command(flatten)]
    pub subject: SubjectArgs,
}

/// `sluice policy bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Case to repeat, and the policy to run.
    #[command(flatten)]
    pub run: RunArgs,
    /// How long to measure, with a unit: `500ms`, `10s`.
    #[arg(long = "for", value_name = "DURATION", default_value = "2s", value_parser = units::duration)]
    pub duration: Duration,
}

/// `sluice policy replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Decision records, as the gateway writes them with `[decisions]`. Name rotated files first,
    /// the oldest before the others.
    #[arg(value_name = "DECISIONS.jsonl", required = true)]
    pub files: Vec<PathBuf>,
    /// Print JSON for other programs: one line for each finding, and a last line with the totals.
    #[arg(long)]
    json: bool,
    /// Policy to run.
    #[command(flatten)]
    pub subject: SubjectArgs,
}

/// `sluice policy case`
#[derive(Debug, Args)]
pub struct CaseArgs {
    /// Decision records, as the gateway writes them with `[decisions]`.
    #[arg(value_name = "DECISIONS.jsonl", required = true)]
    pub files: Vec<PathBuf>,
    /// Id of the session, from a log, an error frame or `sluice why`.
    #[arg(long, value_name = "ID")]
    pub session: String,
    /// Only decisions of the policy with this name.
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
}

/// Whom `sluice policy replay` prints for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayOutput {
    /// People.
    Text,
    /// Other programs.
    Json,
}

/// What a warning means to `sluice policy test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnWarning {
    /// It is printed.
    Tell,
    /// The test fails.
    Fail,
}

impl TestArgs {
    /// What a warning means.
    #[must_use]
    pub(crate) fn on_warning(&self) -> OnWarning {
        if self.strict {
            OnWarning::Fail
        } else {
            OnWarning::Tell
        }
    }
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
    /// Name of the policy and of its folder: lowercase letters, digits and hyphens.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Language of the policy.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub lang: Language,
    /// Folder in which the project's folder is made.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub within: PathBuf,
}

/// `sluice policy build`
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// Folder of the project.
    #[arg(value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// File to write the component to. Without it, build/NAME.wasm in the project.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `sluice policy inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Component to describe: a .wasm file.
    #[arg(value_name = "FILE")]
    pub component: PathBuf,
    /// Print JSON for other programs.
    #[arg(long)]
    pub json: bool,
}

/// Language of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust, with the SDK.
    Rust,
    /// JavaScript, with componentize-js from npm.
    Js,
    /// Python, with componentize-py from PyPI.
    Python,
}
