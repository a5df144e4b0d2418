//! Services that policies ask through the gateway.
//!
//! A policy says before its decision what is to be asked. The gateway asks it, outside of any guest,
//! and the decision gets the answers. The operator declares each service: where it is, how long it
//! may take, and what it means if it gives no answer. A policy chooses parameters and nothing else.
//!
//! A destination outlives the generation of the configuration that names it: while its settings stay
//! the same, its connections, its cached answers and its circuit breaker do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base::diagnostics::Diagnostics;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use session::registry::Client;
use tokio::time::Instant;

use service::Destination;

mod breaker;
mod cache;
mod request;
mod service;
pub mod settings;
pub mod template;

pub(crate) use request::MAX_REQUESTS;
pub use request::{Misuse, Request};
pub use service::SOURCES;
use settings::OnUnanswered;

/// Answer of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status of the answer.
    pub status: u16,
    /// Body of the answer.
    pub body: Arc<str>,
    /// Time since the service gave it, in milliseconds.
    pub age_ms: u64,
}

/// Reason why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerError {
    /// It did not come in time.
    #[error("it did not answer in time")]
    Timeout,
    /// The service cannot be reached, fails, or is left alone because it failed.
    #[error("it cannot be reached, or it fails")]
    Unavailable,
    /// There are as many requests to the service as there may be.
    #[error("there are as many requests to it as `max_waiting` allows")]
    Busy,
    /// The answer is larger than it may be.
    #[error("its answer is larger than `max_response`")]
    TooLarge,
    /// The answer is a redirect, no text, or has a credential of the operator's headers in it.
    #[error("its answer is a redirect, or no text, or has a credential of the request in it")]
    Unusable,
    /// The request was not sent, because of its parameters.
    #[error("the request cannot be sent with these parameters")]
    Refused,
}

impl AnswerError {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Timeout,
        Self::Unavailable,
        Self::Busy,
        Self::TooLarge,
        Self::Unusable,
        Self::Refused,
    ];

    /// Its word in metrics, records and test cases.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::TooLarge => "too-large",
            Self::Unusable => "unusable",
            Self::Refused => "refused",
        }
    }
}

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The answer, or why there is none.
    pub answer: Result<Answer, AnswerError>,
    /// What it means that there is none.
    pub on_failure: OnUnanswered,
}

impl Answered {
    /// Why the connection is refused without the policy's decision, if it is. A request that the
    /// gateway did not send says nothing about the service, so the policy decides about it.
    #[must_use]
    pub fn refusal(&self) -> Option<AnswerError> {
        let error = self.answer.as_ref().err().copied()?;
        let refuses = self.on_failure == OnUnanswered::Refuse && error != AnswerError::Refused;
        refuses.then_some(error)
    }
}

/// Policy that has services asked, by what it does about this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// It decides about it.
    Deciding(Client),
    /// It is only watched. Its requests make room for others, and say nothing about the service.
    Watching(Client),
}

impl Asker {
    /// The client.
    const fn client(self) -> Client {
        match self {
            Self::Deciding(client) | Self::Watching(client) => client,
        }
    }
}

/// Requests of one decision.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// For whom they are made.
    pub asker: Asker,
    /// Time when nobody waits for answers any more, if there is one.
    pub until: Option<Instant>,
    /// The requests.
    pub requests: &'a [Request],
}

/// Destinations of one generation, by name.
#[derive(Clone, Default)]
pub struct Destinations(BTreeMap<String, Arc<Destination>>);

impl Destinations {
    /// Asks all requests at once.
    ///
    /// # Errors
    /// [`Misuse`] if one cannot be made of what the policy said. Nothing is sent then.
    pub async fn ask(&self, asking: Asking<'_>) -> Result<Vec<Answered>, Misuse> {
        let mut planned = Vec::with_capacity(asking.requests.len());
        for request in asking.requests {
            let destination = self.0.get(&request.destination);
            let destination =
                destination.ok_or_else(|| Misuse::no_destination(&request.destination))?;
            planned.push((destination, request.call(destination.service())?));
        }
        let answers = planned
            .into_iter()
            .map(async |(destination, call)| Answered {
                answer: destination.ask(call, asking.asker, asking.until).await,
                on_failure: destination.service().on_failure,
            });
        Ok(join_all(answers).await)
    }
}

/// Destinations of the generation that serves, so that those that stay the same are shared.
#[derive(Default)]
pub struct DestinationPool(Mutex<BTreeMap<String, Weak<Destination>>>);

impl DestinationPool {
    /// Destinations of a configuration, which [may serve](Self::serve). Mistakes are added to
    /// `diagnostics`. Blocks.
    pub fn prepare(
        &self,
        settings: &BTreeMap<String, settings::Destination>,
        diagnostics: &mut Diagnostics,
    ) -> Destinations {
        let known = self.lock();
        let mut destinations = BTreeMap::new();
        for (name, wanted) in settings {
            let there = known.get(name).and_then(Weak::upgrade);
            let there = there.filter(|there| *there.service() == wanted.service);
            let destination = match there {
                Some(there) => there,
                None => match Destination::new(name, wanted.service.clone()) {
                    Ok(new) => Arc::new(new),
                    Err(error) => {
                        let message = format!("destination `{name}` cannot be used: {error:#}");
                        let help =
                            "correct its `ca_file`, or install the authorities of this machine";
                        diagnostics.error(&wanted.place, message, help);
                        continue;
                    }
                },
            };
            destinations.insert(name.clone(), destination);
        }
        Destinations(destinations)
    }

    /// Has these serve. Until then those before them are the ones that a configuration goes on with.
    pub fn serve(&self, destinations: &Destinations) {
        let mut serving = self.lock();
        let before = std::mem::take(&mut *serving);
        let is_kept = |name: &String, before: &Arc<Destination>| {
            let now = destinations.0.get(name);
            now.is_some_and(|now| Arc::ptr_eq(now, before))
        };
        for (name, before) in before {
            if let Some(before) = before.upgrade()
                && !is_kept(&name, &before)
            {
                before.breaker().hide();
            }
        }
        for (name, destination) in &destinations.0 {
            destination.breaker().show();
            serving.insert(name.clone(), Arc::downgrade(destination));
        }
    }

    // Nothing is left half done under this lock, so poisoning carries no news.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Weak<Destination>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
