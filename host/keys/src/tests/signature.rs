use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::{claims, mixed_set, pem_set, verdict};
use crate::ALGORITHMS;
use crate::TokenError;
use crate::fixtures::*;
use crate::settings::KeySource;
use base::secret::Secret;

#[test]
fn every_supported_algorithm_verifies() {
    assert_eq!(
        verdict(
            &secret_set(),
            &hs256(r#"{"alg":"HS256"}"#, &claims().to_string())
        ),
        Ok(())
    );
    for issuer in [&*RSA, &*EC, &*ED] {
        let token = issuer.token(&json!({}), &claims());
        assert_eq!(
            verdict(&pem_set(issuer), &token),
            Ok(()),
            "{:?}",
            issuer.algorithm
        );
        assert_eq!(
            verdict(&mixed_set(), &token),
            Ok(()),
            "{:?}",
            issuer.algorithm
        );
    }
}

#[test]
fn a_change_of_any_byte_is_noticed() {
    let set = secret_set();
    let token = hs256(r#"{"alg":"HS256"}"#, &claims().to_string());
    assert_eq!(verdict(&set, &token), Ok(()));
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(verdict(&set, &changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_foreign_key_of_the_right_type_is_a_bad_signature() {
    let token = OTHER_RSA.token(&json!({}), &claims());
    assert_eq!(
        verdict(&pem_set(&RSA), &token),
        Err(TokenError::BadSignature)
    );
    let foreign = EncodingKey::from_secret(b"another secret that is long enough to be one");
    let token = sign(
        r#"{"alg":"HS256"}"#,
        &claims().to_string(),
        &foreign,
        Algorithm::HS256,
    );
    assert_eq!(
        verdict(&secret_set(), &token),
        Err(TokenError::BadSignature)
    );
}

#[test]
fn a_public_key_is_not_taken_for_a_shared_secret() {
    for issuer in [&*RSA, &*EC, &*ED] {
        // With and without the last newline, and as the bytes inside.
        let inside = pem_contents(&issuer.pem);
        for secret in [
            issuer.pem.as_bytes(),
            issuer.pem.trim_end().as_bytes(),
            &inside,
        ] {
            let key = EncodingKey::from_secret(secret);
            for header in [
                json!({"alg": "HS256"}),
                json!({"alg": "HS256", "kid": "rsa"}),
            ] {
                let token = sign(
                    &header.to_string(),
                    &claims().to_string(),
                    &key,
                    Algorithm::HS256,
                );
                // The set allows HS256: it is the type of the key that says no.
                assert_eq!(
                    verdict(&pem_set(issuer), &token),
                    Err(TokenError::BadSignature)
                );
                assert_eq!(verdict(&mixed_set(), &token), Err(TokenError::BadSignature));
            }
        }
    }
}

fn pem_contents(pem: &str) -> Vec<u8> {
    use base64::Engine;
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD
        .decode(body)
        .unwrap()
}

#[test]
fn an_algorithm_that_the_set_does_not_allow_is_refused() {
    let keys = [
        RSA.jwk(&json!({"kid": "rsa"})),
        EC.jwk(&json!({"kid": "ec"})),
    ];
    let set = build(jwks(&keys), &[Algorithm::ES256]).unwrap();
    assert_eq!(
        verdict(&set, &EC.token(&json!({"kid": "ec"}), &claims())),
        Ok(())
    );
    let token = RSA.token(&json!({}), &claims());
    assert_eq!(verdict(&set, &token), Err(TokenError::BadSignature));
}

#[test]
fn none_is_no_algorithm_in_any_spelling() {
    for name in [
        "none", "None", "NONE", "nOnE", "", "HS256 ", "hs256", "HS512", "PS256",
    ] {
        let header = json!({"alg": name}).to_string();
        let signed = hs256(&header, &claims().to_string());
        let (message, _) = signed.rsplit_once('.').unwrap();
        for token in [signed.clone(), format!("{message}.")] {
            for set in [secret_set(), pem_set(&RSA), mixed_set()] {
                assert_eq!(
                    verdict(&set, &token),
                    Err(TokenError::BadSignature),
                    "{name:?}"
                );
            }
        }
    }
}

#[test]
fn an_unsigned_token_is_refused_whatever_it_says() {
    let signed = hs256(r#"{"alg":"HS256"}"#, &claims().to_string());
    let (message, _) = signed.rsplit_once('.').unwrap();
    assert_eq!(
        verdict(&secret_set(), &format!("{message}.")),
        Err(TokenError::BadSignature)
    );
    assert_eq!(verdict(&secret_set(), message), Err(TokenError::Malformed));
}

#[test]
fn keys_that_a_token_brings_along_or_points_to_are_ignored() {
    for extra in [
        json!({"jwk": OTHER_RSA.jwk(&json!({}))}),
        json!({"jku": "http://127.0.0.1:1/keys.json"}),
        json!({"x5u": "http://127.0.0.1:1/key.pem", "x5c": ["AAAA"], "x5t": "AAAA"}),
    ] {
        let forged = OTHER_RSA.token(&extra, &claims());
        assert_eq!(
            verdict(&pem_set(&RSA), &forged),
            Err(TokenError::BadSignature),
            "{extra}"
        );
        let honest = RSA.token(&extra, &claims());
        assert_eq!(verdict(&pem_set(&RSA), &honest), Ok(()), "{extra}");
    }
}

#[test]
fn extensions_that_must_be_understood_are_refused() {
    for extra in [
        json!({"crit": ["exp"], "exp": 0}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"crit": []}),
        json!({"crit": null}),
    ] {
        let token = RSA.token(&extra, &claims());
        assert_eq!(
            verdict(&pem_set(&RSA), &token),
            Err(TokenError::Malformed),
            "{extra}"
        );
    }
}

#[test]
fn a_header_that_says_something_twice_is_malformed() {
    for header in [
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"a","kid":"b"}"#,
    ] {
        let token = hs256(header, &claims().to_string());
        assert_eq!(
            verdict(&secret_set(), &token),
            Err(TokenError::Malformed),
            "{header}"
        );
    }
}

#[test]
fn what_is_no_jwt_is_malformed() {
    let good = hs256(r#"{"alg":"HS256"}"#, &claims().to_string());
    let (header, rest) = good.split_once('.').unwrap();
    let no_alg = hs256("{}", &claims().to_string());
    let odd_alg = hs256(r#"{"alg":["HS256"]}"#, &claims().to_string());
    let no_object = hs256(r#"["HS256"]"#, &claims().to_string());
    for token in [
        "x",
        ".",
        "..",
        "...",
        "a.b.c",
        " ",
        "ğ.ğ.ğ",
        &no_alg,
        &odd_alg,
        &no_object,
        &format!(" {good}"),
        &format!("{header}=.{rest}"),
        &format!("{header}.{good}"),
    ] {
        assert_eq!(
            verdict(&secret_set(), token),
            Err(TokenError::Malformed),
            "{token:?}"
        );
    }
    assert_eq!(verdict(&secret_set(), ""), Err(TokenError::Missing));
    // After the signature there is nothing but the signature.
    for token in [format!("{good}="), format!("{good}\n"), format!("{good} ")] {
        assert_eq!(
            verdict(&secret_set(), &token),
            Err(TokenError::BadSignature),
            "{token:?}"
        );
    }
}

#[test]
fn a_token_past_the_size_limit_is_malformed() {
    let with_padding = |bytes: usize| {
        let claims = json!({"exp": NOW + 60, "padding": "x".repeat(bytes)});
        hs256(r#"{"alg":"HS256"}"#, &claims.to_string())
    };
    let (largest, larger) = (with_padding(12_190), with_padding(12_240));
    assert!(
        (16_000..=16_384).contains(&largest.len()),
        "{}",
        largest.len()
    );
    assert!(
        (16_385..=16_500).contains(&larger.len()),
        "{}",
        larger.len()
    );
    assert_eq!(verdict(&secret_set(), &largest), Ok(()));
    assert_eq!(verdict(&secret_set(), &larger), Err(TokenError::Malformed));
}

#[test]
fn debug_shows_no_key() {
    let set = build(KeySource::Secret(Secret::new(SECRET)), &ALGORITHMS).unwrap();
    let shown = format!("{set:?} {set:#?}");
    assert!(!shown.contains("horse"), "{shown}");
    assert!(
        !shown.contains(&format!("{}, {}", SECRET[0], SECRET[1])),
        "{shown}"
    );
    assert!(shown.contains("HS256"), "{shown}");
}
