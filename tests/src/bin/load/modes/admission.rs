//! What an admission and a refusal cost, beside the floor and a peer: the same clients and the same
//! exchange, one server after the other.

use std::sync::Arc;

use super::cycles::{Kind, cycles};
use crate::cli::{AdmissionArgs, Cli, Mode};
use crate::report::{Failures, Rows, as_float};
use crate::server::Server;
use crate::target::Target;

/// Connections before each measurement, as a part of those that are measured.
const WARM_UP: usize = 10;

/// Microseconds of CPU for each connection.
struct Costs {
    admission: f64,
    refusal: f64,
}

/// Measures all of them.
pub async fn run(cli: &Cli, mode: &Mode, args: &AdmissionArgs) -> anyhow::Result<Rows> {
    let mut rows = Rows::default();
    let mut failures = Failures::default();
    let mut floor = Vec::new();
    for server in Server::ALL {
        let Some(running) = server.start(cli, mode).await? else {
            eprintln!("{} is not installed, and is left out", server.name());
            continue;
        };
        for (place, clients) in args.clients.iter().map(|clients| clients.get()).enumerate() {
            let count = (args.cycles * clients.min(16) / 16).max(args.cycles / 16);
            let admitted = Kind::Finalized { frames: 0 };
            let costs = Costs {
                admission: cost(&running.admits, admitted, count, clients, &mut failures).await?,
                refusal: cost(
                    &running.refuses,
                    Kind::Refused,
                    count,
                    clients,
                    &mut failures,
                )
                .await?,
            };
            let name = format!("{}, {clients} at once", server.name());
            let beside = |micros: f64, of: fn(&Costs) -> f64| match floor.get(place) {
                Some(floor) => format!("{micros:.0} µs, {:.2} times the floor", micros / of(floor)),
                None => format!("{micros:.0} µs"),
            };
            rows.add(
                format!("{name}: an admission"),
                beside(costs.admission, |costs| costs.admission),
            );
            rows.add(
                format!("{name}: a refusal"),
                beside(costs.refusal, |costs| costs.refusal),
            );
            if server == Server::Floor {
                floor.push(costs);
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
