//! What a gateway shares with others by NATS.

use std::sync::Arc;

use futures_util::FutureExt as _;

use cluster::Cluster;
use cluster::claims::{ClusterClaims, LetGo};
use cluster::state::SharedState;
use gateway::routes::Gateway;

/// Shares streams and claims with the other gateways from now on.
pub(crate) fn share(cluster: &Cluster, gateway: &Arc<Gateway>) {
    let shared = SharedState::new(cluster.clone());
    gateway.parking.share_in(Arc::new(shared));
    let parking = Arc::clone(&gateway.parking);
    let let_go: LetGo = Arc::new(move |stream, session_id| {
        let parking = Arc::clone(&parking);
        async move { parking.let_go(&stream, &session_id).await }.boxed()
    });
    ClusterClaims::share(cluster, &gateway.registry, let_go);
}
