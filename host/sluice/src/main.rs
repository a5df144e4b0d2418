//! Binary of the gateway: parses arguments and runs a command.

use std::process::ExitCode;

use clap::Parser as _;
use sluice::ask;
use sluice::assemble::upstreams;
use sluice::cli::{Cli, Command, ConfigCommand};
use sluice::logs::{self, LogForm};
use sluice::serve;
use sluice::token;
use tikv_jemallocator::Jemalloc;

/// An admission is hundreds of small allocations. Compared with glibc's allocator, it takes about a
/// tenth less CPU, and an idle connection a tenth less memory.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Before any thread starts, because the limits of this process count threads.
    if let Command::CompileComponent(args) = &cli.command {
        return args.run();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return failed(&anyhow::Error::new(error).context("the runtime could not start"));
        }
    };
    let done = match cli.command {
        Command::Serve(args) => match logs::init() {
            Ok(logs) => {
                logs::log_panics();
                let served = runtime.block_on(serve::serve(&args, upstreams::build));
                let form = logs.form();
                if let Err(error) = &served
                    && form == LogForm::Json
                    && tracing::enabled!(tracing::Level::ERROR)
                {
                    serve::log_failure(error);
                    drop(logs);
                    runtime.shutdown_background();
                    return ExitCode::FAILURE;
                }
                drop(logs);
                served
            }
            Err(error) => Err(error),
        },
        Command::Check(args) => runtime.block_on(serve::check(&args)),
        Command::Token(args) => token::print(&args),
        Command::Stream(args) => {
            return ExitCode::from(runtime.block_on(client::run(&args)).exit_code());
        }
        Command::CompileComponent(args) => return args.run(),
        Command::Config(ConfigCommand::Schema) => return exit(ask::config_schema()),
        Command::Config(ConfigCommand::Diff(args)) => {
            return exit(runtime.block_on(ask::config_diff(&args)));
        }
        Command::Sessions(args) => return exit(runtime.block_on(ask::sessions(&args))),
        Command::Top(args) => return exit(runtime.block_on(ask::top(&args))),
        Command::Status(args) => return exit(runtime.block_on(ask::status(&args))),
        Command::Why(args) => return exit(runtime.block_on(ask::why(&args))),
        Command::Close(args) => return exit(runtime.block_on(ask::close(&args))),
        Command::Revocations(args) => return exit(runtime.block_on(ask::revocations(&args))),
        Command::Lift(args) => return exit(runtime.block_on(ask::lift(&args))),
        Command::Drain(args) => return exit(runtime.block_on(ask::drain(&args))),
        Command::Undrain(args) => return exit(runtime.block_on(ask::undrain(&args))),
        Command::Reload(args) => return exit(runtime.block_on(ask::reload(&args))),
        Command::Quarantine(args) => return exit(runtime.block_on(ask::quarantine(&args))),
        Command::Release(args) => return exit(runtime.block_on(ask::release(&args))),
        Command::Policy(command) => {
            let done = runtime.block_on(kit::command(&command));
            // A build whose result nobody waits for any more.
            runtime.shutdown_background();
            return exit(done);
        }
    };
    // Tasks that still run have had their time.
    runtime.shutdown_background();
    done.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn exit(done: anyhow::Result<ExitCode>) -> ExitCode {
    done.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    serve::report(error);
    ExitCode::FAILURE
}
