//! What an admission and a refusal cost, beside the floor and a peer: the same clients and the same
//! exchange, one server after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cycles::{Kind, cycles};
use crate::cli::{AdmissionArgs, Cli, Mode};
use crate::report::{Failures, Rows, as_float};
use crate::server::Server;
use crate::target::Target;

/// Connections before each measurement, as a part of those that are measured.
const WARM_UP: usize = 10;

/// Measures all of them.
pub async fn run(cli: &Cli, mode: &Mode, args: &AdmissionArgs) -> anyhow::Result<Rows> {
    let mut rows = Rows::default();
    let mut failures = Failures::default();
    // Microseconds of the floor, by the number of clients and the kind of connection.
    let mut floor = BTreeMap::new();
    for server in Server::ALL {
        let Some(running) = server.start(cli, mode).await? else {
            eprintln!("{} is not installed, and is left out", server.name());
            continue;
        };
        let kinds = [
            (
                "an admission",
                &running.admits,
                Kind::Finalized { frames: 0 },
            ),
            ("a refusal", &running.refuses, Kind::Refused),
        ];
        for clients in args.clients.iter().map(|clients| clients.get()) {
            let count = args.cycles * clients.min(16) / 16;
            for (what, target, kind) in kinds {
                let micros = cost(target, kind, count, clients, &mut failures).await?;
                let least = *floor.entry((clients, what)).or_insert(micros);
                let name = format!("{}, {clients} at once: {what}", server.name());
                let times = match server {
                    Server::Floor => String::new(),
                    Server::Sluice | Server::FastApi => {
                        format!(", {:.2} times the floor", micros / least)
                    }
                };
                rows.add(name, format!("{micros:.0} µs{times}"));
            }
        }
    }
    rows.add_failures("connections that went otherwise", &failures);
    Ok(rows)
}

async fn cost(
    target: &Arc<Target>,
    kind: Kind,
    count: usize,
    clients: usize,
    failures: &mut Failures,
) -> anyhow::Result<f64> {
    let warm_up = (count / WARM_UP).max(clients);
    cycles(target, kind, warm_up, clients, failures).await?;
    let before = target.usage()?;
    cycles(target, kind, count, clients, failures).await?;
    let used = target.usage()? - before;
    Ok(used.cpu.as_secs_f64() * 1e6 / as_float(count.max(1) as u64))
}
