//! Connection of this gateway to NATS.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::connection::State;
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{Client, ConnectOptions};
use base::instance;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};

use crate::health::Health;
use crate::settings::{self, Login};

/// Interval of pings. Two that are not answered end the connection.
const PING: Duration = Duration::from_millis(500);
/// Time limit for a connection to one server.
const CONNECTING: Duration = Duration::from_secs(1);
/// Pause before the connection is made anew: the shortest and the longest, which grow with the
/// attempts. All gateways lose their server at once, so that each waits for a random part of it.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Maximum number of commands that wait for the connection.
const COMMANDS: usize = 256;
/// Maximum number of messages whose acknowledgement is awaited.
const UNACKNOWLEDGED: usize = 20_000;
/// Oldest version of the servers. Earlier ones may accept a message behind one that is not the last.
const OLDEST: (i64, i64) = (2, 11);
/// Maximum size of what a message brings, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;
/// Room for the headers of a message, in bytes.
const HEADERS: usize = 2 * 1024;
/// Time for which a refusal tells what a stream of `JetStream` does. A newcomer tries it after that.
const REFUSING: Duration = Duration::from_secs(10);
/// Pause between two looks whether there is a connection.
const LOOK: Duration = Duration::from_millis(20);
/// Time limit for telling the client that it must connect anew.
const TELLING: Duration = Duration::from_secs(1);

/// Connection of this gateway to NATS, which is shared by all its streams.
///
/// It is made in the background, and made anew whenever it is lost: a gateway starts, serves and
/// stops without it. Every request has a time limit. A request whose answer is missing may have
/// been carried out, or may be later, so all that is written here is written with the expectation
/// that makes a repetition harmless.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    settings: settings::Cluster,
    context: OnceCell<Context>,
    health: Arc<Health>,
    /// Number of writes that are not acknowledged.
    pending: AtomicUsize,
    /// Streams of `JetStream` that refused what was last written, with the reason and the time.
    refusals: Mutex<HashMap<String, (String, Instant)>>,
    /// Names of the streams of `JetStream` that are known to exist.
    pub(crate) spaces: Mutex<Vec<String>>,
}

/// Reason why the servers could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Away {
    /// There is no connection now.
    #[error("there is no connection to NATS")]
    NotConnected,
    /// The connection cannot be made with these settings.
    #[error("the connection to NATS cannot be made: {0}")]
    Settings(String),
    /// There was no answer in time.
    #[error("NATS did not answer within {0:?}")]
    Slow(Duration),
    /// The server is of a version whose writes cannot be relied on.
    #[error("the NATS server has version {0}, and 2.11 is the oldest that Sluice writes to")]
    TooOld(String),
    /// The answer was a failure.
    #[error("NATS: {0}")]
    Failed(String),
}

/// Write that is not acknowledged.
pub(crate) struct Pending(Arc<Shared>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cluster {
    /// Connection with these settings, which [`Cluster::start`] or the first request makes.
    #[must_use]
    pub fn new(settings: settings::Cluster) -> Self {
        Self(Arc::new(Shared {
            settings,
            context: OnceCell::new(),
            health: Arc::new(Health::new()),
            pending: AtomicUsize::new(0),
            refusals: Mutex::default(),
            spaces: Mutex::default(),
        }))
    }

    /// Settings of the connection.
    #[must_use]
    pub fn settings(&self) -> &settings::Cluster {
        &self.0.settings
    }

    /// Begins to connect, in the background.
    ///
    /// # Errors
    /// If it can never be made with these settings.
    pub async fn start(&self) -> Result<(), Away> {
        self.made().await.map(drop)
    }

    /// Waits until there is a connection. The caller limits the time.
    ///
    /// # Errors
    /// If it can never be made with these settings.
    pub async fn connected(&self) -> Result<(), Away> {
        self.made().await?;
        while !self.is_connected() {
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Whether there is a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let context = self.0.context.get();
        context.is_some_and(|context| context.client().connection_state() == State::Connected)
    }

    /// Time when the connection was made or lost, in milliseconds since 1970. At first, it is that of
    /// the start.
    #[must_use]
    pub fn since_ms(&self) -> u64 {
        self.0.health.since_ms()
    }

    /// Number of writes that are not acknowledged: messages of streams, and records.
    #[must_use]
    pub fn pending_writes(&self) -> usize {
        self.0.pending.load(Ordering::Relaxed)
    }

    /// Counts a write until this is dropped.
    pub(crate) fn pending(&self) -> Pending {
        self.0.pending.fetch_add(1, Ordering::Relaxed);
        Pending(Arc::clone(&self.0))
    }

    /// Context for requests, if there is a connection now.
    pub(crate) async fn context(&self) -> Result<&Context, Away> {
        let context = self.made().await?;
        match self.is_connected() {
            true => Ok(context),
            // What is sent now would wait in memory, and be sent when nobody wants it any more.
            false => Err(Away::NotConnected),
        }
    }

    /// Context for requests, with the connection or without.
    async fn made(&self) -> Result<&Context, Away> {
        let made = self.0.context.get_or_try_init(|| self.connect()).await;
        made.map_err(|error| Away::Settings(format!("{error:#}")))
    }

    /// Waits for the answer to a request, and records a failure. Only the caller knows whether an
    /// answer is a success: a leader that is cut off answers reads, too.
    pub(crate) async fn within<T>(
        &self,
        request: impl Future<Output = Result<T, String>>,
    ) -> Result<T, Away> {
        let limit = self.0.settings.timeout;
        let answered = timeout(limit, request).await;
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.has_failed();
                Err(Away::Failed(error))
            }
            Err(_) => {
                self.has_failed();
                Err(Away::Slow(limit))
            }
        }
    }

    /// Records a success.
    pub(crate) fn has_succeeded(&self) {
        self.0.health.succeeded();
    }

    /// Records a failure, and makes the connection anew if it is of no use.
    pub(crate) fn has_failed(&self) {
        let context = self.0.context.get();
        let Some(context) = context.filter(|_| self.is_connected()) else {
            return;
        };
        if self.0.health.failed() {
            let client = context.client();
            tokio::spawn(reconnect(client));
        }
    }

    /// Checks the version of the server that is connected now.
    pub(crate) fn is_new_enough(&self, client: &Client) -> Result<(), Away> {
        match client.is_server_compatible(OLDEST.0, OLDEST.1, 0) {
            true => Ok(()),
            false => Err(Away::TooOld(client.server_info().version)),
        }
    }

    /// Maximum size of what a message brings: less than the server takes, because headers count.
    #[must_use]
    pub fn max_message(&self) -> usize {
        let context = self.0.context.get();
        let taken = context.map_or(usize::MAX, |context| context.client().max_payload());
        taken.saturating_sub(HEADERS).clamp(1, MAX_MESSAGE)
    }

    /// Records that this stream of `JetStream` refuses what is written, as a full one does.
    pub(crate) fn refuses(&self, space: &str, why: &str) {
        let refusal = (why.to_owned(), Instant::now());
        self.refusals().insert(space.to_owned(), refusal);
    }

    /// Records that this stream of `JetStream` takes what is written.
    pub(crate) fn takes(&self, space: &str) {
        self.refusals().remove(space);
    }

    /// Why this stream of `JetStream` refused what was last written, if that is not long ago.
    #[must_use]
    pub fn refusal(&self, space: &str) -> Option<String> {
        let refusals = self.refusals();
        let (why, at) = refusals.get(space)?;
        (at.elapsed() < REFUSING).then(|| why.clone())
    }

    // Every change is one call, so poisoning does not matter.
    fn refusals(&self) -> MutexGuard<'_, HashMap<String, (String, Instant)>> {
        self.0
            .refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this stream of `JetStream` is known to exist.
    pub(crate) fn knows(&self, space: &str) -> bool {
        let spaces = self.0.spaces.lock();
        let spaces = spaces.unwrap_or_else(PoisonError::into_inner);
        spaces.iter().any(|known| known == space)
    }

    /// Records that this stream of `JetStream` exists. Returns whether that is news.
    pub(crate) fn has(&self, space: &str) -> bool {
        let spaces = self.0.spaces.lock();
        let mut spaces = spaces.unwrap_or_else(PoisonError::into_inner);
        let is_news = spaces.iter().all(|known| known != space);
        if is_news {
            spaces.push(space.to_owned());
        }
        is_news
    }

    /// Records that this stream of `JetStream` may be gone.
    pub(crate) fn doubts(&self, space: &str) {
        let spaces = self.0.spaces.lock();
        let mut spaces = spaces.unwrap_or_else(PoisonError::into_inner);
        spaces.retain(|known| known != space);
    }

    async fn connect(&self) -> anyhow::Result<Context> {
        let settings = &self.0.settings;
        let health = Arc::clone(&self.0.health);
        let mut options = login(&settings.login)?
            .name(format!("sluice-{}", instance::id()))
            .retry_on_initial_connect()
            .ping_interval(PING)
            .connection_timeout(CONNECTING)
            .request_timeout(Some(settings.timeout))
            .client_capacity(COMMANDS)
            // A server announces addresses that nobody has configured. A password must not go
            // there without TLS.
            .ignore_discovered_servers()
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                health.hears(&event);
                std::future::ready(())
            });
        if let Some(tls) = &settings.tls {
            options = options
                .require_tls(true)
                .tls_client_config(tls.config.as_ref().clone());
        }
        let connected = options.connect(&settings.servers[..]).await;
        let client = connected.context("the addresses of the servers")?;
        Ok(ContextBuilder::new()
            .timeout(settings.timeout)
            .ack_timeout(settings.timeout)
            .max_ack_inflight(UNACKNOWLEDGED)
            .build(client))
    }
}

/// Options with the login.
fn login(login: &Login) -> anyhow::Result<ConnectOptions> {
    let text = |secret: &base::secret::Secret| {
        String::from_utf8(secret.expose().to_vec()).context("the login is not UTF-8")
    };
    let options = ConnectOptions::new();
    Ok(match login {
        Login::None => options,
        Login::Credentials(credentials) => {
            let read = options.credentials(&text(credentials)?);
            // Its error may quote what it has read.
            read.map_err(|_| anyhow::anyhow!("the credentials are not a credentials file"))?
        }
        Login::Password { user, password } => {
            options.user_and_password(user.clone(), text(password)?)
        }
    })
}

/// Pause before an attempt to connect.
fn pause(attempts: usize) -> Duration {
    let (shortest, longest) = PAUSES;
    let doubled = u32::try_from(attempts.min(10)).unwrap_or(10);
    let most = shortest.saturating_mul(1 << doubled).min(longest);
    most.mul_f64(0.5 + fastrand::f64() / 2.0)
}

async fn reconnect(client: Client) {
    tracing::warn!("NATS is connected, and answers nothing: the connection is made anew");
    // If there is no room even for that, the pings end the connection.
    drop(timeout(TELLING, client.force_reconnect()).await);
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster")
            .field(&self.0.settings.servers)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};

    #[test]
    fn pauses_grow_to_their_limit_and_are_random() {
        let (shortest, longest) = PAUSES;
        assert!(pause(0) <= shortest);
        let late: Vec<_> = (0..32).map(|_| pause(1000)).collect();
        assert!(
            late.iter()
                .all(|pause| *pause >= longest / 2 && *pause <= longest)
        );
        assert!(late.iter().any(|pause| *pause != late[0]));
    }

    /// Server that speaks until the client is connected, and hangs up. It announces another address.
    fn hangs_up(server: &TcpListener, version: &str, announced: SocketAddr) {
        let (mut socket, _) = server.accept().unwrap();
        let port = server.local_addr().unwrap().port();
        let info = format!(
            r#"INFO {{"server_id":"s","server_name":"s","host":"127.0.0.1","port":{port},"version":"{version}","proto":1,"headers":true,"max_payload":1048576,"connect_urls":["{announced}"]}}"#
        );
        write!(socket, "{info}\r\n").unwrap();
        let mut said = Vec::new();
        let mut some = [0; 1024];
        while !said.windows(4).any(|said| said == b"PING") {
            let size = socket.read(&mut some).unwrap();
            assert!(size > 0, "the client hung up");
            said.extend_from_slice(&some[..size]);
        }
        socket.write_all(b"PONG\r\n").unwrap();
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    fn of(server: SocketAddr) -> Cluster {
        Cluster::new(settings::Cluster {
            servers: vec![format!("nats://{server}")],
            login: Login::None,
            tls: None,
            replicas: 1,
            prefix: "sluice".to_owned(),
            timeout: Duration::from_secs(2),
        })
    }

    #[tokio::test]
    async fn no_server_is_asked_that_another_one_has_announced() {
        let ((named, address), (announced, elsewhere)) = (listener(), listener());
        let cluster = of(address);
        cluster.start().await.unwrap();
        let serving = tokio::task::spawn_blocking(move || {
            for _ in 0..8 {
                hangs_up(&named, "2.11.0", elsewhere);
            }
        });
        serving.await.unwrap();
        announced.set_nonblocking(true).unwrap();
        let error = announced.accept().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn broken_credentials_are_refused_without_being_quoted() {
        let broken = Login::Credentials(base::secret::Secret::new("SUAPRIVATE"));
        let error = format!("{:#}", login(&broken).err().unwrap());
        assert!(!error.contains("SUAPRIVATE"), "{error}");
    }
}
