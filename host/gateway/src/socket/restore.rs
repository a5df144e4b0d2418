//! Restores the streams of an earlier process, before this one takes connections.
//!
//! A restored stream is a parked one: its claims are held, its recording is open, and its client has
//! the route's grace period to come back.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use axum::http::HeaderMap;
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::cause::Cause;
use super::resume;
use crate::connections::{Beginning, LiveConnection, Stage};
use crate::parking::pace::Pace;
use crate::parking::{Attachment, Found, OpenStream, Owner, StoredState, StoredStream, Stream};
use crate::routes::{Gateway, Route};
use crate::watchdog::watched;
use base::metrics;
use base::permits::{ShareHolder, network};
use session::facts::{Credentials, Facts};
use session::registry::{Client, Session, SessionGuard, unix_ms};
use session::store::Store;
use upstream::{Counted, Destination, OpenError, Receipts, Reopened, StreamInfo};

/// Number of streams that are restored at once.
const AT_ONCE: usize = 64;
/// Time limit for opening the upstreams of all streams: a disk that hangs must not keep the gateway
/// from serving.
const OPENING: Duration = Duration::from_secs(5);

/// Keeps streams in this store, and restores those that it has.
pub async fn restore(
    gateway: &Arc<Gateway>,
    store: Arc<dyn Store>,
    records: Vec<(String, Vec<u8>)>,
) {
    gateway.parking.keep_in(Arc::clone(&store));
    if records.is_empty() {
        return;
    }
    let mut counts = [0_usize; 4];
    let deadline = Instant::now() + OPENING;
    let mut restoring = futures_util::stream::iter(records)
        .map(|(stream, record)| restore_one(gateway, stream, record, deadline))
        .buffer_unordered(AT_ONCE);
    while let Some((stream, result)) = restoring.next().await {
        let (result, count) = match result {
            Ok(Restored::Later(held)) => {
                let later = open_later(Arc::clone(gateway), Arc::clone(&store), held);
                gateway.tasks.spawn(watched(later));
                counts[3] += 1;
                continue;
            }
            Ok(Restored::Parked) => ("restored", &mut counts[0]),
            Ok(Restored::Complete) => ("complete", &mut counts[1]),
            Err(error) => {
                is_lost(&*store, &stream, error);
                ("lost", &mut counts[2])
            }
        };
        metrics::restored(result);
        *count += 1;
    }
    let [restored, complete, lost, later] = counts;
    tracing::info!(
        restored,
        complete,
        lost,
        later,
        "the streams of the earlier process wait for their clients"
    );
}

/// Removes the record of a stream that does not go on.
fn is_lost(store: &dyn Store, stream: &str, error: anyhow::Error) {
    let error = why(error);
    tracing::warn!(stream, error, "a stream of the earlier process is lost");
    store.forget(stream);
}

/// Opens the upstream of a stream whose servers may be away. Meanwhile its claims are held, and its
/// client waits. Unless the servers say that the stream is over, its record stays for the next
/// process.
async fn open_later(gateway: Arc<Gateway>, store: Arc<dyn Store>, held: Box<Held>) {
    let stream = Arc::clone(&held.stream);
    let deadline = Instant::now() + held.grace;
    let opened = tokio::select! {
        biased;
        () = gateway.shutdown.draining() => return,
        () = gateway.shutdown.handed_over() => return,
        opened = held.open(&gateway, deadline) => opened,
    };
    let result = match opened {
        Ok(()) => "restored",
        Err(error) => {
            if let Some(OpenError::NoPlace { .. }) = error.downcast_ref() {
                is_lost(&*store, &stream, error);
            } else {
                let error = why(error);
                tracing::warn!(
                    stream = &*stream,
                    error,
                    "a stream of the earlier process does not go on here now"
                );
            }
            "lost"
        }
    };
    metrics::restored(result);
}

/// What became of a stream.
enum Restored {
    /// Its claims are held. Its upstream opens while the gateway serves.
    Later(Box<Held>),
    /// It waits for its client.
    Parked,
    /// It was complete, and its client may ask.
    Complete,
}

async fn restore_one(
    gateway: &Arc<Gateway>,
    id: String,
    record: Vec<u8>,
    deadline: Instant,
) -> (String, anyhow::Result<Restored>) {
    let stream = id.as_str().into();
    let result = match StoredStream::read(&record) {
        Some(stored) => match hold(gateway, stream, stored) {
            Ok(Some(held)) if held.open.is_shared() => Ok(Restored::Later(held)),
            Ok(Some(held)) => held
                .open(gateway, deadline)
                .await
                .map(|()| Restored::Parked),
            Ok(None) => Ok(Restored::Complete),
            Err(error) => Err(error),
        },
        None => Err(anyhow!("its record is of another version, or broken")),
    };
    (id, result)
}

/// Stream whose claims are held, and to which its tokens lead, before its upstream is open.
struct Held {
    stream: Arc<str>,
    attachment: Attachment,
    guard: SessionGuard,
    live: Arc<LiveConnection>,
    route: Arc<Route>,
    grace: Duration,
    open: Box<OpenStream>,
}

/// Holds a stream for its client. `None` if it was complete, and its client may ask.
fn hold(
    gateway: &Arc<Gateway>,
    stream: Arc<str>,
    stored: StoredStream,
) -> anyhow::Result<Option<Box<Held>>> {
    let generation = gateway.generation.load_full();
    let name = &*stored.owner.route;
    let route = generation.routes.named(name);
    let route = route.with_context(|| format!("there is no route \"{name}\" any more"))?;
    let grace = route.limits.resume_grace;
    let grace = grace.with_context(|| format!("route \"{name}\" has no resume_grace any more"))?;
    let attachment = gateway.parking.restore(Arc::clone(&stream), &stored);
    let open = match stored.state {
        StoredState::Open(open) => open,
        StoredState::Complete(bytes) => {
            let remembered = attachment.complete(bytes);
            let remembered = remembered.context("max_parked streams are remembered already")?;
            let staying = remembered.stay(grace, gateway.shutdown.clone());
            gateway.tasks.spawn(staying);
            return Ok(None);
        }
    };
    let guard = session(gateway, &stream, &stored.owner, &open);
    let live = gateway.connections.begin(Beginning {
        session: Arc::clone(guard.session()),
        generation: generation.number,
        identified_by: Arc::clone(&route.identified_by),
        // The connection that began it has its own.
        trace: None,
    });
    live.speaks(&open.handshake);
    Ok(Some(Box::new(Held {
        stream,
        attachment,
        guard,
        live,
        route: Arc::clone(route),
        grace,
        open,
    })))
}

impl Held {
    /// Opens the upstream, and parks the stream.
    async fn open(
        self: Box<Self>,
        gateway: &Arc<Gateway>,
        deadline: Instant,
    ) -> anyhow::Result<()> {
        let Self {
            attachment,
            guard,
            live,
            route,
            grace,
            mut open,
            ..
        } = *self;
        let is_shared = open.is_shared();
        let reopened = reopen(gateway, &route, guard.session(), OpenStream::clone(&open));
        let reopened = timeout_at(deadline, reopened).await;
        let stream = reopened.context("its upstream did not open in time")??;
        if let Some(place) = stream.link.place().filter(|_| is_shared) {
            // The process after this one must know this writer.
            open.place = place;
            attachment.store_place(*open)?;
        }
        // Another gateway that has the stream keeps its claims.
        gateway.registry.restored(guard.session());
        live.streams_to(&stream.destination, stream.bytes);
        live.enter(Stage::Parked);
        let parked = attachment.park_restored(stream, guard);
        let limits = resume::park_limits(&route.limits, grace, &Cause::Eof);
        let running = parked.run(limits, gateway.shutdown.clone());
        gateway.tasks.spawn(watched(async move {
            running.await;
            // Operators see it until it has ended, or goes on over a connection.
            drop(live);
        }));
        Ok(())
    }
}

/// Why a stream of another gateway does not go on here.
pub(crate) enum Brought {
    /// It is over, or goes on elsewhere.
    Gone(anyhow::Error),
    /// Its upstream cannot go on with it now.
    NotNow(OpenError),
}

/// Brings a stream of another gateway here, where its client takes it.
pub(crate) async fn bring(gateway: &Arc<Gateway>, found: Found) -> Result<(), Brought> {
    let Found { stream, stored, .. } = found;
    let deadline = Instant::now() + OPENING;
    let brought = match hold(gateway, Arc::clone(&stream), stored) {
        Ok(Some(held)) => held.open(gateway, deadline).await,
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    match brought {
        Ok(_) => {
            tracing::info!(
                stream = &*stream,
                "a stream of another gateway goes on here"
            );
            Ok(())
        }
        Err(error) => Err(match error.downcast::<OpenError>() {
            Ok(OpenError::NoPlace { detail, .. }) => Brought::Gone(detail),
            Ok(error) => Brought::NotNow(error),
            Err(error) => Brought::Gone(error),
        }),
    }
}

/// The session as it was, with its claims.
fn session(gateway: &Gateway, stream: &Arc<str>, owner: &Owner, open: &OpenStream) -> SessionGuard {
    let source = owner.source.iter();
    let query: Vec<_> = source
        .map(|source| ("source".to_owned(), source.clone()))
        .collect();
    let facts = Facts::of_parts(
        open.session_id.as_str().into(),
        (*owner.route).into(),
        owner.params.clone(),
        ("", &query, HeaderMap::new()),
        open.remote,
    );
    facts.restore_attributes(open.attributes.clone());
    let guard = SessionGuard::new(facts, gateway.registry.clone());
    let session = guard.session();
    // Also if it began the stream: it must not conflict with the client that comes back for it.
    session.resumes(stream);
    if let Some(user) = &open.user {
        session.identify(user);
    }
    if let Some(at) = open.expires_at {
        session.expires(at);
    }
    for key in &open.claims {
        if let Err(error) = gateway.registry.claim(session, key) {
            // Only a store that somebody has edited has two owners of a key.
            tracing::warn!(session_id = open.session_id, %error, "a claim is not restored");
        }
    }
    gateway.registry.restoring(session);
    if !open.is_shared() {
        // No other gateway can go on with the stream.
        gateway.registry.restored(session);
    }
    guard
}

/// Opens the upstream where the stream goes on.
async fn reopen(
    gateway: &Gateway,
    route: &Route,
    session: &Session,
    open: OpenStream,
) -> anyhow::Result<Stream> {
    let destination = Arc::<Destination>::default();
    let facts = &session.facts;
    let info = StreamInfo {
        session_id: facts.session_id.to_string(),
        route: facts.route.to_string(),
        params: facts.params.clone(),
        source: facts
            .query("source", Credentials::Withheld)
            .map(Cow::into_owned),
        handshake: Some(open.handshake.clone()),
        greeting: None,
        // Without them it would not be stored.
        receipts: Receipts::Given,
        facts: Arc::clone(facts),
        client: Client::of(session),
        identified_by: Arc::clone(&route.identified_by),
        traceparent: None,
        destination: Arc::clone(&destination),
    };
    let descriptors = gateway.permits.upstream(route.upstream.descriptors());
    let descriptors = descriptors.context("file descriptors are scarce")?;
    let Reopened { link, bytes } = route.upstream.reopen(info, open.place).await?;
    let link = Box::new(Counted::new(link, descriptors));
    let lasted = Duration::from_millis(unix_ms().saturating_sub(open.began_ms));
    let pace = Pace::resume(&route.limits, &open.handshake, lasted, bytes);
    let holder = ShareHolder::Address(network(facts.remote.ip()));
    let charge = gateway.permits.memory.charge(holder);
    let mut stream = Stream::begin(link, destination, pace, charge);
    stream.bytes = bytes;
    Ok(stream)
}

/// Why a stream is lost, for the operator.
fn why(error: anyhow::Error) -> String {
    match error.downcast::<OpenError>() {
        Ok(OpenError::Unavailable { public, detail } | OpenError::NoPlace { public, detail }) => {
            format!("{public}: {detail:#}")
        }
        Ok(OpenError::Away(detail)) => format!("{detail:#}"),
        Ok(refused @ OpenError::Refused(_)) => refused.to_string(),
        Err(error) => format!("{error:#}"),
    }
}
