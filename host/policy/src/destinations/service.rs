//! One service: its connections, the answers that are kept, and what it may take to ask it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use base::credentials::is_sensitive;
use base::metrics;
use base::permits::{Share, Tally, fair_share};
use base::secret::Secret;
use base::tls::client::Roots;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use session::registry::Client;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};

use super::breaker::{Breaker, Failure};
use super::cache::{Cache, Given};
use super::request::Call;
use super::settings::{MAX_IDLE, Method, Service};
use super::{Answer, AnswerError, Asker};

/// How long connections without a request are kept: less than the 5 s after which many servers close them.
const IDLE: Duration = Duration::from_secs(4);
/// Time after which a service that has not answered has failed, even if the admission ends before
/// its `timeout`.
const PATIENCE: Duration = Duration::from_secs(1);
/// A value of a header that is shorter may be in any answer.
const SHORTEST_SECRET: usize = 8;
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
    /// Credentials among the headers. No answer may have them.
    secrets: Vec<Secret>,
    kept: Mutex<Kept>,
    breaker: Breaker,
    places: Semaphore,
    max_places: usize,
    /// Places of each client.
    of_clients: Tally<Client>,
}

/// Place of a request that waits.
struct Place<'a> {
    _place: SemaphorePermit<'a>,
    _share: Share<Client>,
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
        // Without TLS no authorities are needed, and this machine may have none.
        let roots = if service.url.is_https() {
            Roots::read(&service.authorities)?
        } else {
            Roots::none()
        };
        let max_places = service.max_waiting.min(Semaphore::MAX_PERMITS);
        let http = reqwest::Client::builder()
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(roots.config()?)
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
            secrets: secrets(&service),
            kept: Mutex::new(Kept {
                cache: Cache::new(service.cache_entries, service.cache_size),
                under_way: HashMap::new(),
            }),
            breaker: Breaker::new(Arc::clone(&name)),
            places: Semaphore::new(max_places),
            max_places,
            of_clients: Tally::default(),
            name,
            service,
        })
    }

    /// Its settings.
    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    /// Its circuit breaker.
    pub(super) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Asks it, or finds the answer among those that are kept. After `until` nobody waits for it.
    pub(super) async fn ask(
        self: &Arc<Self>,
        call: Result<Call, AnswerError>,
        asker: Asker,
        until: Option<Instant>,
    ) -> Result<Answer, AnswerError> {
        let found = match call {
            Ok(call) => self.find(call, asker, until).await,
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
        asker: Asker,
        until: Option<Instant>,
    ) -> Result<(Source, Arc<Given>), AnswerError> {
        let (source, asking) = match self.step(&call) {
            Step::Use(given) => return Ok((Source::Cache, given)),
            Step::Join(outcome) => (Source::Shared, wait_for(outcome, until).await),
            // Nobody who decides depends on a request that is only watched.
            Step::Send if self.shares() && matches!(asker, Asker::Deciding(_)) => {
                let outcome = self.send_for_all(call.clone(), asker);
                (Source::Service, wait_for(outcome, until).await)
            }
            Step::Send => {
                let performed = Box::pin(self.perform(&call, asker, until));
                (Source::Service, performed.await)
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
        asker: Asker,
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
            let outcome = guard.destination.perform(&guard.call, asker, None).await;
            drop(guard);
            tell.send_replace(Some(outcome));
        });
        outcome
    }

    /// A place for a request, if there is one. When nearly all are taken, the last ones are for
    /// clients that have few. Policies that decide nothing leave half of them to the others.
    fn place(&self, asker: Asker) -> Option<Place<'_>> {
        let free = self.places.available_permits();
        if matches!(asker, Asker::Watching(_)) && free <= self.max_places / 2 {
            return None;
        }
        let most = fair_share(self.max_places, free);
        let share = self.of_clients.take(asker.client(), most)?;
        let place = self.places.try_acquire().ok()?;
        Some(Place {
            _place: place,
            _share: share,
        })
    }

    /// Makes a request, and keeps its answer. It ends at `until` at the latest.
    async fn perform(&self, call: &Call, asker: Asker, until: Option<Instant>) -> Outcome {
        let _place = self.place(asker).ok_or(AnswerError::Busy)?;
        let client = asker.client();
        let attempt = match asker {
            Asker::Deciding(client) => self.breaker.enter(client),
            Asker::Watching(_) => self.breaker.enter_watching(),
        };
        let attempt = attempt.ok_or(AnswerError::Unavailable)?;
        let took = Took {
            destination: &self.name,
            began: Instant::now(),
        };
        let end = took.began.checked_add(self.service.timeout);
        let end = end.into_iter().chain(until).min();
        let sent = by(end, self.send(call)).await;
        let waited = took.began.elapsed();
        drop(took);
        let (error, failure, cause) = match sent {
            Some(Ok(given)) => {
                attempt.answered();
                let given = Arc::new(given);
                self.keep(call, &given);
                return Ok(given);
            }
            Some(Err(SendError::Answer(error))) => {
                attempt.answered();
                self.lock().cache.forget(call);
                return Err(error);
            }
            Some(Err(SendError::Unreachable(cause))) => {
                (AnswerError::Unavailable, Failure::Unreachable, cause)
            }
            Some(Err(SendError::Lost(cause))) => {
                (AnswerError::Unavailable, Failure::For(client), cause)
            }
            Some(Err(SendError::Status(status))) => {
                let cause = format!("it answered with {}", status.as_u16());
                (AnswerError::Unavailable, Failure::For(client), cause)
            }
            // It had too little time to have failed.
            None if waited < self.service.timeout.min(PATIENCE) => {
                return Err(AnswerError::Timeout);
            }
            None => {
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

    /// Keeps an answer, or forgets the one before it: it is not what the service says any more.
    fn keep(&self, call: &Call, given: &Arc<Given>) {
        if !self.service.keeps() {
            return;
        }
        let cache = &mut self.lock().cache;
        if is_kept(given.status) {
            cache.put(call.clone(), Arc::clone(given));
        } else {
            cache.forget(call);
        }
    }

    fn request(&self, call: &Call) -> Result<reqwest::RequestBuilder, SendError> {
        let url = call.url().map_err(SendError::Answer)?;
        let request = match self.service.method {
            Method::Get => self.http.get(url),
            Method::Post => self.http.post(url),
        };
        let request = request.headers(self.headers.clone());
        Ok(match &call.body {
            Some(body) => request.header(CONTENT_TYPE, JSON).body(body.clone()),
            None => request,
        })
    }

    async fn send(&self, call: &Call) -> Result<Given, SendError> {
        let response = match self.request(call)?.send().await {
            // The service may have closed a kept connection just then. A GET may be made twice.
            Err(error) if self.service.method == Method::Get && is_lost(&error) => {
                self.request(call)?.send().await
            }
            response => response,
        };
        let mut response = response.map_err(broken)?;
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
        let has = |secret: &Secret| {
            let secret = std::str::from_utf8(secret.expose());
            secret.is_ok_and(|secret| body.contains(secret))
        };
        if self.secrets.iter().any(has) {
            tracing::debug!(
                destination = &*self.name,
                "the service's answer has a header of the request in it, and is not used"
            );
            return Err(SendError::Answer(AnswerError::Unusable));
        }
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

/// Values of headers that are credentials, with and without their scheme.
fn secrets(service: &Service) -> Vec<Secret> {
    let headers = service.headers.iter();
    let credentials = headers.filter(|(name, _)| is_sensitive(name));
    let mut secrets = Vec::new();
    for (_, value) in credentials {
        let Ok(text) = std::str::from_utf8(value.expose()) else {
            continue;
        };
        let text = text.trim();
        let token = text.rsplit_once(' ').map(|(_, token)| token);
        let parts = [Some(text), token].into_iter().flatten();
        let parts = parts.filter(|part| part.len() >= SHORTEST_SECRET);
        secrets.extend(parts.map(Secret::new));
    }
    secrets
}

/// Whether a connection ended before an answer began.
fn is_lost(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
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

/// Time that a request takes, counted when it ends or nobody waits for it any more.
struct Took<'a> {
    destination: &'a str,
    began: Instant,
}

impl Drop for Took<'_> {
    fn drop(&mut self) {
        metrics::destination_took(self.destination, self.began.elapsed());
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
    by(until, told).await.unwrap_or(Err(AnswerError::Timeout))
}

/// Waits until then at the most.
async fn by<T>(until: Option<Instant>, outcome: impl Future<Output = T>) -> Option<T> {
    match until {
        Some(until) => timeout_at(until, outcome).await.ok(),
        None => Some(outcome.await),
    }
}
