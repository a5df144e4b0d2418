//! Facts of requests.

use axum::http::HeaderValue;

use super::attributes::MAX_ATTRIBUTE_BYTES;
use super::*;

fn facts(uri: &str, headers: &[(&'static str, &'static str)]) -> Facts {
    let headers: HeaderMap = headers
        .iter()
        .map(|(k, v)| ((*k).parse().unwrap(), (*v).parse().unwrap()))
        .collect();
    with_headers(uri, headers)
}

/// The facts of a request with these headers.
pub(super) fn with_headers(uri: &str, headers: HeaderMap) -> Facts {
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
    assert_eq!(
        facts.query("token", Credentials::Shown).as_deref(),
        Some("t")
    );
}

#[test]
fn a_field_in_several_lines_is_one_if_all_of_it_is_text() {
    let facts = facts(
        "/x",
        &[
            ("accept", "a"),
            ("accept", "b"),
            ("x-odd", "\u{fe}"),
            ("x-partly", "a"),
            ("x-partly", "\u{fe}"),
        ],
    );
    let header = |name| facts.header(name, Credentials::Withheld);
    assert_eq!(header("Accept").as_deref(), Some("a, b"));
    assert_eq!(header("x-odd"), None);
    assert_eq!(header("x-partly"), None);
}

#[test]
fn a_field_that_names_the_client_says_what_is_known_and_not_what_was_sent() {
    let facts = facts(
        "/x",
        &[
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-for", "5.5.5.5"),
            ("forwarded", "for=6.6.6.6"),
        ],
    );
    let header = |name| facts.header(name, Credentials::Withheld);
    assert_eq!(header("X-Forwarded-For").as_deref(), Some("127.0.0.1"));
    assert_eq!(header("forwarded").as_deref(), Some("for=127.0.0.1"));
    assert_eq!(header("x-real-ip").as_deref(), Some("127.0.0.1"));
    let sent = facts.all_headers();
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert!(
        sent.iter().all(|(_, value)| !value.contains("6.6")),
        "{sent:?}"
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
        let source = facts.query("source", Credentials::Withheld);
        assert_eq!(source.as_deref(), Some(expected));
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
fn what_was_said_first_stays_whatever_others_say_later() {
    let facts = facts("/x", &[]);
    let policies = ["a".to_owned(), "b".to_owned()];
    let tenant = || facts.said_first(&policies, "tenant_id");
    assert_eq!(tenant(), None);
    for (policy, value) in [("c", "of another"), ("b", "first"), ("a", "later")] {
        facts
            .set_attribute(policy, "tenant_id", value.into())
            .unwrap();
    }
    assert_eq!(tenant().as_deref(), Some("first"));
}

#[test]
fn what_a_debugger_is_shown_holds_no_token() {
    let facts = facts("/x?token=canary", &[("authorization", "Bearer canary")]);
    assert!(!format!("{facts:?}").contains("canary"));
}

#[test]
fn a_token_may_come_as_a_subprotocol_and_the_others_win() {
    let offer = ("sec-websocket-protocol", "v1, sluice.bearer.a.b.c");
    let token = |uri: &str, headers: &[_]| facts(uri, headers).token();
    assert_eq!(token("/x", &[offer]).as_deref(), Some("a.b.c"));
    assert_eq!(token("/x?token=", &[offer]).as_deref(), Some("a.b.c"));
    assert_eq!(token("/x?token=query", &[offer]).as_deref(), Some("query"));
    let header = ("authorization", "Bearer header");
    assert_eq!(token("/x", &[offer, header]).as_deref(), Some("header"));
    let two_lines = [
        ("sec-websocket-protocol", "v1"),
        ("sec-websocket-protocol", "sluice.bearer.t"),
    ];
    assert_eq!(token("/x", &two_lines).as_deref(), Some("t"));
}

#[test]
fn a_subprotocol_with_a_token_is_withheld_and_the_others_are_shown() {
    let facts = facts(
        "/x",
        &[("sec-websocket-protocol", "v1, sluice.bearer.canary, v2")],
    );
    let shown = |credentials| facts.header("Sec-WebSocket-Protocol", credentials);
    assert_eq!(shown(Credentials::Withheld).as_deref(), Some("v1, v2"));
    assert!(shown(Credentials::Shown).unwrap().contains("canary"));
    assert!(!format!("{:?}", facts.all_headers()).contains("canary"));
}

#[test]
fn a_source_is_the_only_one_that_whoever_looks_at_all_sees() {
    let mut facts = facts("/x?a=1&source=system&b=2&source=mic", &[]);
    facts.normalise_source().unwrap();
    let all: Vec<_> = facts
        .all_queries()
        .into_iter()
        .map(|(name, value)| name + "=" + &value)
        .collect();
    assert_eq!(all, ["a=1", "b=2", "source=sys"]);
}

#[test]
fn what_was_written_down_is_what_was_sent() {
    let query = [
        ("a&b".to_owned(), "c=d é".to_owned()),
        ("e".to_owned(), String::new()),
    ];
    let path = "/m%1/ü ?#";
    let headers = [("x-a", "b")].map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    let request = (path, query.as_slice(), headers.into_iter().collect());
    let remote = "127.0.0.1:9".parse().unwrap();
    let facts = Facts::of_parts("s".into(), "r".into(), Vec::new(), request, remote);
    assert_eq!(facts.path(), path);
    assert_eq!(facts.all_queries(), query);
    assert_eq!(
        facts.header("x-a", Credentials::Withheld).as_deref(),
        Some("b")
    );
}
