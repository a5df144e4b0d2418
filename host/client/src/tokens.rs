//! The client's token: where it is from, and another one while the stream runs.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use base::files::text;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::target::BearerToken;

/// Time between two looks whether a file has another token.
const LOOK: Duration = Duration::from_secs(1);

/// Source of the client's token.
#[derive(Debug, Default)]
pub enum TokenSource {
    /// There is none, or it is in the URL.
    #[default]
    None,
    /// This one, for as long as it is good.
    Given(BearerToken),
    /// A file, which somebody may replace.
    File(PathBuf),
}

/// The client's token.
#[derive(Debug, Default)]
pub struct Tokens {
    source: TokenSource,
    /// The token that the gateway was sent last.
    latest: Mutex<Option<BearerToken>>,
    /// Notified when the gateway wants another one.
    wanted: Notify,
}

impl From<TokenSource> for Tokens {
    fn from(source: TokenSource) -> Self {
        Self {
            source,
            ..Self::default()
        }
    }
}

impl Tokens {
    /// File that may have another token later.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.source {
            TokenSource::File(file) => Some(file),
            TokenSource::None | TokenSource::Given(_) => None,
        }
    }

    /// Token to connect with.
    ///
    /// # Errors
    /// If the file has none and had none before.
    pub(crate) async fn current(&self) -> anyhow::Result<Option<BearerToken>> {
        let token = match &self.source {
            TokenSource::None => return Ok(None),
            TokenSource::Given(token) => token.clone(),
            TokenSource::File(file) => match (read_apart(file).await, self.latest().clone()) {
                (Ok(token), _) => token,
                // Somebody is replacing it.
                (Err(_), Some(before)) => before,
                (Err(error), None) => return Err(error),
            },
        };
        *self.latest() = Some(token.clone());
        Ok(Some(token))
    }

    /// The gateway wants another token.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// The next token that the gateway wants, once there is one.
    pub(crate) async fn next(&self) -> BearerToken {
        self.wanted.notified().await;
        let Some(file) = self.file() else {
            return pending().await;
        };
        loop {
            // A file that cannot be read is one that somebody is replacing.
            if let Ok(token) = read_apart(file).await
                && self.latest().as_ref() != Some(&token)
            {
                *self.latest() = Some(token.clone());
                return token;
            }
            sleep(LOOK).await;
        }
    }

    // One value is usable at every step, so poisoning does not matter.
    fn latest(&self) -> MutexGuard<'_, Option<BearerToken>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token in a file. Blocks.
///
/// # Errors
/// If the file cannot be read, or has no token.
pub(crate) fn read(file: &Path) -> anyhow::Result<BearerToken> {
    let shown = file.display();
    let token =
        text::read(file).with_context(|| format!("the token file {shown} cannot be read"))?;
    token
        .parse()
        .with_context(|| format!("the token in {shown}"))
}

/// [`read`], in a thread of its own: audio must not wait for a disk.
async fn read_apart(file: &Path) -> anyhow::Result<BearerToken> {
    let file = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || read(&file));
    reading.await.context("the token file was not read")?
}
