//! What the store keeps of a stream, so that it can go on in another process.
//!
//! The record is saved before the ack that promises the client that it may come back, and removed
//! when the stream ends. The bytes of a stream are not in it: its upstream knows how many are safe.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::Parking;
use super::attachment::Attachment;
use super::owner::Owner;
use super::rooms::CountedClient;
use super::slot::{Sharing, Slot, Stored};
use super::token::{Token, TokenDigest};
use base::instance;
use session::handshake::Handshake;
use session::registry::Session;
use session::store::StoreError;
use upstream::Place;

/// Version of the record. A process removes records of other versions: their streams are lost.
const VERSION: u32 = 1;
/// Maximum size of a record, in bytes. What policies know of a client can be more.
const MAX_RECORD: usize = 64 * 1024;
/// Maximum time that a client waits for its record to be safe.
const PATIENCE: Duration = Duration::from_secs(1);

/// Record of a stream.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredStream {
    version: u32,
    /// ID of the session that began the stream, where the record is found by a token.
    #[serde(default)]
    pub(crate) stream: String,
    /// Instance id of the gateway that saved it.
    #[serde(default)]
    gateway: String,
    tokens: Vec<TokenDigest>,
    pub(crate) owner: Owner,
    client: CountedClient,
    pub(crate) state: StoredState,
}

/// State of a stream, as the next process finds it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoredState {
    /// Its client may go on with it.
    Open(Box<OpenStream>),
    /// It was completed with this many bytes of audio.
    Complete(u64),
}

/// Stream that may go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenStream {
    /// Session that has it, or had it last.
    pub(crate) session_id: String,
    pub(crate) remote: SocketAddr,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) user: Option<String>,
    /// In seconds since 1970.
    pub(crate) expires_at: Option<u64>,
    pub(crate) claims: Vec<String>,
    /// Time when the stream began, in milliseconds since 1970.
    pub(crate) began_ms: u64,
    pub(crate) handshake: Handshake,
    pub(crate) place: Place,
}

/// Reason why a stream is not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStored {
    /// The store has failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// The disk takes too long.
    #[error("the disk did not answer within {PATIENCE:?}")]
    Slow,
    /// There is too much to be stored.
    #[error("it has {0} bytes, and {MAX_RECORD} are the most")]
    TooLarge(usize),
}

impl OpenStream {
    /// Whether other gateways can go on with it.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.place, Place::Chain { .. })
    }

    /// A session's stream that may go on from this place.
    pub(crate) fn of(
        session: &Session,
        handshake: &Handshake,
        place: Place,
        began_ms: u64,
    ) -> Self {
        let facts = &session.facts;
        Self {
            session_id: facts.session_id.to_string(),
            remote: facts.remote,
            attributes: facts.attributes(),
            user: session.user().map(str::to_owned),
            expires_at: session.expires_at(),
            claims: session.claims(),
            began_ms,
            handshake: handshake.clone(),
            place,
        }
    }
}

impl StoredStream {
    /// Instance id of the gateway that saved it; empty if that was an older one.
    pub(super) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Tokens that lead to the stream.
    pub(super) fn tokens(&self) -> &[TokenDigest] {
        &self.tokens
    }

    /// Reads a record; `None` if it is none of this version.
    pub(crate) fn read(record: &[u8]) -> Option<Self> {
        let stored: Self = serde_json::from_slice(record).ok()?;
        (stored.version == VERSION).then_some(stored)
    }
}

impl Attachment {
    /// Stores the stream, and waits until it is safe. Does nothing without a store.
    ///
    /// # Errors
    /// [`NotStored`]. The client must not be promised that it may come back.
    pub(crate) async fn store(&mut self, open: OpenStream) -> Result<(), NotStored> {
        // Before it is saved, so that whoever waits for the last one does not miss this one.
        let durable = self.parking.durable.token();
        if self.parking.durable.is_closed() {
            return Err(StoreError::Ended.into());
        }
        let sharing = match open.is_shared() {
            true => Sharing::Shared,
            false => Sharing::Own,
        };
        let saving = self.save(StoredState::Open(Box::new(open)), sharing)?;
        let Some(saving) = saving else {
            return Ok(());
        };
        self.durable = Some(durable);
        let saved = timeout(PATIENCE, saving).await;
        Ok(saved.map_err(|_| NotStored::Slow)??)
    }

    /// Stores where a restored stream goes on, for the next process. Nobody waits for it: its client
    /// was promised before that it may come back. The shared records stay, as they name no writer.
    ///
    /// # Errors
    /// [`NotStored`].
    pub(crate) fn store_place(&self, open: OpenStream) -> Result<(), NotStored> {
        let (record, _) = self.record(StoredState::Open(Box::new(open)))?;
        self.slot.lock().stored = Stored::Yes;
        if let Some(store) = self.parking.store.get() {
            drop(store.save(&self.slot.stream, record));
        }
        Ok(())
    }

    /// Stores that the stream is complete. Nobody waits for it: until it is safe the client finds
    /// the stream as it was, and completes it once more.
    pub(super) fn store_that_complete(&self, bytes: u64) {
        let slot = self.slot.lock();
        let (is_stored, sharing) = (slot.stored == Stored::Yes, slot.sharing);
        drop(slot);
        if is_stored {
            drop(self.save(StoredState::Complete(bytes), sharing));
        }
    }

    fn save(
        &self,
        state: StoredState,
        sharing: Sharing,
    ) -> Result<Option<impl Future<Output = Result<(), StoreError>> + use<>>, NotStored> {
        let store = self.parking.store.get();
        let shared = self.parking.shared.get();
        let shared = shared.filter(|_| sharing == Sharing::Shared);
        if store.is_none() && shared.is_none() {
            return Ok(None);
        }
        let session_id = match &state {
            StoredState::Open(open) => Some(open.session_id.clone()),
            StoredState::Complete(_) => None,
        };
        let (record, tokens) = self.record(state)?;
        let mut slot = self.slot.lock();
        slot.session_id = session_id;
        slot.stored = Stored::Yes;
        slot.sharing = sharing;
        drop(slot);
        let own = store.map(|store| store.save(&self.slot.stream, record.clone()));
        let shared = shared.into_iter().flat_map(|shared| {
            let tokens = tokens.iter();
            tokens.map(|token| shared.save(token.as_str(), record.clone()))
        });
        let saving: Vec<_> = own.into_iter().chain(shared).collect();
        Ok(Some(async move {
            try_join_all(saving).await?;
            Ok(())
        }))
    }

    /// Record of the stream, and the tokens that lead to it.
    fn record(&self, state: StoredState) -> Result<(Vec<u8>, Vec<TokenDigest>), NotStored> {
        let stored = StoredStream {
            version: VERSION,
            stream: self.slot.stream.to_string(),
            gateway: instance::id().to_owned(),
            tokens: self.slot.lock().tokens.clone(),
            owner: self.slot.owner.clone(),
            client: self.slot.client.clone(),
            state,
        };
        let record =
            serde_json::to_vec(&stored).map_err(|error| StoreError::Disk(error.to_string()))?;
        if record.len() > MAX_RECORD {
            return Err(NotStored::TooLarge(record.len()));
        }
        Ok((record, stored.tokens))
    }
}

impl Parking {
    /// Attaches to a new slot of a stream that an earlier process has stored.
    pub(crate) fn restore(self: &Arc<Self>, stream: Arc<str>, stored: &StoredStream) -> Attachment {
        let sequence = self.sequence();
        self.supersede(&stream, sequence);
        let (owner, client) = (stored.owner.clone(), stored.client.clone());
        let attachment = Attachment {
            parking: Arc::clone(self),
            slot: Arc::new(Slot::new(owner, client, stream, sequence)),
            sequence,
            // Nobody is told this one.
            token: Token::random(),
            durable: Some(self.durable.token()),
        };
        for token in &stored.tokens {
            attachment.add_token(token.clone());
        }
        let mut slot = attachment.slot.lock();
        if let StoredState::Open(open) = &stored.state
            && open.is_shared()
        {
            // Until it goes on here, the record stays for the next process.
            slot.sharing = Sharing::Shared;
            slot.session_id = Some(open.session_id.clone());
        } else {
            slot.stored = Stored::Yes;
        }
        drop(slot);
        attachment
    }
}
