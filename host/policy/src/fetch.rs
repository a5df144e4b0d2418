//! Components from registries, each fetched once; and their way there.
//!
//! What a reference names is a manifest, and what the manifest names is the
//! component; both are named by digests, and both are kept under them in the
//! data folder. So nothing that is kept need be trusted: it is what it is
//! called, or it is fetched again. And a gateway that has fetched a component
//! before starts and reloads while the registry is down.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::cache_folder::CacheFolder;
use super::signature::{MAX_BUNDLE_BYTES, Signatures};
use crate::fetch::credentials::Credentials;
use crate::fetch::reference::Reference;
use base::blocking::LOADING;
use base::text;

mod challenge;
pub mod credentials;
mod manifest;
mod push;
mod realm;
pub mod reference;
mod registry;
#[cfg(test)]
mod tests;

pub use push::Artifact;
use registry::{Access, Registry};

/// Bytes of a component's file. One made by componentize-py has 18 MB.
pub(crate) const MAX_COMPONENT_BYTES: u64 = 64 << 20;

/// Manifests, components and signatures that are kept: six for each of some dozens of policies.
const MAX_ENTRIES: usize = 192;
/// Bytes of a manifest that registries are asked to take (OCI distribution
/// specification, "Pushing manifests").
const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// How long a fetch may take in all.
const PATIENCE: Duration = Duration::from_secs(60);

/// Client for component registries, with a cache on disk.
pub struct Fetcher {
    entries: Arc<CacheFolder>,
    credentials: Credentials,
    realms: Vec<String>,
}

/// Why there is no component. Its words hold no secret, and no address that a
/// registry has sent the gateway to, which may hold one.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no connection, or it was lost.
    #[error("the registry {host} cannot be reached: {why}")]
    Unreachable {
        /// The registry.
        host: String,
        /// In the words of whoever tried.
        why: String,
    },
    /// It is there, and too slow.
    #[error("the registry {host} did not send everything within {} s", PATIENCE.as_secs())]
    Slow {
        /// The registry.
        host: String,
    },
    /// Nobody has told the gateway who it is.
    #[error("the registry {host} asks for credentials, and there are none for it")]
    NoCredentials {
        /// The registry.
        host: String,
    },
    /// They are wrong, or not good for this.
    #[error("the registry {host} does not accept the credentials that there are for it ({status})")]
    Refused {
        /// The registry.
        host: String,
        /// Of HTTP.
        status: u16,
    },
    /// It has redirected the gateway to somebody who asks for credentials.
    #[error(
        "the registry {host} redirected the gateway to another host, which asks for credentials"
    )]
    Stranger {
        /// The registry.
        host: String,
    },
    /// It has redirected the gateway, and whoever that was has too, and so on.
    #[error("the registry {host} redirects the gateway without end")]
    Redirects {
        /// The registry.
        host: String,
    },
    /// It has tokens given out by somebody else.
    #[error("the registry {host} has its tokens given out by another host: {realm}")]
    Realm {
        /// The registry.
        host: String,
        /// The other host.
        realm: String,
    },
    /// The registry is there, and this is not.
    #[error("the registry {host} does not have {what}")]
    NotFound {
        /// The registry.
        host: String,
        /// What it was asked for.
        what: String,
    },
    /// Something else is wrong with the registry.
    #[error("the registry {host} answered with {status}")]
    Status {
        /// The registry.
        host: String,
        /// Of HTTP.
        status: u16,
    },
    /// It does not take what is pushed.
    #[error("the registry {host} does not take the component: it answered with {status}")]
    NotTaken {
        /// The registry.
        host: String,
        /// Of HTTP.
        status: u16,
    },
    /// It is something, and not what was asked for.
    #[error("{what} that the registry {host} sent has the digest sha256:{found}")]
    Digest {
        /// The registry.
        host: String,
        /// What it was asked for.
        what: String,
        /// In hexadecimal.
        found: String,
    },
    /// More than anybody needs.
    #[error("{what} is larger than {most} bytes")]
    TooLarge {
        /// What is.
        what: String,
        /// How large it may be.
        most: u64,
    },
    /// It is there, and no policy.
    #[error("{reference} is not a WebAssembly component: {why}")]
    NotAComponent {
        /// What was asked for.
        reference: String,
        /// What it is instead.
        why: String,
    },
    /// This machine is not able to ask.
    #[error("registries cannot be asked: {0:#}")]
    Machine(anyhow::Error),
}

impl FetchError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Slow { .. } | Self::Status { .. } => {
                "correct the host, or try again when the registry is there; a component that was fetched \
                 once is kept in the data folder, and needs no registry. Plain HTTP is oci+http://"
            }
            Self::NoCredentials { .. } => {
                "name a file with credentials for this host with `registry_credentials`, or for \
                 `sluice policy push` with --credentials; some registries \
                 also answer so where a repository does not exist"
            }
            Self::Refused { .. } => {
                "correct them in the file with credentials, or have whoever runs the \
                 registry let them use this repository; some registries also answer so where a \
                 repository does not exist"
            }
            Self::Stranger { .. } => {
                "nobody but the registry is told who the gateway is: have whoever runs the registry \
                 make its storage readable without a login"
            }
            Self::Redirects { .. } => "have whoever runs the registry look at its address",
            Self::Realm { .. } => {
                "the gateway's password is not sent there; if that host may have it, list it in \
                 `registry_realms`. A realm needs https"
            }
            Self::NotFound { .. } => {
                "correct the repository or the digest: it is that of the manifest, which pushing the \
                 component printed, and not `sha256sum FILE.wasm`"
            }
            Self::NotTaken { .. } => {
                "correct the repository and the tag, or ask whoever runs the registry: it may let this \
                 login not write there, keep a tag as it is, or take nothing so large"
            }
            Self::Digest { .. } => {
                "do not use it: the registry, or somebody before it, sends something else under this name"
            }
            Self::TooLarge { .. } => "build it smaller, without debug information and for release",
            Self::NotAComponent { .. } => {
                "push the .wasm file as an OCI artifact with a layer of the type application/wasm: \
                 `sluice policy push`, or `oras push HOST/REPOSITORY FILE.wasm:application/wasm`"
            }
            Self::Machine(_) => "correct what is named",
        }
    }
}

/// What a reference names.
#[derive(Debug)]
pub struct Fetched {
    /// The component.
    pub component: Vec<u8>,
    /// What may be its signature.
    pub bundle: Option<Vec<u8>>,
}

/// One of the things that are fetched.
struct Wanted {
    /// What reports call it.
    what: String,
    /// In hexadecimal.
    digest: String,
    most: u64,
}

impl Fetcher {
    /// One that keeps what it fetches in a data folder, and gives registries these credentials;
    /// `realms` are hosts beside a registry's own that may be asked for a token with them.
    #[must_use]
    pub fn new(data: &Path, credentials: &Credentials, realms: &[String]) -> Self {
        Self {
            entries: Arc::new(CacheFolder {
                folder: data.join("components"),
                extension: "fetched",
                most: MAX_ENTRIES,
            }),
            credentials: credentials.clone(),
            realms: realms.to_vec(),
        }
    }

    /// The component that a reference names, and what may be its signature, if one is asked for.
    ///
    /// # Errors
    /// Where it is not kept and cannot be had, or where it is none.
    pub async fn fetch(
        &self,
        reference: &Reference,
        signatures: &Signatures,
    ) -> Result<Fetched, FetchError> {
        let fetching = self.fetch_patiently(reference, signatures);
        // Boxed: what speaks HTTP is large, and most policies are files.
        let fetched = timeout(PATIENCE, Box::pin(fetching)).await;
        fetched.unwrap_or_else(|_| {
            let host = reference.host.clone();
            Err(FetchError::Slow { host })
        })
    }

    async fn fetch_patiently(
        &self,
        reference: &Reference,
        signatures: &Signatures,
    ) -> Result<Fetched, FetchError> {
        let login = self.credentials.of(&reference.host);
        let mut registry = Registry::new(reference, login, &self.realms, Access::Pull);
        let wanted = Wanted {
            what: format!("the manifest {reference}"),
            digest: reference.digest.clone(),
            most: MAX_MANIFEST_BYTES,
        };
        let manifest = self.kept_or(&wanted, registry.manifest(&wanted)).await?;
        let none = |why| FetchError::NotAComponent {
            reference: reference.to_string(),
            why,
        };
        let layers = manifest::layers(&manifest).map_err(none)?;
        let component = Wanted {
            what: format!("the component of {reference}"),
            digest: layers.component.digest,
            most: MAX_COMPONENT_BYTES,
        };
        let component = self.layer(&mut registry, component, layers.component.size);
        let component = component.await?;
        let bundle = match (layers.bundle, signatures) {
            (Some(layer), Signatures::Of(_)) => {
                let bundle = Wanted {
                    what: format!("the signature of {reference}"),
                    digest: layer.digest,
                    most: MAX_BUNDLE_BYTES,
                };
                Some(self.layer(&mut registry, bundle, layer.size).await?)
            }
            (_, Signatures::NotAsked) | (None, Signatures::Of(_)) => None,
        };
        Ok(Fetched { component, bundle })
    }

    async fn layer(
        &self,
        registry: &mut Registry<'_>,
        wanted: Wanted,
        size: u64,
    ) -> Result<Vec<u8>, FetchError> {
        if size > wanted.most {
            let Wanted { what, most, .. } = wanted;
            return Err(FetchError::TooLarge { what, most });
        }
        self.kept_or(&wanted, registry.blob(&wanted)).await
    }

    async fn kept_or(
        &self,
        wanted: &Wanted,
        fetching: impl Future<Output = Result<Vec<u8>, FetchError>>,
    ) -> Result<Vec<u8>, FetchError> {
        if let Some(kept) = self.kept(&wanted.digest).await {
            return Ok(kept);
        }
        let fetched = fetching.await?;
        let (entries, digest) = (Arc::clone(&self.entries), wanted.digest.clone());
        off_the_async_threads(move || {
            entries.put(&digest, &[&fetched]);
            fetched
        })
        .await
    }

    /// What is kept under a digest, if that is still its own.
    async fn kept(&self, digest: &str) -> Option<Vec<u8>> {
        let (entries, digest) = (Arc::clone(&self.entries), digest.to_owned());
        let looking = off_the_async_threads(move || {
            let kept = entries.read(&digest)?;
            if text::hex(&Sha256::digest(&kept)) == digest {
                entries.used(&digest);
                return Some(kept);
            }
            entries.reject(&digest, "it has another digest than its name");
            None
        });
        looking.await.ok().flatten()
    }
}

async fn off_the_async_threads<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FetchError> {
    let done = LOADING.run(work).await;
    done.map_err(|panicked| FetchError::Machine(panicked.into()))
}
