//! Requests to the admin listener.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::de::DeserializeOwned;
use tokio_rustls::rustls::RootCertStore;

use super::AdminArgs;
use crate::schema::{Answer, SCHEMA};
use base::diagnostics::Mistakes;
use base::{text, tls};
use config::Config;

/// Time limit of one request.
const LIMIT: Duration = Duration::from_secs(30);
/// Maximum length of an answer's sentence that is printed, in bytes.
const MAX_SENTENCE: usize = 1024;

/// Admin listener of a gateway.
pub(super) struct AdminListener {
    address: SocketAddr,
    client: Client,
}

impl AdminListener {
    /// The one that the arguments or the configuration name.
    ///
    /// # Errors
    /// If neither does.
    pub(super) fn of(args: &AdminArgs) -> anyhow::Result<Self> {
        let address = match args.admin {
            Some(address) => address,
            None => configured(args)?,
        };
        let client = Client::builder()
            .user_agent(concat!("sluice/", env!("CARGO_PKG_VERSION")))
            .timeout(LIMIT)
            .redirect(Policy::none())
            // It is on this machine, speaks plain HTTP, and no proxy leads to it.
            .no_proxy()
            .tls_backend_preconfigured(tls::client::trusting(RootCertStore::empty())?);
        Ok(Self {
            address,
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
        let mut url = Url::parse(&format!("http://{}", self.address))?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
        url.query_pairs_mut().extend_pairs(parameters);
        let asked = || format!("the admin listener at {}", self.address);
        let answer = self
            .client
            .get(url)
            .send()
            .await
            .with_context(|| format!("{} cannot be reached: does the gateway run?", asked()))?;
        let status = answer.status();
        let body = answer.bytes().await.with_context(asked)?;
        if status.as_u16() == 404 {
            return Ok(None);
        }
        if !status.is_success() {
            let sentence = text::clean(&String::from_utf8_lossy(&body), MAX_SENTENCE);
            bail!(
                "{} answered {status}: {}",
                asked(),
                sentence.trim_end_matches('\u{fffd}')
            );
        }
        let answer: Answer<T> = serde_json::from_slice(&body)
            .with_context(|| format!("{} answered something else", asked()))?;
        ensure!(
            answer.schema == SCHEMA,
            "{} speaks schema {}, and this sluice speaks {SCHEMA}: use the gateway's own",
            asked(),
            answer.schema
        );
        Ok(Some(answer))
    }
}

fn configured(args: &AdminArgs) -> anyhow::Result<SocketAddr> {
    // Mistakes elsewhere in the file do not matter here.
    let (config, _) = Config::load(args.config.as_deref()).map_err(Mistakes)?;
    let address = config.server.admin.context(
        "the configuration has no admin listener: set admin_listen in [server], or say with \
         --admin where it is",
    )?;
    ensure!(
        address.port() != 0,
        "admin_listen has port 0, so its port is in the gateway's log alone: say it with --admin"
    );
    Ok(address)
}
