//! One service: its connections, the answers that are kept, and what it may take to ask it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use base::metrics;
use base::tls::client::Roots;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use session::registry::Client;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::breaker::{Breaker, Failure};
use super::cache::{Cache, Given};
use super::request::Call;
use super::settings::{Method, Service};
use super::{Answer, AnswerError};

/// Connections without a request that are kept open.
const MAX_IDLE: usize = 32;
/// How long they are kept.
const IDLE: Duration = Duration::from_secs(30);
/// Media type of all bodies.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Result of a request, as all who wait for it get it.
type Outcome = Result<Arc<Given>, AnswerError>;

/// A service that policies ask.
pub(super) struct Destination {
    name: Arc<str>,
    service: Service,
    http: reqwest::Client,
    headers: HeaderMap,
    kept: Mutex<Kept>,
    breaker: Breaker,
    places: Semaphore,
}

/// What several decisions share.
struct Kept {
    cache: Cache,
    /// Requests that are under way, and will be kept.
    under_way: HashMap<Call, watch::Receiver<Option<Outcome>>>,
}

/// Where an answer comes from.
#[derive(Clone, Copy)]
enum Source {
    /// A request for this decision.
    Service,
    /// A request for another decision, which asks the same.
    Shared,
    /// The cache.
    Cache,
    /// The cache, because there is no new answer.
    Stale,
}

impl Source {
    /// Its word in metrics.
    const fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Shared => "shared",
            Self::Cache => "cache",
            Self::Stale => "stale",
        }
    }
}

/// Results of questions in metrics that are answers; the others are [`AnswerError::word`]s.
pub const SOURCES: [&str; 4] = [
    Source::Service.word(),
    Source::Shared.word(),
    Source::Cache.word(),
    Source::Stale.word(),
];

/// What to do about a question.
enum Step {
    Use(Arc<Given>),
    Join(watch::Receiver<Option<Outcome>>),
    Send,
}

/// How a request failed.
enum SendError {
    /// No connection came about.
    Unreachable(String),
    /// The connection broke.
    Lost(String),
    /// The service says that it fails.
    Status(StatusCode),
    /// The service answered, and nothing can be made of it.
    Answer(AnswerError),
}

impl Destination {
    /// A service with these settings. Blocks.
    pub(super) fn new(name: &str, service: Service) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &service.headers {
            let name = HeaderName::try_from(name.as_str()).context("a header's name")?;
            let mut value = HeaderValue::from_bytes(value.expose())
                .with_context(|| format!("the value of the header {name}"))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        headers.entry(ACCEPT).or_insert(JSON);
        let http = reqwest::Client::builder()
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(Roots::read(&service.authorities)?.config()?)
            .redirect(Policy::none())
            // A proxy of the environment would get the headers.
            .no_proxy()
            .pool_max_idle_per_host(MAX_IDLE)
            .pool_idle_timeout(IDLE)
            .build()?;
        let name: Arc<str> = name.into();
        Ok(Self {
            http,
            headers,
            kept: Mutex::new(Kept {
                cache: Cache::new(service.cache_entries, service.cache_size),
                under_way: HashMap::new(),
            }),
            breaker: Breaker::new(Arc::clone(&name)),
            places: Semaphore::new(service.max_waiting.min(Semaphore::MAX_PERMITS)),
            name,
            service,
        })
    }

    /// Its settings.
    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// Asks it, or finds the answer among those that are kept. After `until` nobody waits for it.
    pub(super) async fn ask(
        self: &Arc<Self>,
        call: Result<Call, AnswerError>,
        client: Client,
        until: Option<Instant>,
    ) -> Result<Answer, AnswerError> {
        let found = match call {
            Ok(call) => self.find(call, client, until).await,
            Err(error) => Err(error),
        };
        let word = match &found {
            Ok((source, _)) => source.word(),
            Err(error) => error.word(),
        };
        metrics::destination_asked(&self.name, word);
        let (source, given) = found?;
        let age = match source {
            Source::Service | Source::Shared => Duration::ZERO,
            Source::Cache | Source::Stale => given.at.elapsed(),
        };
        Ok(Answer {
            status: given.status,
            body: Arc::clone(&given.body),
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn find(
        self: &Arc<Self>,
        call: Call,
        client: Client,
        until: Option<Instant>,
    ) -> Result<(Source, Arc<Given>), AnswerError> {
        let (source, asking) = match self.step(&call) {
            Step::Use(given) => return Ok((Source::Cache, given)),
            Step::Join(outcome) => (Source::Shared, wait_for(outcome, until).await),
            Step::Send if self.shares() => {
                let outcome = self.send_for_all(call.clone(), client);
                (Source::Service, wait_for(outcome, until).await)
            }
            Step::Send => {
                let performed = Box::pin(self.perform(&call, client));
                (Source::Service, by(until, performed).await)
            }
        };
        match asking {
            Ok(given) => Ok((source, given)),
            Err(error) => match self.stale(&call) {
                Some(given) => Ok((Source::Stale, given)),
                None => Err(error),
            },
        }
    }

    /// Whether one request may be for several decisions.
    fn shares(&self) -> bool {
        !self.service.cache.is_zero()
    }

    fn step(&self, call: &Call) -> Step {
        if !self.shares() {
            return Step::Send;
        }
        let mut kept = self.lock();
        if let Some(given) = kept.cache.get(call)
            && given.at.elapsed() < self.service.cache
        {
            return Step::Use(given);
        }
        match kept.under_way.get(call) {
            Some(outcome) => Step::Join(outcome.clone()),
            None => Step::Send,
        }
    }

    /// An answer that is used where there is no new one.
    fn stale(&self, call: &Call) -> Option<Arc<Given>> {
        if self.service.stale.is_zero() {
            return None;
        }
        let given = self.lock().cache.get(call)?;
        let oldest = self.service.cache + self.service.stale;
        (given.at.elapsed() < oldest).then_some(given)
    }

    /// Makes a request for everybody who asks the same until it is answered. It goes on when the
    /// one who asked first has left.
    fn send_for_all(
        self: &Arc<Self>,
        call: Call,
        client: Client,
    ) -> watch::Receiver<Option<Outcome>> {
        let (tell, outcome) = watch::channel(None);
        match self.lock().under_way.entry(call.clone()) {
            // Somebody was quicker.
            std::collections::hash_map::Entry::Occupied(entry) => return entry.get().clone(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(outcome.clone());
            }
        }
        let guard = UnderWay {
            destination: Arc::clone(self),
            call,
        };
        tokio::spawn(async move {
            let outcome = guard.destination.perform(&guard.call, client).await;
            drop(guard);
            tell.send_replace(Some(outcome));
        });
        outcome
    }

    /// Makes a request, and keeps its answer.
    async fn perform(&self, call: &Call, client: Client) -> Outcome {
        let _place = self.places.try_acquire().map_err(|_| AnswerError::Busy)?;
        let attempt = self.breaker.enter(client).ok_or(AnswerError::Unavailable)?;
        let began = Instant::now();
        let sent = timeout(self.service.timeout, self.send(call)).await;
        metrics::destination_took(&self.name, began.elapsed());
        let (error, failure, cause) = match sent {
            Ok(Ok(given)) => {
                attempt.answered();
                let given = Arc::new(given);
                if self.service.keeps() && is_kept(given.status) {
                    self.lock().cache.put(call.clone(), Arc::clone(&given));
                }
                return Ok(given);
            }
            Ok(Err(SendError::Answer(error))) => {
                attempt.answered();
                return Err(error);
            }
            Ok(Err(SendError::Unreachable(cause))) => {
                (AnswerError::Unavailable, Failure::Unreachable, cause)
            }
            Ok(Err(SendError::Lost(cause))) => {
                (AnswerError::Unavailable, Failure::For(client), cause)
            }
            Ok(Err(SendError::Status(status))) => {
                let cause = format!("it answered with {}", status.as_u16());
                (AnswerError::Unavailable, Failure::For(client), cause)
            }
            Err(_) => {
                let cause = "it did not answer in time".to_owned();
                (AnswerError::Timeout, Failure::For(client), cause)
            }
        };
        tracing::debug!(
            destination = &*self.name,
            cause,
            "a service gives no answer"
        );
        attempt.failed(failure, &cause);
        Err(error)
    }

    async fn send(&self, call: &Call) -> Result<Given, SendError> {
        let url = call.url().map_err(SendError::Answer)?;
        let request = match self.service.method {
            Method::Get => self.http.get(url),
            Method::Post => self.http.post(url),
        };
        let mut request = request.headers(self.headers.clone());
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, JSON).body(body.clone());
        }
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status();
        if status.is_server_error() {
            return Err(SendError::Status(status));
        }
        if !status.is_success() && !status.is_client_error() {
            return Err(SendError::Answer(AnswerError::Unusable));
        }
        let max = self.service.max_response;
        let too_large = SendError::Answer(AnswerError::TooLarge);
        if response.content_length() > Some(max as u64) {
            return Err(too_large);
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if bytes.len() + chunk.len() > max {
                return Err(too_large);
            }
            bytes.extend_from_slice(&chunk);
        }
        let body =
            String::from_utf8(bytes).map_err(|_| SendError::Answer(AnswerError::Unusable))?;
        Ok(Given {
            status: status.as_u16(),
            body: body.into(),
            at: Instant::now(),
        })
    }

    // No change is left half done, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer of this status says something that lasts. Other refusals, such as 401 and 429,
/// are about the moment.
fn is_kept(status: u16) -> bool {
    matches!(status, 200..=299 | 404 | 410)
}

/// Without the address, which has data of clients in it.
fn broken(error: reqwest::Error) -> SendError {
    let is_connect = error.is_connect();
    let why = format!("{:#}", anyhow::Error::from(error.without_url()));
    if is_connect {
        SendError::Unreachable(why)
    } else {
        SendError::Lost(why)
    }
}

/// Request that is under way. Nobody joins it after it is dropped.
struct UnderWay {
    destination: Arc<Destination>,
    call: Call,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.destination.lock().under_way.remove(&self.call);
    }
}

/// Waits for an outcome that somebody else sends. Without one there was no answer.
async fn wait_for(
    mut outcome: watch::Receiver<Option<Outcome>>,
    until: Option<Instant>,
) -> Outcome {
    let told = async {
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(AnswerError::Unavailable)),
            Err(_) => Err(AnswerError::Unavailable),
        }
    };
    by(until, told).await
}

/// Waits until then at the most.
async fn by(until: Option<Instant>, outcome: impl Future<Output = Outcome>) -> Outcome {
    match until {
        Some(until) => timeout_at(until, outcome)
            .await
            .unwrap_or(Err(AnswerError::Timeout)),
        None => outcome.await,
    }
}
