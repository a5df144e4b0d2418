use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use super::{claims, mixed_set, pem_set, verdict};
use crate::ALGORITHMS;
use crate::TokenError;
use crate::fixtures::*;

#[test]
fn kid_chooses_the_key() {
    let set = mixed_set();
    assert_eq!(
        verdict(&set, &RSA.token(&json!({"kid": "rsa"}), &claims())),
        Ok(())
    );
    // Signed by a key of the set, but not by the one it names.
    for kid in ["other", "ec", "ed"] {
        let token = RSA.token(&json!({"kid": kid}), &claims());
        assert_eq!(
            verdict(&set, &token),
            Err(TokenError::BadSignature),
            "{kid}"
        );
    }
}

#[test]
fn kid_is_a_name_and_nothing_else() {
    let long = "k".repeat(4000);
    for kid in [
        "unknown",
        "",
        "RSA",
        "rsa ",
        "rsa\0",
        "../../../../dev/null",
        "/dev/null",
        "' OR '1'='1",
        "rsa' UNION SELECT 'key",
        "| id",
        "http://127.0.0.1/keys.json",
        &long,
    ] {
        let token = RSA.token(&json!({"kid": kid}), &claims());
        assert_eq!(
            verdict(&mixed_set(), &token),
            Err(TokenError::UnknownKey),
            "{kid:?}"
        );
        // What the file at the end of a path holds must not become a secret.
        let empty = EncodingKey::from_secret(b"");
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        let token = sign(&header, &claims().to_string(), &empty, Algorithm::HS256);
        assert_eq!(
            verdict(&mixed_set(), &token),
            Err(TokenError::UnknownKey),
            "{kid:?}"
        );
        assert_eq!(
            verdict(&secret_set(), &token),
            Err(TokenError::BadSignature),
            "{kid:?}"
        );
    }
}

#[test]
fn kid_of_the_wrong_type_is_malformed() {
    for kid in [
        json!(1),
        json!(null),
        json!(["rsa"]),
        json!({"$ne": ""}),
        json!(true),
    ] {
        let token = RSA.token(&json!({"kid": kid}), &claims());
        assert_eq!(
            verdict(&mixed_set(), &token),
            Err(TokenError::Malformed),
            "{kid}"
        );
    }
}

#[test]
fn keys_of_two_types_may_share_a_kid() {
    let keys = [RSA.jwk(&json!({"kid": "k"})), EC.jwk(&json!({"kid": "k"}))];
    let set = build(jwks(&keys), &ALGORITHMS).unwrap();
    for issuer in [&*RSA, &*EC] {
        assert_eq!(
            verdict(&set, &issuer.token(&json!({"kid": "k"}), &claims())),
            Ok(())
        );
    }
}

#[test]
fn a_token_without_kid_may_be_signed_by_any_key_of_its_type() {
    for issuer in [&*RSA, &*OTHER_RSA, &*EC, &*ED] {
        assert_eq!(
            verdict(&mixed_set(), &issuer.token(&json!({}), &claims())),
            Ok(())
        );
    }
}

#[test]
fn a_key_without_kid_does_not_answer_to_one() {
    let set = build(jwks(&[RSA.jwk(&json!({}))]), &ALGORITHMS).unwrap();
    assert_eq!(verdict(&set, &RSA.token(&json!({}), &claims())), Ok(()));
    let token = RSA.token(&json!({"kid": "rsa"}), &claims());
    assert_eq!(verdict(&set, &token), Err(TokenError::UnknownKey));
}

#[test]
fn the_only_key_of_a_set_that_has_no_names_ignores_kid() {
    let token = RSA.token(&json!({"kid": "whatever"}), &claims());
    assert_eq!(verdict(&pem_set(&RSA), &token), Ok(()));
    let token = hs256(r#"{"alg":"HS256","kid":"../x"}"#, &claims().to_string());
    assert_eq!(verdict(&secret_set(), &token), Ok(()));
}
