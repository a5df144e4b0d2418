//! The manifest of an artifact, as far as a policy needs it (OCI image
//! specification, "Image Manifest"; for the types of layers the "Wasm OCI
//! Artifact layout" of CNCF's runtime group, and what was in use before it).

use serde::Deserialize;

use crate::signature::BUNDLES;
use base::text;

/// The type of the configuration of an artifact that is a WebAssembly component.
pub(super) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The type of a layer that is a WebAssembly component.
pub(super) const LAYER: &str = "application/wasm";
/// The types of such a layer that there are.
const LAYERS: [&str; 2] = [LAYER, "application/vnd.wasm.content.layer.v1+wasm"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    layers: Option<Vec<Descriptor>>,
    manifests: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

/// What is fetched of an artifact.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layers {
    /// The component.
    pub component: Layer,
    /// What may be its signature.
    pub bundle: Option<Layer>,
}

/// Where something is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// SHA-256 in hexadecimal.
    pub digest: String,
    /// In bytes.
    pub size: u64,
}

/// The one layer of a manifest that is a component, and the first one that is a signature.
///
/// # Errors
/// Why there is none.
pub(super) fn layers(manifest: &[u8]) -> Result<Layers, String> {
    let manifest: Manifest = serde_json::from_slice(manifest)
        .map_err(|error| format!("its manifest is none: {error}"))?;
    if manifest.manifests.is_some() {
        return Err("it is an index of several manifests; one of them is to be named".to_owned());
    }
    let layers = manifest.layers.unwrap_or_default();
    let components: Vec<&Descriptor> = layers
        .iter()
        .filter(|layer| LAYERS.contains(&layer.media_type.as_str()))
        .collect();
    let [component] = components[..] else {
        let types: Vec<&str> = layers
            .iter()
            .map(|layer| layer.media_type.as_str())
            .collect();
        return Err(match components.len() {
            0 if types.is_empty() => "it has no layers".to_owned(),
            0 => format!(
                "its layers are of the types {}",
                text::clip(&types.join(", "), 300)
            ),
            several => format!("it has {several} components"),
        });
    };
    let bundle = layers
        .iter()
        .find(|layer| layer.media_type.starts_with(BUNDLES));
    Ok(Layers {
        component: component.layer()?,
        bundle: bundle.map(Descriptor::layer).transpose()?,
    })
}

impl Descriptor {
    fn layer(&self) -> Result<Layer, String> {
        let digest = self.digest.strip_prefix("sha256:").filter(|digest| {
            digest.len() == 64
                && digest
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        });
        let digest = digest.ok_or("its layer has no SHA-256 digest")?;
        Ok(Layer {
            digest: digest.to_owned(),
            size: self.size,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", "a".repeat(64)), "size": 7})
    }

    fn component(manifest: &[u8]) -> Result<Layer, String> {
        layers(manifest).map(|layers| layers.component)
    }

    fn layer_of(layers: &[&str]) -> Result<Layer, String> {
        let layers: Vec<Value> = layers.iter().map(|layer| descriptor(layer)).collect();
        let manifest = serde_json::to_vec(&json!({"schemaVersion": 2, "layers": layers}));
        component(&manifest.unwrap())
    }

    #[test]
    fn the_one_component_among_the_layers_is_found() {
        for types in [
            &["application/wasm"][..],
            &[
                "text/markdown",
                "application/vnd.wasm.content.layer.v1+wasm",
            ],
        ] {
            let found = layer_of(types).unwrap();
            assert_eq!((found.digest, found.size), ("a".repeat(64), 7));
        }
    }

    #[test]
    fn what_has_no_component_or_several_is_told_apart() {
        for (found, said) in [
            (layer_of(&[]), "no layers"),
            (
                layer_of(&["application/vnd.oci.image.layer.v1.tar+gzip"]),
                "types application/vnd.oci.image.layer.v1.tar+gzip",
            ),
            (layer_of(&["application/wasm"; 2]), "2 components"),
            (component(br#"{"manifests": []}"#), "an index"),
            (component(b"{}"), "no layers"),
            (component(b"[1"), "its manifest is none"),
            (
                component(br#"{"layers": [{"mediaType": "application/wasm", "digest": "sha256:../a", "size": 1}]}"#),
                "no SHA-256 digest",
            ),
        ] {
            let why = found.unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }
}
