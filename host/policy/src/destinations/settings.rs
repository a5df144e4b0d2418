//! `[destinations.NAME]`

use std::time::Duration;

use base::diagnostics::Place;
use base::files::Content;
use base::secret::Secret;
use base::tls::client::Authorities;

use super::template::Template;

/// Connections to a service without a request that are kept open.
pub(super) const MAX_IDLE: usize = 32;

/// A section.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The service.
    pub service: Service,
    /// Place of the section.
    pub place: Place,
}

/// A service, and what asking it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Address, with parameters in its path.
    pub url: Template,
    /// Method of each request.
    pub method: Method,
    /// Headers of each request, which are secrets.
    pub headers: Vec<(String, Secret)>,
    /// Authorities that sign its certificate.
    pub authorities: Authorities,
    /// Content of their file, by which a change of it is noticed.
    pub authorities_content: Option<Content>,
    /// Time limit of a request with its answer.
    pub timeout: Duration,
    /// Maximum size of an answer, in bytes.
    pub max_response: usize,
    /// Maximum number of requests that wait for an answer at once.
    pub max_waiting: usize,
    /// Time for which an answer is used again; zero is never.
    pub cache: Duration,
    /// Maximum number of answers that are kept.
    pub cache_entries: usize,
    /// Maximum size of all answers that are kept, in bytes.
    pub cache_size: usize,
    /// What it means for a connection that there is no answer.
    pub on_failure: OnUnanswered,
    /// Time after `cache` for which an answer is used where there is no new one.
    pub stale: Duration,
}

impl Service {
    /// File descriptors of its connections, at the most.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.max_waiting.saturating_add(MAX_IDLE)
    }

    /// Whether answers are kept.
    #[must_use]
    pub fn keeps(&self) -> bool {
        !self.cache.is_zero() || !self.stale.is_zero()
    }
}

/// Method of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET, which has no body.
    Get,
    /// POST, which may have a body.
    Post,
}

/// What it means for a connection that a service gives no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnanswered {
    /// The gateway refuses it, and tells the client to try again.
    Refuse,
    /// The policy is told, and decides.
    Answer,
}
