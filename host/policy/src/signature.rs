//! Signatures of components, made with a key and verified without a network.
//!
//! A signature stands in a Sigstore bundle, as `cosign sign-blob --key KEY --bundle FILE` and
//! `sluice policy sign` write it. It is ECDSA on P-256 with SHA-256 over the component's bytes, the
//! kind of key that `cosign generate-key-pair` makes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
    ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use base::files::pem;

#[cfg(test)]
mod tests;

/// Maximum size of a bundle, in bytes.
pub(crate) const MAX_BUNDLE_BYTES: u64 = 64 << 10;
/// Media type of a bundle.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What the media types of all bundles begin with.
pub(crate) const BUNDLES: &str = "application/vnd.dev.sigstore.bundle";
/// Ending of a bundle's file name, behind the name of the component's file.
const ENDING: &str = ".sigstore.json";
/// Algorithm of the digest in a bundle.
const SHA256: &str = "SHA2_256";

/// Somebody whose signature makes a component one that may be loaded.
#[derive(Debug, Clone)]
pub struct Signer {
    name: String,
    key: ParsedPublicKey,
}

/// Whether components need signatures.
#[derive(Debug, Clone)]
pub enum Signatures {
    /// None is looked at.
    NotAsked,
    /// One of these must have signed each component that is not built in.
    Of(Arc<[Signer]>),
}

/// Why a file has no key for signatures. Nothing that it holds is quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has no block with a key.
    #[error("there is no PEM block `{0}` in it")]
    None(&'static str),
    /// It has several keys. Each signer has a section of its own.
    #[error("it has several keys")]
    Several,
    /// The block cannot be read.
    #[error("its key cannot be read: {0}")]
    Block(pem::BlockError),
    /// It is a private key that cosign has encrypted.
    #[error("its key is encrypted with a password, as cosign writes it")]
    Cosign,
    /// It is another kind of key.
    #[error("its key is not one for ECDSA on P-256")]
    Kind,
}

/// Why a component does not count as signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It has no signature.
    #[error("it has no signature")]
    None,
    /// What should be its signature is not one.
    #[error("its signature is no Sigstore bundle with a signature of its own: {0}")]
    NoBundle(&'static str),
    /// The signature is of another component.
    #[error("its signature is of other content")]
    Other,
    /// No signer has made the signature.
    #[error("its signature was made by none of the signers, or the component was changed since")]
    Nobody,
}

impl SignatureError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::None => {
                "sign it with `sluice policy sign` or `cosign sign-blob --bundle`: the signature of a \
                 file is beside it, with .sigstore.json behind its name, and `sluice policy push` \
                 takes it along to a registry"
            }
            Self::NoBundle(_) => {
                "sign the component as it is now; `cosign sign-blob` may need --new-bundle-format"
            }
            Self::Other => "sign the component as it is now",
            Self::Nobody => {
                "do not use it, unless you know who signed it: then add a [signers.NAME] with that key"
            }
        }
    }
}

impl Signer {
    /// Signer with a public key in PEM, as `cosign generate-key-pair` and `openssl pkey -pubout`
    /// write it.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn of(name: &str, text: &str) -> Result<Self, KeyError> {
        let der = key(text, "PUBLIC KEY")?;
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, der);
        Ok(Self {
            name: name.to_owned(),
            key: key.map_err(|_| KeyError::Kind)?,
        })
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A bundle, as far as a signature with a key needs it (`sigstore_bundle.proto`).
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    #[serde(default)]
    verification_material: serde_json::Value,
    message_signature: Option<MessageSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    message_digest: MessageDigest,
    signature: String,
}

#[derive(Serialize, Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

/// Where the signature of a component in a file is.
#[must_use]
pub fn beside(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(ENDING);
    name.into()
}

/// Finds out who has signed a component.
///
/// # Errors
/// [`SignatureError`] if it is none of `signers`.
pub fn verify<'a>(
    component: &[u8],
    bundle: Option<&[u8]>,
    signers: &'a [Signer],
) -> Result<&'a Signer, SignatureError> {
    let signature = signature(component, bundle.ok_or(SignatureError::None)?)?;
    let mut signers = signers.iter();
    let has_signed = |signer: &&Signer| signer.key.verify_sig(component, &signature).is_ok();
    signers.find(has_signed).ok_or(SignatureError::Nobody)
}

/// Whether a bundle claims to be a component's, whoever has signed it.
///
/// # Errors
/// [`SignatureError`] if it does not.
pub fn is_of(component: &[u8], bundle: &[u8]) -> Result<(), SignatureError> {
    signature(component, bundle).map(drop)
}

/// The signature in a bundle, which must name the component's digest.
fn signature(component: &[u8], bundle: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let no = SignatureError::NoBundle;
    let bundle: Bundle = serde_json::from_slice(bundle).map_err(|_| no("it is not its JSON"))?;
    if !bundle.media_type.starts_with(BUNDLES) {
        return Err(no("it has another media type"));
    }
    let signed = bundle.message_signature;
    let signed = signed.ok_or_else(|| no("it has no `messageSignature`"))?;
    let decoded = |text: &str| STANDARD.decode(text).map_err(|_| no("it is not Base64"));
    if signed.message_digest.algorithm != SHA256 {
        return Err(no("its digest is not SHA-256"));
    }
    if decoded(&signed.message_digest.digest)? != Sha256::digest(component).as_slice() {
        return Err(SignatureError::Other);
    }
    decoded(&signed.signature)
}

/// Signs a component with a private key in PEM (PKCS #8). Returns the bundle.
///
/// # Errors
/// [`KeyError`]
pub fn sign(component: &[u8], private: &str) -> Result<Vec<u8>, KeyError> {
    let der = key(private, "PRIVATE KEY")?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der);
    let pair = pair.map_err(|_| KeyError::Kind)?;
    let signature = pair.sign(&SystemRandom::new(), component);
    let signature = signature.map_err(|_| KeyError::Kind)?;
    let public = pair.public_key().as_ref();
    let bundle = Bundle {
        media_type: BUNDLE.to_owned(),
        // Which key it was, for whoever has many. Nothing depends on it.
        verification_material: serde_json::json!({
            "publicKey": {"hint": STANDARD.encode(Sha256::digest(public))},
        }),
        message_signature: Some(MessageSignature {
            message_digest: MessageDigest {
                algorithm: SHA256.to_owned(),
                digest: STANDARD.encode(Sha256::digest(component)),
            },
            signature: STANDARD.encode(signature),
        }),
    };
    Ok(serde_json::json!(bundle).to_string().into_bytes())
}

/// The key in a PEM file.
fn key(text: &str, label: &'static str) -> Result<Vec<u8>, KeyError> {
    let blocks = pem::blocks(text);
    let has = |label: &str| blocks.iter().any(|block| block.label == label);
    let mut keys = blocks.iter().filter(|block| block.label == label);
    match (keys.next(), keys.next()) {
        (Some(block), None) => block.der.clone().map_err(KeyError::Block),
        (Some(_), Some(_)) => Err(KeyError::Several),
        (None, _) if has("ENCRYPTED SIGSTORE PRIVATE KEY") => Err(KeyError::Cosign),
        (None, _) if has("ENCRYPTED PRIVATE KEY") => {
            Err(KeyError::Block(pem::BlockError::Encrypted))
        }
        (None, _) => Err(KeyError::None(label)),
    }
}
