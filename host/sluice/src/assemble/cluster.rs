//! What a gateway shares with others by NATS.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::orders::{self, Order};
use crate::schema::{self, ClusterGateway, ClusterStatus};
use ::cluster::Cluster;
use ::cluster::board::{Board, TooManyOrders};
use ::cluster::claims::{About, ClusterClaims, Counted, Describe, LetGo, Member, members};
use ::cluster::state::SharedState;
use gateway::routes::Gateway;
use session::registry::unix_ms;

/// Time for which the list of gateways is shown that was read last.
const FRESH: Duration = Duration::from_secs(1);
/// Time limit for reading it.
const READING: Duration = Duration::from_millis(500);
/// Time for an operator to wait until other gateways can know of an order.
const TELLING: Duration = Duration::from_secs(1);

/// What a gateway shares with others.
pub struct Neighbours {
    cluster: Cluster,
    claims: ClusterClaims,
    board: Board,
    seen: Mutex<Seen>,
}

/// Gateways, as they were read last.
#[derive(Default)]
struct Seen {
    tried: Option<Instant>,
    /// In milliseconds since 1970.
    at_ms: Option<u64>,
    members: Vec<Member>,
}

/// Whether other gateways can know of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// They obey it within a second.
    Now,
    /// NATS has not stored it yet. That is tried until it has.
    Later,
    /// Too many orders are in force.
    Never,
}

impl Told {
    /// Word for it in answers.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Now => "told",
            Self::Later => "told-later",
            Self::Never => "not-told",
        }
    }
}

impl Neighbours {
    /// Shares streams, claims and orders with the other gateways from now on.
    pub(crate) fn share(cluster: &Cluster, gateway: &Arc<Gateway>) -> Self {
        let shared = SharedState::new(cluster.clone());
        gateway.parking.share_in(Arc::new(shared));
        let parking = Arc::clone(&gateway.parking);
        let let_go: LetGo = Arc::new(move |stream, session_id| {
            let parking = Arc::clone(&parking);
            async move { parking.let_go(&stream, &session_id).await }.boxed()
        });
        let claims = ClusterClaims::share(cluster, &gateway.registry, let_go, describe(gateway));
        let obeying = Arc::clone(gateway);
        let obey = move |order| orders::obey(Arc::clone(&obeying), order).boxed();
        Self {
            cluster: cluster.clone(),
            claims,
            board: Board::share(cluster, Box::new(obey)),
            seen: Mutex::default(),
        }
    }

    /// Gives an order to the other gateways, at once. The future waits a little until they can know
    /// of it.
    pub(crate) fn order(&self, order: &Order) -> BoxFuture<'static, Told> {
        let ends_ms = order.what.ends_ms();
        // Texts and numbers cannot fail.
        let content = serde_json::to_value(order).unwrap_or_default();
        let given = self.board.give(&order.what.about(), content, ends_ms);
        match given {
            Ok(stored) => Self::waits_for(stored).boxed(),
            Err(error @ TooManyOrders) => {
                tracing::warn!("{error}");
                std::future::ready(Told::Never).boxed()
            }
        }
    }

    /// Whether the orders of the other gateways were read since the start.
    pub(crate) fn knows_orders(&self) -> bool {
        self.board.was_read()
    }

    async fn waits_for(stored: CancellationToken) -> Told {
        match timeout(TELLING, stored.cancelled()).await {
            Ok(()) => Told::Now,
            Err(_) => Told::Later,
        }
    }

    /// What an operator is shown.
    pub(crate) async fn status(&self) -> ClusterStatus {
        let (at_ms, gateways) = self.gateways().await;
        let lease = self.claims.lease_age();
        let pending = self.cluster.pending_writes() + self.claims.pending();
        ClusterStatus {
            connected: self.cluster.is_connected(),
            since: schema::time(self.cluster.since_ms()),
            lease: match lease {
                Some((_, Counted::On)) => "held",
                Some((_, Counted::NoLonger)) => "lapsed",
                None => "none",
            }
            .to_owned(),
            lease_age_ms: lease.map(|(age, _)| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            pending_writes: (pending + self.board.unwritten()) as u64,
            gateways,
            gateways_seen: at_ms.map(schema::time),
        }
    }

    /// The gateways that have a lease, as far as this one knows, and when they were read.
    async fn gateways(&self) -> (Option<u64>, Vec<ClusterGateway>) {
        let mut seen = self.seen.lock().await;
        if seen.tried.is_none_or(|tried| tried.elapsed() >= FRESH) {
            match timeout(READING, members(&self.cluster)).await {
                Ok(Ok(members)) => {
                    seen.members = members;
                    seen.at_ms = Some(unix_ms());
                }
                Ok(Err(away)) => tracing::debug!(%away, "the other gateways are not known"),
                Err(_) => tracing::debug!("the other gateways are not known in time"),
            }
            seen.tried = Some(Instant::now());
        }
        let gateways = seen.members.iter().map(|member| ClusterGateway {
            instance: member.instance.clone(),
            host: base::text::clean(&member.about.host, 256),
            version: base::text::clean(&member.about.version, 64),
            lease: if member.has_ended { "ended" } else { "held" }.to_owned(),
            renewed: schema::time(member.renewed_ms),
            sessions: member.about.sessions,
            claims: member.about.claims,
        });
        (seen.at_ms, gateways.collect())
    }
}

/// What this gateway says of itself.
fn describe(gateway: &Arc<Gateway>) -> Describe {
    let gateway = Arc::clone(gateway);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_owned();
    Arc::new(move || About {
        host: host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sessions: gateway.connections.count() as u64,
        claims: gateway.registry.len() as u64,
    })
}
