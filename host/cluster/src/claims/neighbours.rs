//! What gateways tell each other: that a session has lost its key, and that a stream goes on
//! elsewhere.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message as Received;
use base::rejection::Rejection;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::record::{ClaimRecord, Message, json};
use super::records::{Heard, Records};
use super::{ClusterClaims, Shared};
use crate::connection::Cluster;

/// Time limit for one request to another gateway.
const ASKING: Duration = Duration::from_secs(2);
/// Pause before a request is made again.
const AGAIN: Duration = Duration::from_secs(1);
/// Time for which a gateway is told of a session that was evicted: longer than a lease lives without
/// a renewal.
const TELLING: Duration = Duration::from_secs(40);
/// Time limit for what another gateway asks.
const ATTENDING: Duration = Duration::from_secs(60);
/// Number of messages of other gateways that are attended to at once.
const AT_ONCE: usize = 1024;

/// Ends a stream of a session here that goes on at another gateway. The future is ready once it has
/// ended.
pub type LetGo = Arc<dyn Fn(String, String) -> BoxFuture<'static, ()> + Send + Sync>;

impl Shared {
    /// Tells the gateway of a session in the background that the session was evicted. The token is
    /// cancelled once it has ended there, or nobody can tell.
    pub(super) fn tell_evicted(
        &self,
        key: &str,
        loser: ClaimRecord,
        sequence: u64,
        notice: &Rejection,
    ) -> CancellationToken {
        let ended = CancellationToken::new();
        let message = json(&Message::Evicted {
            key: key.to_owned(),
            sequence,
            notice: notice.into(),
        });
        let (records, cancelled) = (Arc::clone(&self.records), ended.clone());
        self.runtime.spawn(async move {
            let _cancelled = cancelled.clone().drop_guard();
            let end = Instant::now() + TELLING;
            while Instant::now() < end {
                let asking = records.ask(&loser.gateway, message.clone(), ASKING);
                match asking.await {
                    Heard::Done => return,
                    // It may be gone, or about to connect again. Nobody waits for that.
                    Heard::Nobody => cancelled.cancel(),
                    Heard::Nothing => {}
                }
                sleep(AGAIN).await;
            }
            let (session_id, gateway) = (loser.session_id, loser.gateway);
            tracing::warn!(
                session_id,
                gateway,
                "the gateway of a session that was evicted has not confirmed its end"
            );
        });
        ended
    }

    /// Ends what another gateway has taken. Returns once that has ended.
    pub(super) async fn is_told(&self, claims: &ClusterClaims, message: Message, let_go: &LetGo) {
        match message {
            Message::LetGo { stream, session_id } => let_go(stream, session_id).await,
            Message::Evicted {
                key,
                sequence,
                notice,
            } => {
                let notice = notice.into();
                // What is not known here was never held here, or has ended.
                let Some(known) = claims.known(&key) else {
                    return;
                };
                let mut recorded = known.recorded.lock().await;
                let was_held = self.is_taken(&known, &mut recorded, sequence);
                drop(recorded);
                if was_held {
                    self.registry.supersede(&key, Some(&notice)).await;
                }
            }
        }
    }
}

impl ClusterClaims {
    /// Attends to what other gateways say.
    pub(super) async fn hear(self, cluster: Cluster, let_go: LetGo) {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let mut messages = match cluster.messages(&self.0.gateway).await {
                Ok(messages) => messages,
                Err(away) => {
                    tracing::debug!(%away, "other gateways cannot be heard");
                    sleep(AGAIN).await;
                    continue;
                }
            };
            while let Some(Received { payload, reply, .. }) = messages.next().await {
                let Ok(message) = serde_json::from_slice::<Message>(&payload) else {
                    tracing::debug!("another gateway said something that is not understood");
                    continue;
                };
                // Whoever is not attended to asks again.
                let Ok(permit) = Arc::clone(&at_once).try_acquire_owned() else {
                    continue;
                };
                let (claims, cluster) = (self.clone(), cluster.clone());
                let let_go = Arc::clone(&let_go);
                tokio::spawn(async move {
                    let telling = claims.0.is_told(&claims, message, &let_go);
                    let told = timeout(ATTENDING, telling).await;
                    if let (Ok(()), Some(reply)) = (told, reply) {
                        cluster.answer(reply).await;
                    }
                    drop(permit);
                });
            }
        }
    }
}

/// Asks another gateway to let go of a stream that goes on here.
pub(super) async fn let_go(
    records: Arc<dyn Records>,
    gateway: String,
    stream: String,
    session_id: String,
) {
    let message = json(&Message::LetGo {
        stream: stream.clone(),
        session_id,
    });
    if records.ask(&gateway, message, ASKING).await == Heard::Nothing {
        // It finds out when it next writes to the stream.
        tracing::debug!(
            stream,
            gateway,
            "a gateway was not told that it lost a stream"
        );
    }
}
