//! Collector: takes spans in requests of OTLP over HTTP, with Protocol Buffers.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tokio_rustls::rustls::RootCertStore;

use crate::settings::Traces;
use crate::span::Attributes;
use anyhow::Context as _;
use base::instance;
use base::tls::client::{self, Authorities};

/// Time that one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of an answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The collector, and what each request to it says.
pub(super) struct Collector {
    client: Client,
    endpoint: String,
    resource: Resource,
}

/// Reason why a collector has not taken spans. It names neither the URL nor a header.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// It may take them later.
    #[error("{why}")]
    Later {
        /// What is wrong.
        why: String,
        /// Time that it asks for.
        wait: Option<Duration>,
    },
    /// It never will.
    #[error("it answered HTTP {0}")]
    Never(StatusCode),
}

impl Collector {
    pub(super) fn new(settings: &Traces) -> anyhow::Result<Self> {
        let tls = if settings.endpoint.starts_with("https:") {
            let authorities = match &settings.ca_file {
                Some(file) => Authorities::File(file.clone()),
                None => Authorities::Platform,
            };
            client::Roots::read(&authorities)?.config()?
        } else {
            client::trusting(RootCertStore::empty())?
        };
        let client = Client::builder()
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            // A header may be a secret, which whoever is redirected to must not learn.
            .redirect(Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(tls)
            .default_headers(headers(settings)?)
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self {
            client,
            endpoint: settings.endpoint.clone(),
            resource: resource(settings),
        })
    }

    /// The request for these spans, encoded.
    pub(super) fn request(&self, spans: Vec<Span>) -> Vec<u8> {
        let scope = InstrumentationScope {
            name: "sluice".to_owned(),
            version: VERSION.to_owned(),
            ..InstrumentationScope::default()
        };
        let spans = ScopeSpans {
            scope: Some(scope),
            spans,
            ..ScopeSpans::default()
        };
        let spans = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![spans],
            ..ResourceSpans::default()
        };
        ExportTraceServiceRequest {
            resource_spans: vec![spans],
        }
        .encode_to_vec()
    }

    /// Sends a request. Returns the number of spans that the collector rejected.
    pub(super) async fn send(&self, request: &[u8]) -> Result<u64, SendError> {
        let sending = self
            .client
            .post(&self.endpoint)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(request.to_vec());
        let response = sending.send().await.map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return rejected(response).await;
        }
        // Those that OTLP calls retryable.
        match status.as_u16() {
            429 | 502..=504 => Err(SendError::Later {
                why: format!("it answered HTTP {status}"),
                wait: wait(response.headers()),
            }),
            _ => Err(SendError::Never(status)),
        }
    }
}

/// Without the URL, which may have a secret in it.
fn unreachable(error: reqwest::Error) -> SendError {
    let why = anyhow::Error::from(error.without_url());
    SendError::Later {
        why: format!("{why:#}"),
        wait: None,
    }
}

fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

async fn rejected(mut response: Response) -> Result<u64, SendError> {
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if answer.len() + chunk.len() > MAX_ANSWER {
            return Ok(0);
        }
        answer.extend_from_slice(&chunk);
    }
    // Some collectors answer in another form. They have taken the spans.
    let answer = ExportTraceServiceResponse::decode(&*answer).unwrap_or_default();
    let partial = answer.partial_success.unwrap_or_default();
    Ok(u64::try_from(partial.rejected_spans).unwrap_or_default())
}

fn headers(settings: &Traces) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let context = || format!("the header `{name}` for the trace collector cannot be sent");
        let name: HeaderName = name.parse().with_context(context)?;
        let mut value = HeaderValue::from_bytes(value.expose()).with_context(context)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// What the spans are from, by OpenTelemetry's conventions.
fn resource(settings: &Traces) -> Resource {
    let mut attributes = Attributes::default()
        .text("service.name", &*settings.service_name)
        .text("service.version", VERSION)
        .text("service.instance.id", instance::id())
        .text("telemetry.sdk.language", "rust")
        .text("telemetry.sdk.name", "sluice")
        .text("telemetry.sdk.version", VERSION)
        .number("process.pid", u64::from(std::process::id()));
    for (name, value) in &settings.attributes {
        attributes.0.retain(|attribute| attribute.key != *name);
        attributes = attributes.text(name, &**value);
    }
    Resource {
        attributes: attributes.0,
        ..Resource::default()
    }
}
