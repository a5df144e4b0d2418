//! A saturated echo.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::EchoArgs;
use crate::client::{Client, ClientError};
use crate::frames::{Data, OpCode, frame};
use crate::process::Usage;
use crate::report::{Failures, Rows, as_float, micros_each, per_second, share};
use crate::target::Target;

/// Sends messages as fast as they come back.
pub async fn run(target: Target, args: &EchoArgs) -> anyhow::Result<Rows> {
    let message = frame(OpCode::Data(Data::Binary), &vec![0x5a; args.size]);
    let batch: Arc<[u8]> = message.repeat(args.in_flight).into();
    let mut clients = Vec::new();
    for number in 0..args.connections {
        let path = target.path("echo");
        let client = Client::connect(target.address, &path, None, number).await;
        clients.push(client.context("a connection could not be opened")?);
    }
    let mut echoing = JoinSet::new();
    let (before, own) = (target.usage()?, Usage::own()?);
    let began = Instant::now();
    let end = began + Duration::from_secs(args.seconds.into());
    for client in clients {
        echoing.spawn(one(client, Arc::clone(&batch), args.in_flight, end));
    }
    let mut echoed = 0;
    let mut failures = Failures::default();
    while let Some(done) = echoing.join_next().await {
        let (count, ended) = done.context("a client panicked")?;
        echoed += count;
        if let Err(error) = ended {
            failures.count(error.to_string());
        }
    }
    let (took, used) = (began.elapsed(), target.usage()? - before);
    let mut rows = Rows::default();
    rows.add("messages echoed", echoed);
    rows.add_failures("connections dropped", &failures);
    rows.add("echoed in a second", per_second(echoed, took));
    rows.add("CPU", share(used.cpu, took));
    let own = Usage::own()? - own;
    rows.add("CPU of this generator", share(own.cpu, took));
    rows.add("CPU per echoed message", micros_each(used.cpu, echoed));
    rows.add(
        "echoed in a second of CPU",
        format!("{:.0} /s", as_float(echoed) / used.cpu.as_secs_f64()),
    );
    Ok(rows)
}

async fn one(
    mut client: Client,
    batch: Arc<[u8]>,
    in_flight: usize,
    end: Instant,
) -> (u64, Result<(), ClientError>) {
    let mut echoed = 0;
    while Instant::now() < end {
        if let Err(error) = client.send(&batch).await {
            return (echoed, Err(error));
        }
        if let Err(error) = client.count(in_flight).await {
            return (echoed, Err(error));
        }
        echoed += in_flight as u64;
    }
    (echoed, Ok(()))
}
