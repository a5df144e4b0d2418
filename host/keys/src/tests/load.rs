use jsonwebtoken::Algorithm;
use serde_json::json;

use crate::fixtures::*;
use crate::settings::KeySource;
use crate::{ALGORITHMS, MintError};
use base::secret::Secret;

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
    let cases: [(String, &[&str]); 6] = [
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
fn a_pem_file_may_hold_more_than_the_key() {
    use crate::tests::{claims, verdict};
    let damaged = "-----BEGIN PUBLIC KEY-----\nAAAA\n";
    for (beside, said) in [
        (
            pem("CERTIFICATE", b"x"),
            "block 0 is not used: the PEM block is a CERTIFICATE",
        ),
        (
            pem("PRIVATE KEY", b"x"),
            "block 0 is not used: the PEM block is a PRIVATE KEY",
        ),
        (
            pem("PUBLIC KEY", b"x"),
            "holds no key of a type that is supported",
        ),
        (p384_pem(), "P-256"),
        (damaged.to_owned(), "it is damaged"),
        ("subject=CN = a\r\n".to_owned(), ""),
    ] {
        let text = format!("{beside}{}", RSA.pem).replace('\n', "\r\n");
        let set = build(KeySource::Pem(text.into_bytes()), &ALGORITHMS).unwrap();
        let token = RSA.token(&json!({"kid": "whatever"}), &claims());
        assert_eq!(verdict(&set, &token), Ok(()), "{beside}");
        let remarks = set.remarks.join("\n");
        assert!(remarks.contains(said), "{said} in {remarks}");
        assert_eq!(set.remarks.is_empty(), said.is_empty(), "{remarks}");
    }
    // While an issuer changes its key there are two.
    let two = format!("{}{}", RSA.pem, OTHER_RSA.pem);
    let set = build(KeySource::Pem(two.into_bytes()), &ALGORITHMS).unwrap();
    for issuer in [&*RSA, &*OTHER_RSA] {
        assert_eq!(verdict(&set, &issuer.token(&json!({}), &claims())), Ok(()));
    }
    assert!(set.remarks.is_empty());
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
fn a_jwk_that_cannot_be_used_is_passed_over_and_locks_out_no_other() {
    use crate::tests::{claims, verdict};
    let with = |name: &str, value: &str| {
        let mut jwk = RSA.jwk(&json!({"kid": "k"}));
        jwk[name] = json!(value);
        jwk
    };
    let mut point_off_the_curve = EC.jwk(&json!({}));
    point_off_the_curve["x"] = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let short = json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"});
    let ed = ED.jwk(&json!({"kid": "ed"}));
    let cases = [
        (with("n", "not base64!"), "base64url"),
        (with("n", "AAAA"), "RSA"),
        (
            with("n", &"w".repeat(171)),
            "key 1 (\"k\") is not used: the RSA key has 1024 bits",
        ),
        (point_off_the_curve, "P-256"),
        (short, "Ed25519"),
        (json!({"kty": "oct", "k": "c2hvcnQ"}), "5 bytes"),
        (json!("kid"), "not a JSON Web Key"),
        (json!(null), "not a JSON Web Key"),
        (json!({}), "is not used"),
        (json!({"kty": "RSA"}), "is not used"),
        (
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
            "is not used",
        ),
        (
            json!({"kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA"}),
            "is not used",
        ),
        (
            json!({"kty": "OKP", "crv": "Ed448", "x": "AAAA"}),
            "is not used",
        ),
        (RSA.jwk(&json!({"use": "enc"})), "`use` is not \"sig\""),
        (RSA.jwk(&json!({"alg": "PS256"})), "its `alg` is another"),
        (RSA.jwk(&json!({"key_ops": ["sign"]})), "`key_ops` has no"),
        (RSA.jwk(&json!({"kid": 5})), "is not used"),
        (EC.jwk(&json!({"d": "c2VjcmV0"})), "private part"),
        (ed.clone(), "it is a duplicate"),
    ];
    for (key, said) in cases {
        let set = build(jwks(&[ed.clone(), key]), &ALGORITHMS).unwrap();
        let token = ED.token(&json!({"kid": "ed"}), &claims());
        assert_eq!(verdict(&set, &token), Ok(()), "{said}");
        let [remark] = &set.remarks[..] else {
            panic!("{said}: {:?}", set.remarks);
        };
        assert!(
            remark.contains("key 1") && remark.contains(said),
            "{said} in {remark}"
        );
        assert!(!remark.contains("c2VjcmV0"), "{remark}");
    }
    let set = build(jwks(std::slice::from_ref(&ed)), &ALGORITHMS).unwrap();
    assert!(set.remarks.is_empty());
    // A secret in a set of public keys.
    let oct = json!({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"});
    let set = build(jwks(&[ed, oct]), &[Algorithm::EdDSA]).unwrap();
    assert!(
        set.remarks[0].contains("it is for HS256"),
        "{:?}",
        set.remarks
    );
}

#[test]
fn a_set_without_one_key_that_can_be_used_is_refused_with_every_reason() {
    let source = jwks(&[
        EC.jwk(&json!({"d": "c2VjcmV0"})),
        RSA.jwk(&json!({"use": "enc"})),
    ]);
    let message = build(source, &ALGORITHMS).unwrap_err().to_string();
    assert!(
        message.contains("private part") && message.contains("`use` is not"),
        "{message}"
    );
    assert!(!message.contains("c2VjcmV0"), "{message}");
}

#[test]
fn two_keys_of_one_kid_are_both_tried() {
    use crate::tests::{claims, verdict};
    let keys = [
        RSA.jwk(&json!({"kid": "k"})),
        OTHER_RSA.jwk(&json!({"kid": "k"})),
    ];
    let set = build(jwks(&keys), &ALGORITHMS).unwrap();
    for issuer in [&*RSA, &*OTHER_RSA] {
        let token = issuer.token(&json!({"kid": "k"}), &claims());
        assert_eq!(verdict(&set, &token), Ok(()));
    }
    assert!(
        set.remarks[0].contains("both are tried"),
        "{:?}",
        set.remarks
    );
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
fn a_large_jwk_set_is_taken_and_what_a_refusal_costs_is_bounded() {
    use crate::TokenError;
    use crate::tests::{claims, verdict};
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    let other = |number: usize| {
        let pair = Ed25519KeyPair::generate().unwrap();
        let x = base64::Engine::encode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            pair.public_key().as_ref(),
        );
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": number.to_string()})
    };
    let mut keys: Vec<_> = (0..32).map(other).collect();
    keys.push(ED.jwk(&json!({"kid": "the newest"})));
    let set = build(jwks(&keys), &ALGORITHMS).unwrap();
    let named = ED.token(&json!({"kid": "the newest"}), &claims());
    assert_eq!(verdict(&set, &named), Ok(()));
    let unnamed = ED.token(&json!({}), &claims());
    assert_eq!(verdict(&set, &unnamed), Err(TokenError::BadSignature));
    assert!(
        set.remarks[0].contains("33 keys for EdDSA"),
        "{:?}",
        set.remarks
    );
    let set = build(jwks(&keys[1..]), &ALGORITHMS).unwrap();
    assert_eq!(verdict(&set, &unnamed), Ok(()));
    assert!(set.remarks.is_empty());
}

#[test]
fn only_a_shared_secret_makes_tokens() {
    let claims = json!({"exp": u64::MAX});
    let token = secret_set().sign(&claims).unwrap();
    assert!(secret_set().verify_at(&token, NOW).is_ok());
    let set = build(KeySource::Pem(RSA.pem.clone().into_bytes()), &ALGORITHMS).unwrap();
    assert_eq!(set.sign(&claims), Err(MintError::NoSecret));
}
