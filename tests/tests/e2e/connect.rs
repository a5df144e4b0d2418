//! Who is let in: tokens and their claims.

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::token::{self, KeyOfOurs, claims, claims_with, now};
use sluice_tests::with_both_clients;

/// The meeting of every test here.
fn path(token: &str) -> String {
    meeting("m1", "mic", token)
}

/// Each token with what the client reads about it.
fn refused(library: Library, config: &Config, tokens: &[(String, &str)]) {
    let gateway = Gateway::start(config);
    let mut client = Client::idle(library);
    for (token, message) in tokens {
        client.open(&gateway, &path(token), &[]);
        let frame = client.expect_refusal_saying(4001, "auth_failed", message);
        assert_eq!(frame["retryable"], false);
        assert_eq!(frame["retry_after_ms"], Value::Null);
    }
}

with_both_clients! {
    fn a_token_that_is_missing_or_wrong_is_refused_with_the_reason(library) {
        let with = |changes| token::sign(&claims_with(changes));
        refused(library, &Config::ingest(), &[
            (String::new(), "auth failed: no token"),
            ("nonsense".into(), "auth failed: token malformed"),
            ("a.b.c".into(), "auth failed: token malformed"),
            (token::sign_with(&Header::new(Algorithm::HS256), &claims(), b"another secret"), "auth failed: bad signature"),
            (with(json!({"exp": now() - 10})), "auth failed: token expired"),
            (with(json!({"nbf": now() + 600})), "auth failed: token not yet valid"),
            (with(json!({"aud": "billing"})), "auth failed: wrong audience"),
            (with(json!({"aud": null})), "auth failed: wrong audience"),
            (with(json!({"iss": "their-app"})), "auth failed: wrong issuer"),
            (with(json!({"iss": null})), "auth failed: wrong issuer"),
            (with(json!({"user_id": null})), "auth failed: missing claim user_id"),
            (with(json!({"tenant_id": ""})), "auth failed: missing claim tenant_id"),
        ]);
    }
}

#[test]
fn a_token_without_a_usable_expiry_is_refused() {
    let gateway = Gateway::start(&Config::ingest());
    let mut client = Client::idle(Library::Ws);
    for expiry in [
        json!(null),
        json!((now() + 600).to_string()),
        json!("never"),
        json!(true),
        json!(-1),
        json!([]),
    ] {
        let token = token::sign(&claims_with(json!({"exp": expiry})));
        client.open(&gateway, &path(&token), &[]);
        client.expect_refusal(4001, "auth_failed");
    }
}

#[test]
fn a_token_that_is_not_signed_is_refused() {
    let gateway = Gateway::start(&Config::ingest());
    let mut client = Client::idle(Library::Ws);
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        for signature in [&b""[..], b"x"] {
            let token = token::forged(&json!({"alg": algorithm, "typ": "JWT"}), signature);
            client.open(&gateway, &path(&token), &[]);
            client.expect_refusal(4001, "auth_failed");
        }
    }
}

#[test]
fn an_algorithm_that_the_key_set_does_not_allow_is_refused() {
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = token::sign_with(&Header::new(algorithm), &claims(), token::SECRET.as_bytes());
        refused(
            Library::Ws,
            &Config::ingest(),
            &[(token, "auth failed: bad signature")],
        );
    }
}

/// A key set with a public key, as PEM.
fn with_public_key(key: &KeyOfOurs) -> Config {
    let config = Config::ingest().without("key_sets.main", "secret");
    config.set("key_sets.main", "pem", json!(key.pem)).set(
        "key_sets.main",
        "algorithms",
        json!(["EdDSA"]),
    )
}

#[test]
fn a_public_key_is_never_taken_for_a_shared_secret() {
    let key = KeyOfOurs::generate();
    let gateway = Gateway::start(&with_public_key(&key));
    let mut client = Client::idle(Library::Ws);
    for secret in [key.pem.as_str(), key.pem.trim_end()] {
        let token = token::sign_with(&Header::new(Algorithm::HS256), &claims(), secret.as_bytes());
        client.open(&gateway, &path(&token), &[]);
        client.expect_refusal(4001, "auth_failed");
    }
    client.open(&gateway, &path(&key.sign(&claims())), &[]);
    client.handshake();
    client.expect_ack();
}

#[test]
fn a_key_id_finds_no_other_key_than_the_sets_own() {
    let gateway = Gateway::start(&Config::ingest());
    let mut client = Client::idle(Library::Ws);
    for id in [
        "/dev/null",
        "../../../etc/passwd",
        "' OR 1=1 --",
        "main",
        &"k".repeat(4000),
    ] {
        let header = Header {
            kid: Some(id.to_owned()),
            ..Header::new(Algorithm::HS256)
        };
        let token = token::sign_with(&header, &claims(), b"");
        client.open(&gateway, &path(&token), &[]);
        client.expect_refusal(4001, "auth_failed");
    }
}

#[test]
fn a_key_that_the_token_brings_along_is_not_used() {
    let gateway = Gateway::start(&Config::ingest());
    let mut client = Client::idle(Library::Ws);
    let mut header = Header::new(Algorithm::HS256);
    header.jku = Some("http://127.0.0.1:9/keys".to_owned());
    let token = token::sign_with(&header, &claims(), b"theirs");
    client.open(&gateway, &path(&token), &[]);
    client.expect_refusal(4001, "auth_failed");
}

with_both_clients! {
    fn the_token_may_come_in_the_header_and_wins_there(library) {
        let gateway = Gateway::start(&Config::ingest());
        let good = format!("Bearer {}", token::good());
        let mut client = Client::idle(library);
        for bad in ["", "nonsense"] {
            client.open(&gateway, &path(bad), &[("Authorization", &good)]);
            client.handshake();
            client.expect_ack();
            client.finalize(0, 0);
        }
        let bad = [("Authorization", "Bearer nonsense")];
        client.open(&gateway, &path(&token::good()), &bad);
        client.expect_refusal_saying(4001, "auth_failed", "auth failed: token malformed");
    }

    fn stray_white_space_around_a_token_is_stripped(library) {
        let gateway = Gateway::start(&Config::ingest());
        let token = token::good();
        let header = format!("Bearer   {token} \t ");
        let (first, second) = token.split_at(token.len() / 2);
        let queries = [format!("%20{token}%0A"), format!("%0D%0A{token}%0D%0A"), format!("{first}%0A{second}"), format!("+{token}+")];
        let mut client = Client::idle(library);
        for query in queries {
            client.open(&gateway, &path(&query), &[]);
            client.handshake();
            client.expect_ack();
            client.finalize(0, 0);
        }
        client.open(&gateway, &path(""), &[("authorization", &header)]);
        client.handshake();
        client.expect_ack();
    }
}

#[test]
fn whoever_sends_a_good_token_in_a_wrong_form_is_told_what_is_wrong_with_it() {
    let gateway = Gateway::start(&Config::ingest());
    let good = token::good();
    let in_header = |value: &str| (path(""), Some(value.replace("TOKEN", &good)));
    let in_query = |value: &str| (path(&value.replace("TOKEN", &good)), None);
    let mut client = Client::idle(Library::Ws);
    for ((path, header), message) in [
        (
            in_header("TOKEN"),
            "auth failed: no token (Authorization has no scheme: write Bearer before the token)",
        ),
        (
            in_header("Basic TOKEN"),
            "auth failed: no token (the scheme of Authorization is not Bearer)",
        ),
        (
            in_header("Bearer \"TOKEN\""),
            "auth failed: token malformed (it is in quotes)",
        ),
        (
            in_header("Bearer \u{ef}\u{bb}\u{bf}TOKEN"),
            "auth failed: no token (it begins with a byte order mark)",
        ),
        (
            in_query("%EF%BB%BFTOKEN"),
            "auth failed: token malformed (it begins with a byte order mark)",
        ),
        (
            in_query("Bearer%20TOKEN"),
            "auth failed: token malformed (it begins with Bearer, which is no part of it)",
        ),
    ] {
        let header = header.as_deref().map(|value| ("Authorization", value));
        client.open(&gateway, &path, header.as_slice());
        client.expect_refusal_saying(4001, "auth_failed", message);
    }
}

#[test]
fn a_claim_can_be_tied_to_the_meeting() {
    let config = Config::ingest().set(
        "policies.auth.config.path_claims",
        "meeting_id",
        json!("meeting_id"),
    );
    let gateway = Gateway::start(&config);
    let of = |meeting: Value| token::sign(&claims_with(json!({"meeting_id": meeting})));
    let mut other = Client::connect(Library::Ws, &gateway, &path(&of(json!("m2"))));
    other.expect_refusal_saying(
        4001,
        "auth_failed",
        "auth failed: claim meeting_id does not match the path",
    );
    let mut none = Client::connect(Library::Ws, &gateway, &path(&of(json!(null))));
    none.expect_refusal_saying(4001, "auth_failed", "auth failed: missing claim meeting_id");
    let mut own = Client::connect(Library::Ws, &gateway, &path(&of(json!("m1"))));
    own.handshake();
    own.expect_ack();
}

#[test]
fn a_secret_may_come_from_a_file_or_from_the_environment() {
    let config = Config::ingest().without("key_sets.main", "secret");
    let from_env = config
        .clone()
        .set("key_sets.main", "secret_env", json!("SLUICE_TEST_SECRET"));
    let file = tempfile::NamedTempFile::new().unwrap();
    // Editors and `echo` leave a newline at the end; it belongs to no secret.
    std::fs::write(file.path(), format!("{}\n", token::SECRET)).unwrap();
    let from_file = config.set("key_sets.main", "secret_file", json!(file.path()));
    for config in [from_env, from_file] {
        let gateway = Gateway::start_as(&config, |mut command| {
            command.env("SLUICE_TEST_SECRET", token::SECRET);
            command
        });
        let mut client = Client::connect(Library::Ws, &gateway, &path(&token::good()));
        client.handshake();
        client.expect_ack();
    }
}
