use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::config::{KeySource, Secret};
use crate::keys::fixtures::*;
use crate::keys::{ALGORITHMS, MintError};

#[track_caller]
fn refused(source: KeySource, algorithms: &[Algorithm], words: &[&str]) {
    let message = build(source, algorithms).unwrap_err().to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

#[track_caller]
fn accepted(source: KeySource) {
    build(source, &ALGORITHMS).unwrap();
}

#[test]
fn a_short_secret_is_refused_with_its_length() {
    let source = || KeySource::Secret(Secret::new("hunter2"));
    refused(
        source(),
        &ALGORITHMS,
        &["7 bytes", "at least 32", "openssl rand"],
    );
    assert!(
        !build(source(), &ALGORITHMS)
            .unwrap_err()
            .to_string()
            .contains("hunter2")
    );
    accepted(KeySource::Secret(Secret::new([7; 32])));
}

#[test]
fn an_algorithm_that_does_not_fit_the_key_is_refused() {
    let secret = KeySource::Secret(Secret::new(SECRET));
    refused(secret, &[Algorithm::RS256], &["HS256", "`algorithms`"]);
    let pem = KeySource::Pem(RSA.pem.clone().into_bytes());
    refused(
        pem,
        &[Algorithm::HS256, Algorithm::ES256],
        &["RS256", "`algorithms`"],
    );
}

#[test]
fn algorithms_beyond_the_four_are_refused() {
    for algorithm in [Algorithm::HS512, Algorithm::PS256, Algorithm::ES384] {
        let source = KeySource::Secret(Secret::new(SECRET));
        refused(
            source,
            &[Algorithm::HS256, algorithm],
            &[&format!("{algorithm:?}"), "use HS256"],
        );
    }
}

#[test]
fn what_is_no_public_key_in_pem_is_refused() {
    let cases: [(String, &[&str]); 7] = [
        (String::new(), &["not in PEM", "BEGIN PUBLIC KEY"]),
        ("MIIBIjANBg".to_owned(), &["not in PEM"]),
        (pem("PRIVATE KEY", b"x"), &["is a PRIVATE KEY", "-pubout"]),
        (
            pem("EC PRIVATE KEY", b"x"),
            &["is a EC PRIVATE KEY", "-pubout"],
        ),
        (
            pem("CERTIFICATE", b"x"),
            &["is a CERTIFICATE", "openssl x509"],
        ),
        (
            format!("{}{}", RSA.pem, EC.pem),
            &["more than one", "JWK set"],
        ),
        (
            pem("PUBLIC KEY", b"nonsense"),
            &["no key of a type that is supported"],
        ),
    ];
    for (text, words) in cases {
        refused(KeySource::Pem(text.into_bytes()), &ALGORITHMS, words);
    }
    refused(
        KeySource::Pem(p384_pem().into_bytes()),
        &ALGORITHMS,
        &["P-256"],
    );
}

#[test]
fn a_pkcs1_public_key_is_taken() {
    use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
    let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    accepted(KeySource::Pem(
        pem("RSA PUBLIC KEY", pair.public_key().as_ref()).into_bytes(),
    ));
}

#[test]
fn a_jwk_that_is_not_for_verifying_tokens_is_passed_over() {
    for members in [
        json!({"use": "enc"}),
        json!({"use": "other"}),
        json!({"alg": "PS256"}),
        json!({"alg": "RS512"}),
        json!({"alg": "RSA-OAEP"}),
        json!({"alg": "HS256"}),
        json!({"alg": "made-up"}),
        json!({"key_ops": ["encrypt"]}),
        json!({"key_ops": []}),
        json!({"use": "sig", "alg": "RS256", "key_ops": ["sign"]}),
    ] {
        let members_shown = members.to_string();
        let alone = jwks(&[RSA.jwk(&members)]);
        let error = build(alone, &ALGORITHMS).unwrap_err().to_string();
        assert!(
            error.contains("no key of the JWK set"),
            "{members_shown}: {error}"
        );
        // Another key beside it is not affected.
        accepted(jwks(&[RSA.jwk(&members), EC.jwk(&json!({}))]));
    }
    accepted(jwks(&[RSA.jwk(
        &json!({"use": "sig", "alg": "RS256", "key_ops": ["verify"]}),
    )]));
}

#[test]
fn a_jwk_of_a_foreign_type_is_passed_over() {
    let foreign = [
        json!({"kty": "AKP", "kid": "pq", "alg": "ML-DSA-44", "pub": "AAAA"}),
        json!({"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AAAA"}),
    ];
    for key in foreign {
        accepted(jwks(&[key, ED.jwk(&json!({}))]));
    }
}

#[test]
fn a_broken_jwk_of_the_right_kind_is_an_error() {
    let with = |name: &str, value: &str| {
        let mut jwk = RSA.jwk(&json!({}));
        jwk[name] = json!(value);
        jwk
    };
    let mut point_off_the_curve = EC.jwk(&json!({}));
    point_off_the_curve["x"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let short = json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"});
    let cases = [
        (with("n", "not base64!"), "base64url"),
        (with("n", "AAAA"), "RSA"),
        (with("n", &"w".repeat(171)), "1024 bits"),
        (point_off_the_curve, "P-256"),
        (short, "Ed25519"),
        (json!({"kty": "oct", "k": "c2hvcnQ"}), "5 bytes"),
        (json!("kid"), "not a JSON Web Key"),
    ];
    for (key, word) in cases {
        refused(
            jwks(&[ED.jwk(&json!({})), key]),
            &ALGORITHMS,
            &["key 1 of the JWK set", word],
        );
    }
}

#[test]
fn a_private_key_in_a_jwk_set_is_refused_without_being_shown() {
    let source = jwks(&[EC.jwk(&json!({"d": "c2VjcmV0"}))]);
    let message = build(source, &ALGORITHMS).unwrap_err().to_string();
    assert!(
        message.contains("private part") && !message.contains("c2VjcmV0"),
        "{message}"
    );
}

#[test]
fn two_keys_of_one_type_and_kid_are_refused() {
    let keys = [
        RSA.jwk(&json!({"kid": "k"})),
        OTHER_RSA.jwk(&json!({"kid": "k"})),
    ];
    refused(jwks(&keys), &ALGORITHMS, &["key 1", "same type and `kid`"]);
}

#[test]
fn a_jwk_set_that_is_none_is_refused_without_being_shown() {
    for json in [
        "",
        "[]",
        "{}",
        r#"{"keys": {}}"#,
        r#"{"keys": "HUSH"}"#,
        r#"{"keys": [HUSH]}"#,
    ] {
        let message = build(KeySource::Jwks(json.to_owned()), &ALGORITHMS)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("line 1") || message.contains("line 0"),
            "{message}"
        );
        assert!(!message.contains("HUSH"), "{message}");
    }
    refused(jwks(&[]), &ALGORITHMS, &["no key of the JWK set"]);
}

#[test]
fn a_jwk_set_has_a_limit() {
    let keys = |count: usize| {
        (0..count)
            .map(|kid| ED.jwk(&json!({"kid": kid.to_string()})))
            .collect::<Vec<_>>()
    };
    accepted(jwks(&keys(32)));
    refused(jwks(&keys(33)), &ALGORITHMS, &["33 keys", "32 is the most"]);
}

#[test]
fn only_a_shared_secret_makes_tokens() {
    let claims = json!({"exp": u64::MAX});
    let token = secret_set().sign(&claims).unwrap();
    assert!(secret_set().verify_at(&token, NOW).is_ok());
    let set = build(KeySource::Pem(RSA.pem.clone().into_bytes()), &ALGORITHMS).unwrap();
    assert_eq!(set.sign(&claims), Err(MintError::NoSecret));
}
