use super::*;

fn allows(listed: &[&str], sent: &[&str], host: &str, security: Security) -> bool {
    let listed = listed.iter().map(|entry| entry.parse().unwrap()).collect();
    let sent = sent.iter().map(|origin| origin.as_bytes());
    Origins::new(listed).allow(sent, host, security)
}

#[test]
fn an_origin_of_the_requests_own_host_passes() {
    use Security::{Plain, Tls};
    for (origin, host, security, passes) in [
        // What web pages of the host send, Starscream, and Python's websocket-client.
        ("http://a.example", "a.example", Plain, true),
        ("ws://a.example", "a.example", Plain, true),
        ("http://127.0.0.1:8080", "127.0.0.1:8080", Plain, true),
        ("http://[::1]:8080", "[::1]:8080", Plain, true),
        ("HTTP://A.example", "a.EXAMPLE:80", Plain, true),
        ("http://a.example:80", "a.example", Plain, true),
        // The same behind a proxy that speaks TLS.
        ("https://a.example", "a.example", Plain, true),
        ("wss://a.example", "a.example:443", Plain, true),
        ("https://a.example", "a.example", Tls, true),
        ("https://a.example:8443", "a.example:8443", Tls, true),
        // A page that came without TLS may have been written by anybody on the way.
        ("http://a.example", "a.example", Tls, false),
        ("ws://a.example:443", "a.example:443", Tls, false),
        ("http://a.example", "a.example:8080", Plain, false),
        ("http://a.example:3000", "a.example:8080", Plain, false),
        ("https://a.example", "a.example:80", Plain, false),
        ("http://b.example", "a.example", Plain, false),
        ("http://x.a.example", "a.example", Plain, false),
        ("http://a.example.evil", "a.example", Plain, false),
        ("http://a.example/", "a.example", Plain, false),
        ("http://u@a.example", "a.example", Plain, false),
        ("http://a%2eexample", "a.example", Plain, false),
        ("ftp://a.example", "a.example", Plain, false),
        ("null", "null", Plain, false),
        ("null", "", Plain, false),
        ("", "", Plain, false),
        ("file://", "", Plain, false),
    ] {
        let seen = allows(&[], &[origin], host, security);
        assert_eq!(seen, passes, "{origin} at {host}, {security:?}");
    }
}

#[test]
fn a_listed_origin_matches_as_origins_are_compared() {
    for (listed, origin, matches) in [
        ("https://app.example", "https://app.example", true),
        ("https://app.example:443", "https://app.example", true),
        ("https://app.example", "https://app.example:443", true),
        ("HTTPS://App.Example", "https://app.example", true),
        ("http://app.example:80", "http://app.example", true),
        ("wss://app.example", "https://app.example", true),
        ("https://app.example", "http://app.example", false),
        ("https://app.example", "https://app.example:8443", false),
        ("https://app.example", "https://x.app.example", false),
        ("https://*.example.com", "https://a.example.com", true),
        ("https://*.example.com", "https://a.b.example.com:443", true),
        ("https://*.example.com", "https://example.com", false),
        ("https://*.example.com", "https://.example.com", false),
        ("https://*.example.com", "https://evilexample.com", false),
        ("https://*.example.com", "https://a.example.com.evil", false),
        ("https://*.example.com", "http://a.example.com", false),
        (
            "https://*.example.com:8443",
            "https://a.example.com:8443",
            true,
        ),
        ("https://*.example.com", "https://a.example.com:8443", false),
        ("null", "null", true),
        ("null", "file://", false),
        ("file://", "file://", true),
        ("file://", "null", false),
        ("capacitor://localhost", "capacitor://localhost", true),
        ("chrome-extension://abc", "chrome-extension://ABC", true),
        ("chrome-extension://abc", "chrome-extension://abd", false),
        ("*", "https://anybody.example", true),
        ("*", "null", true),
        ("*", "no origin at all", true),
    ] {
        let seen = allows(&[listed], &[origin], "own.example", Security::Plain);
        assert_eq!(seen, matches, "{origin} where {listed} is listed");
    }
}

#[test]
fn no_origin_passes_and_what_is_none_or_two_does_not() {
    let allows = |sent: &[&str]| allows(&["null"], sent, "a.example", Security::Plain);
    assert!(allows(&[]));
    assert!(!allows(&["http://a.example", "http://a.example"]));
    assert!(!allows(&["http://a.example http://b.example"]));
    assert!(!allows(&["http://\u{fc}.example"]));
    let bytes = std::iter::once(&b"\xff"[..]);
    assert!(!Origins::default().allow(bytes, "a.example", Security::Plain));
}

#[test]
fn what_can_never_match_is_no_entry() {
    for (entry, error) in [
        ("app.example.com", OriginError::Scheme),
        ("", OriginError::Scheme),
        ("://a", OriginError::Scheme),
        ("1ttp://a", OriginError::Scheme),
        ("https://", OriginError::Host),
        ("app://", OriginError::Host),
        ("https://app.example.com/", OriginError::Path),
        ("https://app.example.com/login", OriginError::Path),
        ("https://app.example.com?x", OriginError::Path),
        ("https://m\u{fc}ller.example", OriginError::NotAscii),
        ("https://user@app.example.com", OriginError::Host),
        ("https://app example.com", OriginError::Host),
        ("https://app.example.com:99999", OriginError::Host),
        ("https://app.example.com:0", OriginError::Host),
        ("https://[::1", OriginError::Host),
        ("https://*", OriginError::Star),
        ("https://app.*.com", OriginError::Star),
        ("https://*.*.example.com", OriginError::Star),
        ("https://*app.example.com", OriginError::Star),
        ("https://*.127.0.0.1", OriginError::Star),
    ] {
        assert_eq!(entry.parse::<Listed>(), Err(error), "{entry}");
    }
}
