//! What is made of a request.

use axum::http::header;

use super::*;

fn facts(uri: &str, headers: &[(&'static str, &'static str)]) -> Facts {
    let headers = headers
        .iter()
        .map(|(k, v)| ((*k).parse().unwrap(), (*v).parse().unwrap()))
        .collect();
    let remote = "127.0.0.1:9".parse().unwrap();
    Facts::new(
        "s".into(),
        "r".into(),
        &uri.parse().unwrap(),
        vec![],
        headers,
        remote,
    )
}

#[test]
fn the_header_wins_over_the_query() {
    let facts = facts("/x?token=query", &[("authorization", "bearer  header")]);
    assert_eq!(facts.token().as_deref(), Some("header"));
}

#[test]
fn white_space_in_a_token_is_stripped() {
    assert_eq!(
        facts("/x?token=%20a.b%0A.c%0D%0A", &[]).token().as_deref(),
        Some("a.b.c")
    );
    assert_eq!(facts("/x?token=%0A", &[]).token(), None);
}

#[test]
fn a_basic_header_is_no_token_and_the_query_counts() {
    let facts = facts("/x?token=query", &[("authorization", "Basic abc")]);
    assert_eq!(facts.token().as_deref(), Some("query"));
}

#[test]
fn credentials_are_withheld_in_any_case() {
    let facts = facts(
        "/x?token=t",
        &[("authorization", "Bearer t"), ("cookie", "c")],
    );
    for name in [
        "Authorization",
        "AUTHORIZATION",
        "cookie",
        "proxy-authorization",
    ] {
        assert_eq!(facts.header(name, Credentials::Withheld), None);
    }
    assert_eq!(facts.query("token", Credentials::Withheld), None);
    assert_eq!(facts.query("token", Credentials::Shown), Some("t"));
}

#[test]
fn the_first_header_of_a_name_counts_if_it_is_text() {
    let facts = facts(
        "/x",
        &[("accept", "a"), ("accept", "b"), ("x-odd", "\u{fe}")],
    );
    assert_eq!(facts.header("Accept", Credentials::Withheld), Some("a"));
    assert_eq!(facts.header("x-odd", Credentials::Withheld), None);
}

#[test]
fn the_buffer_that_a_request_was_read_into_is_not_kept_alive() {
    let buffer = bytes::Bytes::from("text".repeat(100));
    let value = header::HeaderValue::from_maybe_shared(buffer.clone()).unwrap();
    let headers = HeaderMap::from_iter([(header::ACCEPT, value)]);
    let uri = "/x".parse().unwrap();
    let remote = "127.0.0.1:9".parse().unwrap();
    let facts = Facts::new("s".into(), "r".into(), &uri, vec![], headers, remote);
    assert!(buffer.is_unique());
    assert_eq!(
        facts
            .header("accept", Credentials::Withheld)
            .map(str::as_bytes),
        Some(&*buffer)
    );
}

#[test]
fn the_source_is_normalised_and_a_stranger_is_named() {
    for (uri, expected) in [
        ("/x", "mic"),
        ("/x?source=system", "sys"),
        ("/x?source=sys", "sys"),
    ] {
        let mut facts = facts(uri, &[]);
        facts.normalise_source().unwrap();
        assert_eq!(facts.query("source", Credentials::Withheld), Some(expected));
    }
    let mut facts = facts("/x?source=tv", &[]);
    let error = facts.normalise_source().unwrap_err();
    assert_eq!(facts.query("source", Credentials::Withheld), None);
    assert_eq!(
        error.to_string(),
        "source \"tv\" is not one of mic, sys, system"
    );
}

#[test]
fn attributes_carry_the_name_of_who_left_them_and_are_bounded() {
    let facts = facts("/x", &[]);
    facts.set_attribute("auth", "email", "a@b".into()).unwrap();
    assert_eq!(facts.attribute("auth.email").as_deref(), Some("a@b"));
    assert_eq!(facts.attribute("email"), None);
    let large = "x".repeat(MAX_ATTRIBUTE_BYTES);
    assert_eq!(
        facts.set_attribute("p", "a", large),
        Err(AttributeError::TooLarge)
    );
    for n in 1..MAX_ATTRIBUTES {
        facts
            .set_attribute("p", &n.to_string(), String::new())
            .unwrap();
    }
    assert_eq!(
        facts.set_attribute("p", "last", String::new()),
        Err(AttributeError::TooMany)
    );
    facts.set_attribute("auth", "email", "c@d".into()).unwrap();
    assert_eq!(facts.attribute("auth.email").as_deref(), Some("c@d"));
}

#[test]
fn what_a_debugger_is_shown_holds_no_token() {
    let facts = facts("/x?token=canary", &[("authorization", "Bearer canary")]);
    assert!(!format!("{facts:?}").contains("canary"));
}
