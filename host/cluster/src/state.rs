//! Small records that gateways share: one message for each key, in a stream of `JetStream`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use session::store::{SharedStore, StoreError};
use tokio::sync::{OwnedMutexGuard, Semaphore};

use crate::connection::{Away, Cluster};
use crate::space::{Kind, Space};

/// Maximum number of records that are being written.
const MAX_WAITING: usize = 4096;
/// Maximum size of all records.
const MAX_BYTES: u64 = 256 << 20;
/// Time after which a record is removed that nobody has removed.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Time for which the mark of a removed record stays.
const MARK: Duration = Duration::from_secs(60);

/// Records that gateways share. Its clones share what this gateway has saved.
#[derive(Clone)]
pub struct SharedState {
    cluster: Cluster,
    ours: Arc<Mutex<HashMap<String, Arc<Revision>>>>,
    waiting: Arc<Semaphore>,
}

/// Sequence number of the message with which this gateway saved a record last. Changes of a record
/// take the lock in the order of the calls.
type Revision = tokio::sync::Mutex<Option<u64>>;

impl SharedState {
    /// Records of the gateways that share these servers.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            ours: Arc::default(),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    fn space(&self) -> Space {
        let prefix = &self.cluster.settings().prefix;
        Space {
            kind: Kind::Records,
            name: format!("{prefix}_STATE").to_ascii_uppercase(),
            // No upstream has a name with this character.
            subjects: format!("{prefix}.%state.>"),
            max_bytes: MAX_BYTES,
            max_age: MAX_AGE,
        }
    }

    fn subject(&self, key: &str) -> String {
        format!("{}.%state.{key}", self.cluster.settings().prefix)
    }

    async fn write(&self, key: &str, message: PublishMessage) -> Result<Written, Away> {
        self.cluster.ensure(&self.space()).await?;
        let context = self.cluster.context().await?;
        let writing = async {
            let sent = context.send_publish(self.subject(key), message).await;
            let written = match sent {
                Ok(sent) => sent.await,
                Err(error) => Err(error),
            };
            match written {
                Ok(ack) => Ok(Written::At(ack.sequence)),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                    Ok(Written::BySomebodyElse)
                }
                Err(error) => Err(error.to_string()),
            }
        };
        let written = self.cluster.within(writing).await;
        match &written {
            Ok(_) => self.cluster.has_succeeded(),
            Err(_) => self.cluster.doubts(&self.space().name),
        }
        written
    }

    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Away> {
        let context = self.cluster.context().await?;
        let (space, subject) = (self.space(), self.subject(key));
        let reading = async {
            let stream = context.get_stream_no_info(&space.name).await;
            let stream = stream.map_err(|error| error.to_string())?;
            match stream.get_last_raw_message_by_subject(&subject).await {
                // A removed record has no content.
                Ok(message) if message.payload.is_empty() => Ok(None),
                Ok(message) => Ok(Some(message.payload.to_vec())),
                Err(error) if is_absent(&error.kind()) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        };
        self.cluster.within(reading).await
    }

    /// Revision of a record that this gateway has saved, once earlier changes of it are made.
    fn revision(&self, key: &str) -> BoxFuture<'static, OwnedMutexGuard<Option<u64>>> {
        let revision = Arc::clone(self.lock().entry(key.to_owned()).or_default());
        in_turn(&revision)
    }

    // Every change is one call, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Revision>>> {
        self.ours.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Result of a write.
enum Written {
    /// It is stored, with this sequence number.
    At(u64),
    /// It is not, because another gateway has written there.
    BySomebodyElse,
}

/// The lock, which is asked for now.
fn in_turn(revision: &Arc<Revision>) -> BoxFuture<'static, OwnedMutexGuard<Option<u64>>> {
    let mut lock = Arc::clone(revision).lock_owned().boxed();
    match (&mut lock).now_or_never() {
        Some(lock) => std::future::ready(lock).boxed(),
        None => lock,
    }
}

/// Whether there is no such record, or no record at all.
fn is_absent(error: &LastRawMessageErrorKind) -> bool {
    match error {
        LastRawMessageErrorKind::NoMessageFound => true,
        LastRawMessageErrorKind::JetStream(error) => error.code() == 404,
        LastRawMessageErrorKind::InvalidSubject | LastRawMessageErrorKind::Other => false,
    }
}

impl SharedStore for SharedState {
    fn save(&self, key: &str, record: Vec<u8>) -> BoxFuture<'static, Result<(), StoreError>> {
        let Ok(waiting) = Arc::clone(&self.waiting).try_acquire_owned() else {
            return std::future::ready(Err(StoreError::Busy)).boxed();
        };
        let (state, revision, key) = (self.clone(), self.revision(key), key.to_owned());
        let saving = tokio::spawn(async move {
            let _pending = state.cluster.pending();
            let mut revision = revision.await;
            let mut message = PublishMessage::build().payload(record.into());
            // A record that another gateway has saved since then says where the stream is now.
            if let Some(last) = *revision {
                message = message.expected_last_subject_sequence(last);
            }
            let written = state.write(&key, message).await;
            drop(waiting);
            match written {
                Ok(Written::At(sequence)) => {
                    *revision = Some(sequence);
                    Ok(())
                }
                Ok(Written::BySomebodyElse) => {
                    *revision = None;
                    Err(StoreError::Taken)
                }
                Err(away) => Err(StoreError::Away(away.to_string())),
            }
        });
        async move { saving.await.unwrap_or(Err(StoreError::Ended)) }.boxed()
    }

    fn forget(&self, key: &str) {
        let Some(revision) = self.lock().remove(key) else {
            return;
        };
        let revision = in_turn(&revision);
        let (state, key) = (self.clone(), key.to_owned());
        tokio::spawn(async move {
            let Some(last) = *revision.await else {
                return;
            };
            let mark = PublishMessage::build()
                .expected_last_subject_sequence(last)
                .ttl(MARK);
            // What is left of it is removed by its age.
            if let Err(away) = state.write(&key, mark).await {
                tracing::debug!(%away, "a shared record was not removed");
            }
        });
    }

    fn find(&self, key: &str) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>> {
        let (state, key) = (self.clone(), key.to_owned());
        let finding = async move { state.read(&key).await };
        finding
            .map(|found| found.map_err(|away| StoreError::Away(away.to_string())))
            .boxed()
    }
}
