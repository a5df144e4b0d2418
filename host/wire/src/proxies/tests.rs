//! Who the client is, behind proxies that are trusted and others.

use super::*;

fn proxies(field: Field) -> Proxies {
    let trusted = ["10.0.0.0/8", "2001:db8:1::/48"];
    Proxies {
        trusted: trusted.map(|network| network.parse().unwrap()).into(),
        field,
    }
}

fn client(field: Field, peer: &str, lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| line.as_bytes());
    let client = proxies(field).client(peer.parse().unwrap(), lines);
    client.to_string()
}

fn x(peer: &str, lines: &[&str]) -> String {
    client(Field::XForwardedFor, peer, lines)
}

fn forwarded(lines: &[&str]) -> String {
    client(Field::Forwarded, "10.0.0.1:80", lines)
}

#[test]
fn the_client_is_the_last_address_that_is_not_trusted() {
    for (lines, expected) in [
        (&["192.0.2.1"][..], "192.0.2.1:0"),
        // The client's own, then the proxies'.
        (&["6.6.6.6, 192.0.2.1"], "192.0.2.1:0"),
        (&["6.6.6.6", "192.0.2.1"], "192.0.2.1:0"),
        (
            &["6.6.6.6", "192.0.2.1, 10.1.1.1", "10.2.2.2"],
            "192.0.2.1:0",
        ),
        (&["6.6.6.6, 192.0.2.1,, ,"], "192.0.2.1:0"),
        // A quote that the client opened hides nothing.
        (&["\"6.6.6.6, 192.0.2.1, 10.1.1.1"], "192.0.2.1:0"),
        // The client is one of the operator's own machines.
        (&["10.3.3.3, 10.1.1.1"], "10.3.3.3:0"),
        (&["192.0.2.1:1234"], "192.0.2.1:1234"),
        (&["[2001:db8::1]:99"], "[2001:db8::1]:99"),
        (&["2001:db8::1"], "[2001:db8::1]:0"),
        (&["[2001:db8::1]"], "[2001:db8::1]:0"),
        (&["192.0.2.1, 2001:db8:1::7"], "192.0.2.1:0"),
        (&["::ffff:192.0.2.1"], "192.0.2.1:0"),
        (&["192.0.2.1, ::ffff:10.0.0.9"], "192.0.2.1:0"),
        (&["\"[2001:db8::1]:99\""], "[2001:db8::1]:99"),
    ] {
        assert_eq!(x("10.0.0.1:80", lines), expected, "{lines:?}");
    }
}

#[test]
fn what_an_untrusted_peer_says_is_ignored() {
    for peer in ["192.0.2.9:80", "[2001:db8::9]:80"] {
        assert_eq!(x(peer, &["6.6.6.6"]), peer);
    }
    // A proxy that is written in the other way is the same proxy.
    assert_eq!(x("[::ffff:10.0.0.1]:80", &["192.0.2.1"]), "192.0.2.1:0");
    assert_eq!(x("[::ffff:192.0.2.9]:80", &["6.6.6.6"]), "192.0.2.9:80");
    let nobody = Proxies::default();
    let peer = "10.0.0.1:80".parse().unwrap();
    assert_eq!(nobody.client(peer, [&b"6.6.6.6"[..]]), peer);
}

#[test]
fn what_cannot_be_read_ends_the_search() {
    let peer = "10.0.0.1:80";
    for odd in [
        "unknown",
        "_hidden",
        "6.6.6.6:x",
        "6.6.6.6:99999",
        "[2001:db8::1",
        "[6.6.6.6]",
        "1.2.3",
        "2001:db8::1%eth0",
        "\"6.6.6.6",
        "6.6.6.6 5.5.5.5",
    ] {
        assert_eq!(x(peer, &["6.6.6.6", odd]), peer, "{odd}");
        let behind = format!("6.6.6.6, {odd}, 10.1.1.1");
        assert_eq!(x(peer, &[&behind]), "10.1.1.1:0", "{odd}");
        // It is not looked at where the client stands behind it.
        assert_eq!(x(peer, &[odd, "192.0.2.1"]), "192.0.2.1:0", "{odd}");
    }
    assert_eq!(x(peer, &[]), peer);
    let lines = [&b"6.6.6.6"[..], b"\xff", b"10.1.1.1"];
    let found = proxies(Field::XForwardedFor).client(peer.parse().unwrap(), lines);
    assert_eq!(found.to_string(), "10.1.1.1:0");
}

#[test]
fn forwarded_is_read_as_rfc_7239_has_it() {
    for (lines, expected) in [
        (&["for=192.0.2.1"][..], "192.0.2.1:0"),
        (
            &["For=\"192.0.2.1:47011\";proto=https;by=203.0.113.43"],
            "192.0.2.1:47011",
        ),
        (
            &["proto=http; FOR=\"[2001:db8::1]:4711\""],
            "[2001:db8::1]:4711",
        ),
        (&["for=\"[2001:db8::1]\""], "[2001:db8::1]:0"),
        (&["for=192.0.2.1:_port"], "192.0.2.1:0"),
        (
            &["for=6.6.6.6, for=192.0.2.1", "for=10.1.1.1"],
            "192.0.2.1:0",
        ),
        // A quote that the client opened, and what proxies added to its line.
        (&["for=\"x, for=192.0.2.1"], "192.0.2.1:0"),
        (&["for=\"x\\, for=\"[2001:db8::1]\""], "[2001:db8::1]:0"),
        (&["for=\"x", "for=192.0.2.1"], "192.0.2.1:0"),
        // Text in quotes separates nothing.
        (&["for=192.0.2.1;by=\"a, for=6.6.6.6; x\""], "192.0.2.1:0"),
    ] {
        assert_eq!(forwarded(lines), expected, "{lines:?}");
    }
    for odd in [
        "for=unknown",
        "for=_gazonk",
        "for=\"_gazonk\"",
        "by=6.6.6.6",
        "for",
        "for=",
        "for=6.6.6.6;for=5.5.5.5",
        "for=\"6.6.6.6",
        "6.6.6.6",
    ] {
        assert_eq!(forwarded(&["for=6.6.6.6", odd]), "10.0.0.1:80", "{odd}");
    }
}

#[test]
fn the_field_that_the_proxies_do_not_write_is_never_read() {
    assert_eq!(x("10.0.0.1:80", &["for=192.0.2.1"]), "10.0.0.1:80");
}

#[test]
fn whoever_is_told_of_the_client_is_told_one_address() {
    let told = |name: &'static str, client: &str| {
        told(&HeaderName::from_static(name), client.parse().unwrap())
    };
    let (four, six) = ("192.0.2.1:5", "[2001:db8::1]:5");
    assert_eq!(told("x-forwarded-for", four).as_deref(), Some("192.0.2.1"));
    assert_eq!(told("x-real-ip", six).as_deref(), Some("2001:db8::1"));
    assert_eq!(told("forwarded", four).as_deref(), Some("for=192.0.2.1"));
    assert_eq!(
        told("forwarded", six).as_deref(),
        Some("for=\"[2001:db8::1]\"")
    );
    assert_eq!(told("x-forwarded-proto", four), None);
}
