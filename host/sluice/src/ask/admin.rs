//! Requests to the admin listener.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, Url};
use serde::de::DeserializeOwned;

use super::AdminArgs;
use super::target::Target;
use crate::schema::{Answer, SCHEMA};
use base::text;

/// Time limit of one request.
const LIMIT: Duration = Duration::from_secs(30);
/// Maximum length of an answer's sentence that is printed, in bytes.
const MAX_SENTENCE: usize = 1024;

/// Admin listener of a gateway.
pub(super) struct AdminListener {
    url: Url,
    token: Option<HeaderValue>,
    client: Client,
}

impl AdminListener {
    /// The one that the arguments or the configuration name.
    ///
    /// # Errors
    /// If neither does, or its token or its certificate authorities cannot be read.
    pub(super) fn of(args: &AdminArgs) -> anyhow::Result<Self> {
        let Target { url, token, roots } = Target::of(args)?;
        let client = Client::builder()
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .timeout(LIMIT)
            .redirect(Policy::none())
            // No proxy leads to it.
            .no_proxy()
            .tls_backend_preconfigured(roots.config()?);
        Ok(Self {
            url,
            token,
            client: client.build()?,
        })
    }

    /// What it answers to a `GET` with these parameters; `None` if it is not there (404).
    ///
    /// # Errors
    /// If it cannot be reached, or answers in another schema.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Option<Answer<T>>> {
        let answer = self.send(Method::GET, path, parameters).await?;
        if answer.status().as_u16() == 404 {
            return Ok(None);
        }
        self.read(answer).await.map(Some)
    }

    /// What it answers to a `POST` with these parameters.
    ///
    /// # Errors
    /// As [`AdminListener::get`], or if it refuses.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Answer<T>> {
        let answer = self.send(Method::POST, path, parameters).await?;
        self.read(answer).await
    }

    async fn send(
        &self,
        method: Method,
        path: &[&str],
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<Response> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let mut request = self.client.request(method, url);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        request
            .send()
            .await
            .with_context(|| format!("{} cannot be reached: does the gateway run?", self.shown()))
    }

    async fn read<T: DeserializeOwned>(&self, answer: Response) -> anyhow::Result<Answer<T>> {
        let status = answer.status();
        let body = answer.bytes().await.with_context(|| self.shown())?;
        if !status.is_success() {
            let sentence = text::clean(&String::from_utf8_lossy(&body), MAX_SENTENCE);
            bail!(
                "{} answered {status}: {}",
                self.shown(),
                sentence.trim_end_matches('\u{fffd}')
            );
        }
        let answer: Answer<T> = serde_json::from_slice(&body)
            .with_context(|| format!("{} answered something else", self.shown()))?;
        ensure!(
            answer.schema == SCHEMA,
            "{} speaks schema {}, and this sluice speaks {SCHEMA}: use the gateway's own",
            self.shown(),
            answer.schema
        );
        Ok(answer)
    }

    fn shown(&self) -> String {
        let authority = self.url.authority();
        match self.url.scheme() {
            "http" => format!("the admin listener at {authority}"),
            scheme => format!("the admin listener at {scheme}://{authority}"),
        }
    }
}
