use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use serde_json::{Value, json};

use super::*;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0a component, as far as a signature is concerned";

/// A new private key and its public key, in PEM.
fn keys() -> (String, String) {
    let private = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let public: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
    let block = |label: &str, der: &[u8]| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            STANDARD.encode(der)
        )
    };
    let pkcs8 = private.to_pkcs8v1().unwrap();
    (
        block("PRIVATE KEY", pkcs8.as_ref()),
        block("PUBLIC KEY", public.as_ref()),
    )
}

fn signer(name: &str, public: &str) -> Signer {
    Signer::of(name, public).unwrap()
}

#[test]
fn the_signer_is_found_among_several() {
    let (private, public) = keys();
    let signers = [signer("other", &keys().1), signer("release", &public)];
    let bundle = sign(COMPONENT, &private).unwrap();
    let found = verify(COMPONENT, Some(&bundle), &signers).unwrap();
    assert_eq!(found.name(), "release");
    assert_eq!(is_of(COMPONENT, &bundle), Ok(()));
}

/// What somebody may do who can write the component and its signature, and has no key.
fn tampered(component: &[u8], bundle: &[u8], others: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut all = vec![(component.to_vec(), None)];
    let with = |bundle: Vec<u8>| (component.to_vec(), Some(bundle));
    // Each byte of the component, and its length.
    for at in 0..component.len() {
        let mut changed = component.to_vec();
        changed[at] ^= 1 << (at % 8);
        all.push((changed, Some(bundle.to_vec())));
    }
    all.push((component[1..].to_vec(), Some(bundle.to_vec())));
    all.push(([component, b"\0"].concat(), Some(bundle.to_vec())));
    // The component with a digest that fits, but no signature that does.
    let json: Value = serde_json::from_slice(bundle).unwrap();
    let changed = [component, b"more"].concat();
    let mut fitting = json.clone();
    fitting["messageSignature"]["messageDigest"]["digest"] =
        json!(STANDARD.encode(Sha256::digest(&changed)));
    all.push((changed, Some(fitting.to_string().into_bytes())));
    // Each byte of the signature, and its length.
    let signature = json["messageSignature"]["signature"].as_str().unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    let signed = |signature: &[u8]| {
        let mut json = json.clone();
        json["messageSignature"]["signature"] = json!(STANDARD.encode(signature));
        with(json.to_string().into_bytes())
    };
    for at in 0..signature.len() {
        let mut changed = signature.clone();
        changed[at] ^= 1 << (at % 8);
        all.push(signed(&changed));
        all.push(signed(&signature[..at]));
    }
    // Another's signature of the same, and what is no bundle.
    all.push(with(others.to_vec()));
    for (place, value) in [
        ("/mediaType", json!("application/json")),
        ("/messageSignature", Value::Null),
        ("/messageSignature/signature", json!("")),
        ("/messageSignature/signature", json!("%")),
        ("/messageSignature/messageDigest/digest", json!("")),
        ("/messageSignature/messageDigest/algorithm", json!("SHA1")),
        ("/messageSignature/messageDigest", json!({})),
    ] {
        let mut json = json.clone();
        *json.pointer_mut(place).unwrap() = value;
        all.push(with(json.to_string().into_bytes()));
    }
    for text in ["", "null", "[]", "{}", "{\"messageSignature\":"] {
        all.push(with(text.into()));
    }
    for end in [1, bundle.len() / 2, bundle.len() - 1] {
        all.push(with(bundle[..end].to_vec()));
    }
    all
}

#[test]
fn nothing_that_was_changed_counts_as_signed() {
    let (private, public) = keys();
    let signers = [signer("release", &public)];
    let bundle = sign(COMPONENT, &private).unwrap();
    let others = sign(COMPONENT, &keys().0).unwrap();
    let all = tampered(COMPONENT, &bundle, &others);
    assert!(all.len() > 100, "{}", all.len());
    for (number, (component, bundle)) in all.iter().enumerate() {
        let verified = verify(component, bundle.as_deref(), &signers);
        assert!(verified.is_err(), "kind {number}: {bundle:?}");
    }
    let nobody = verify(COMPONENT, Some(&bundle), &[]);
    assert_eq!(nobody.unwrap_err(), SignatureError::Nobody);
}

#[test]
fn a_key_that_is_of_no_use_is_told_and_not_quoted() {
    let (private, public) = keys();
    let cosign = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nYQ==\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n";
    let ed25519 = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    for (text, error) in [
        ("", KeyError::None("PUBLIC KEY")),
        (&private, KeyError::None("PUBLIC KEY")),
        (&public[..60], KeyError::Block(pem::BlockError::Damaged)),
        (ed25519, KeyError::Kind),
        (&public.repeat(2), KeyError::Several),
    ] {
        assert_eq!(Signer::of("a", text).unwrap_err(), error);
    }
    for (text, error) in [
        (public.as_str(), KeyError::None("PRIVATE KEY")),
        (cosign, KeyError::Cosign),
    ] {
        assert_eq!(sign(COMPONENT, text).unwrap_err(), error);
    }
}
