//! A component on its way to a registry, from which gateways fetch it.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::manifest::{CONFIG, LAYER};
use super::reference::{Destination, Reference};
use super::registry::{Access, MANIFEST, Registry};
use super::{FetchError, Fetcher};
use crate::signature::BUNDLE;
use base::text;

/// How long a push may take in all: the upload of an author may be slow.
const PATIENCE: Duration = Duration::from_secs(600);

/// Component as an artifact, with what registries show of it.
#[derive(Debug)]
pub struct Artifact<'a> {
    /// The component.
    pub component: &'a [u8],
    /// Its signature, if it has one.
    pub bundle: Option<&'a [u8]>,
    /// What it imports, by full names.
    pub imports: &'a [String],
    /// What it exports, by full names.
    pub exports: &'a [String],
}

impl Artifact<'_> {
    /// Its configuration ("Wasm OCI Artifact layout" of CNCF's runtime group). Its time says nothing,
    /// so that a component has the same digest whenever it is pushed.
    fn config(&self) -> Vec<u8> {
        let layers = std::iter::once(self.component).chain(self.bundle);
        let layers: Vec<_> = layers
            .map(|layer| format!("sha256:{}", digest(layer)))
            .collect();
        let config = json!({
            "created": "1970-01-01T00:00:00Z",
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": layers,
            "component": {"exports": self.exports, "imports": self.imports},
        });
        config.to_string().into_bytes()
    }
}

impl Fetcher {
    /// Pushes a component. Returns the reference that names it, and nothing else for ever.
    ///
    /// # Errors
    /// [`FetchError`]. The repository may have a part of it then, which no tag names.
    pub async fn push(
        &self,
        to: &Destination,
        artifact: &Artifact<'_>,
    ) -> Result<Reference, FetchError> {
        let layer = digest(artifact.component);
        let config = artifact.config();
        let config_digest = digest(&config);
        let described = |media_type: &str, digest: &str, size: usize| json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": size});
        let mut layers = vec![described(LAYER, &layer, artifact.component.len())];
        if let Some(bundle) = artifact.bundle {
            layers.push(described(BUNDLE, &digest(bundle), bundle.len()));
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described(CONFIG, &config_digest, config.len()),
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        let reference = to.reference(digest(&manifest));
        let login = self.credentials.of(&reference.host);
        let mut registry = Registry::new(&reference, login, &self.realms, Access::Push);
        let name = to.tag.clone();
        let name = name.unwrap_or_else(|| format!("sha256:{}", reference.digest));
        let pushing = async {
            registry.push_blob(&config, &config_digest).await?;
            registry.push_blob(artifact.component, &layer).await?;
            if let Some(bundle) = artifact.bundle {
                registry.push_blob(bundle, &digest(bundle)).await?;
            }
            registry.push_manifest(&manifest, &name).await
        };
        match timeout(PATIENCE, Box::pin(pushing)).await {
            Ok(pushed) => pushed?,
            Err(_) => {
                return Err(FetchError::Unreachable {
                    host: reference.host.clone(),
                    why: format!("it did not take everything within {} s", PATIENCE.as_secs()),
                });
            }
        }
        Ok(reference)
    }
}

fn digest(bytes: &[u8]) -> String {
    text::hex(&Sha256::digest(bytes))
}
