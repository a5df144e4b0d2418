//! Connection of this gateway to NATS.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_nats::connection::State;
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{Client, ConnectOptions};
use base::instance;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

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
    /// The answer was a failure.
    #[error("NATS: {0}")]
    Failed(String),
}

impl Cluster {
    /// Connection with these settings, which [`Cluster::start`] or the first request makes.
    #[must_use]
    pub fn new(settings: settings::Cluster) -> Self {
        Self(Arc::new(Shared {
            settings,
            context: OnceCell::new(),
            health: Arc::new(Health::new()),
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

    /// Waits for the answer to a request, and records how it went.
    pub(crate) async fn within<T>(
        &self,
        request: impl Future<Output = Result<T, String>>,
    ) -> Result<T, Away> {
        let limit = self.0.settings.timeout;
        let answered = timeout(limit, request).await;
        match answered {
            Ok(Ok(answer)) => {
                self.0.health.succeeded();
                Ok(answer)
            }
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

    #[test]
    fn broken_credentials_are_refused_without_being_quoted() {
        let broken = Login::Credentials(base::secret::Secret::new("SUAPRIVATE"));
        let error = format!("{:#}", login(&broken).err().unwrap());
        assert!(!error.contains("SUAPRIVATE"), "{error}");
    }
}
