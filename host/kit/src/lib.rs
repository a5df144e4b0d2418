//! `sluice policy`: the kit for whoever writes a policy.
//!
//! A project is made by [`new`], becomes a component by [`build`] and is shown
//! to its author by [`inspect`]. [`mod@test`], [`run`] and [`mod@bench`] try it: the
//! real component in the real engine, in a world ([`scene`]) that a file of
//! cases ([`fixture`]) describes; [`dev`] does so at every change; [`replay`] tries it on decisions that were
//! recorded, and [`case`] makes a test of one; [`sign`] signs it, and
//! [`push`] brings it to a registry. Nothing here is on a connection's path.

use std::process::ExitCode;

use crate::arguments::PolicyCommand;

pub mod arguments;
pub mod bench;
pub mod build;
pub mod case;
pub mod dev;
pub mod fixture;
pub mod inspect;
pub mod lines;
pub mod new;
pub mod project;
pub mod push;
pub mod replay;
pub mod run;
pub mod scene;
pub mod sign;
pub mod subject;
pub mod test;
pub mod trial;

/// Runs one of the kit's commands.
///
/// # Errors
/// What is wrong and what to do about it, for the author.
pub async fn command(command: &PolicyCommand) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::New(args) => new::run(args)?,
        PolicyCommand::Build(args) => build::run(args)?,
        PolicyCommand::Inspect(args) => inspect::run(args)?,
        PolicyCommand::Sign(args) => sign::run(args)?,
        PolicyCommand::Push(args) => push::run(args).await?,
        PolicyCommand::Test(args) => return test::run(args).await,
        PolicyCommand::Dev(args) => return dev::run(args).await,
        PolicyCommand::Run(args) => return run::run(args).await,
        PolicyCommand::Bench(args) => bench::run(args).await?,
        PolicyCommand::Replay(args) => return replay::run(args).await,
        PolicyCommand::Case(args) => return case::run(args),
    }
    Ok(ExitCode::SUCCESS)
}
