//! What a policy wants to be asked, and what becomes of that.

use base::text;
use reqwest::Url;
use serde::de::IgnoredAny;

use super::AnswerError;
use super::settings::{Method, Service};
use super::template::FillError;

/// Requests that one decision may make.
pub(crate) const MAX_REQUESTS: usize = 4;
/// Maximum length of the address of a request, in bytes.
const MAX_URL: usize = 4 << 10;
/// Maximum size of the body of a request, in bytes.
const MAX_BODY: usize = 16 << 10;

/// Request of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Name of the destination.
    pub destination: String,
    /// Parameters of the path.
    pub params: Vec<(String, String)>,
    /// Parameters of the query.
    pub query: Vec<(String, String)>,
    /// Body, in JSON.
    pub body: Option<String>,
}

/// Request as it is sent. It is also what an answer is kept under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Call {
    pub(super) url: String,
    pub(super) body: Option<String>,
}

impl Call {
    /// Bytes of memory that it takes, about.
    pub(super) fn weight(&self) -> usize {
        self.url.len() + self.body.as_ref().map_or(0, String::len)
    }
}

/// A request that cannot be made, whatever the client sent: a mistake of the policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misuse(String);

impl Misuse {
    /// No destination has that name.
    #[must_use]
    pub fn no_destination(name: &str) -> Self {
        let name = text::clean(name, 64);
        Self(format!(
            "there is no destination \"{name}\": add [destinations.{name}] to the configuration, or \
             name one that it has"
        ))
    }

    /// The policy may not ask there.
    #[must_use]
    pub(crate) fn not_allowed(policy: &str, name: &str) -> Self {
        let name = text::clean(name, 64);
        Self(format!(
            "it may not ask the destination \"{name}\": if it may, add \"{name}\" to `destinations` in \
             [policies.{policy}]"
        ))
    }

    /// Another reason.
    #[must_use]
    pub fn because(why: String) -> Self {
        Self(why)
    }

    /// It makes more requests than a decision may.
    #[must_use]
    pub(crate) fn too_many(count: usize) -> Self {
        Self(format!(
            "`prepare` made {count} requests, and a decision may make {MAX_REQUESTS}"
        ))
    }
}

impl Request {
    /// Looks whether a service can be asked this.
    ///
    /// # Errors
    /// [`Misuse`] if it does not fit the service.
    fn check(&self, service: &Service) -> Result<(), Misuse> {
        let name = text::clean(&self.destination, 64);
        let known = service.url.params();
        if let Some((unknown, _)) = self
            .params
            .iter()
            .find(|(param, _)| !known.contains(param.as_str()))
        {
            let unknown = text::clean(unknown, 64);
            return Err(Misuse(format!(
                "the `url` of the destination \"{name}\" has no parameter {{{unknown}}}"
            )));
        }
        let mut needed = known.iter();
        let missing = |needed: &&&str| !self.params.iter().any(|(param, _)| param == **needed);
        if let Some(missing) = needed.find(missing) {
            return Err(Misuse(format!(
                "the destination \"{name}\" needs the parameter {{{missing}}}, and the request has none"
            )));
        }
        let mut query = self.query.iter().map(|(name, _)| name);
        if let Some(taken) = query.find(|name| service.url.has_query(name)) {
            let taken = text::clean(taken, 64);
            return Err(Misuse(format!(
                "the `url` of the destination \"{name}\" has the query parameter \"{taken}\" already, \
                 and a request may not add another"
            )));
        }
        match (&self.body, service.method) {
            (None, _) => Ok(()),
            (Some(_), Method::Get) => Err(Misuse(format!(
                "a request to the destination \"{name}\" has no body, because its `method` is \"GET\""
            ))),
            (Some(body), Method::Post) => match serde_json::from_str::<IgnoredAny>(body) {
                Ok(_) => Ok(()),
                Err(error) => Err(Misuse(format!(
                    "the body of a request to the destination \"{name}\" is no JSON: {error}"
                ))),
            },
        }
    }

    /// Whether a service is asked this, or the request is not sent because of its values.
    ///
    /// # Errors
    /// [`Misuse`] if it does not fit the service.
    pub fn is_sent(&self, service: &Service) -> Result<Result<(), AnswerError>, Misuse> {
        Ok(self.call(service)?.map(drop))
    }

    /// The request as it is sent.
    ///
    /// # Errors
    /// [`Misuse`] if it does not fit the service; in the inner result, that it is not sent because
    /// of its values.
    pub(super) fn call(&self, service: &Service) -> Result<Result<Call, AnswerError>, Misuse> {
        self.check(service)?;
        let url = match service.url.fill(&self.params, &self.query) {
            Ok(url) => String::from(url),
            Err(FillError::Value | FillError::Missing(_)) => return Ok(Err(AnswerError::Refused)),
        };
        let is_long = |body: &String| body.len() > MAX_BODY;
        if url.len() > MAX_URL || self.body.as_ref().is_some_and(is_long) {
            return Ok(Err(AnswerError::Refused));
        }
        Ok(Ok(Call {
            url,
            body: self.body.clone(),
        }))
    }
}

impl Call {
    /// Address, which was a URL before it was a text.
    pub(super) fn url(&self) -> Result<Url, AnswerError> {
        Url::parse(&self.url).map_err(|_| AnswerError::Refused)
    }
}
