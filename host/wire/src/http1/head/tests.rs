use super::*;

fn with<T>(fields: &str, look: impl FnOnce(&Head<'_>) -> T) -> T {
    let text = format!("GET /x?a=b HTTP/1.1\r\n{fields}\r\n");
    let head = Head::parse(text.as_bytes()).unwrap();
    assert_eq!(head.size, text.len());
    look(&head)
}

#[test]
fn a_host_is_there_once_and_is_a_host_and_port() {
    for (fields, expected) in [
        ("Host: a.example\r\n", Ok("a.example")),
        ("hOST:a.example:8080 \r\n", Ok("a.example:8080")),
        ("Host: [::1]:80\r\n", Ok("[::1]:80")),
        ("Host: a.example:\r\n", Ok("a.example:")),
        ("", Err(HeadError::HostCount)),
        ("Host: a\r\nHost: a\r\n", Err(HeadError::HostCount)),
        ("Host:\r\n", Err(HeadError::Host)),
        ("Host: a b\r\n", Err(HeadError::Host)),
        ("Host: a/b\r\n", Err(HeadError::Host)),
        ("Host: u@a\r\n", Err(HeadError::Host)),
        ("Host: a:80:80\r\n", Err(HeadError::Host)),
        ("Host: a:x\r\n", Err(HeadError::Host)),
        ("Host: a:70000\r\n", Err(HeadError::Host)),
        ("Host: [::1\r\n", Err(HeadError::Host)),
        ("Host: \u{fc}\r\n", Err(HeadError::Host)),
    ] {
        let seen = with(fields, |head| head.host().map(str::to_owned));
        assert_eq!(
            seen.as_deref().map_err(|error| *error),
            expected,
            "{fields}"
        );
    }
}

#[test]
fn the_authority_of_the_target_replaces_the_host() {
    let text = b"GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let head = Head::parse(text).unwrap();
    assert_eq!((head.host(), head.uri.path()), (Ok("b.example"), "/x"));
}

#[test]
fn a_body_is_seen_and_two_lengths_are_an_error() {
    for (fields, expected) in [
        ("", Ok(Body::None)),
        ("Content-Length: 0\r\n", Ok(Body::None)),
        ("Content-Length: 000\r\n", Ok(Body::None)),
        ("Content-Length: 10\r\n", Ok(Body::Some)),
        ("Transfer-Encoding: chunked\r\n", Ok(Body::Some)),
        ("Transfer-Encoding: identity\r\n", Ok(Body::Some)),
        ("Content-Length: \r\n", Err(HeadError::Length)),
        ("Content-Length: +1\r\n", Err(HeadError::Length)),
        ("Content-Length: -1\r\n", Err(HeadError::Length)),
        ("Content-Length: 1, 1\r\n", Err(HeadError::Length)),
        (
            "Content-Length: 0\r\nContent-Length: 0\r\n",
            Err(HeadError::Length),
        ),
        (
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            Err(HeadError::TwoLengths),
        ),
    ] {
        assert_eq!(with(fields, |head| head.body()), expected, "{fields}");
    }
}

#[test]
fn a_list_is_read_from_all_lines() {
    let fields = "Connection: keep-alive,, x\r\nA: b\r\nCONNECTION:\tUpgrade \r\n";
    with(fields, |head| {
        let all: Vec<_> = head.list(&header::CONNECTION).collect();
        assert_eq!(all, ["keep-alive", "x", "Upgrade"]);
        assert!(head.lists(&header::CONNECTION, "upgrade"));
        assert!(!head.lists(&header::CONNECTION, "keep"));
    });
}

#[test]
fn any_number_of_fields_is_parsed() {
    let fields = "a:b\r\n".repeat(5_000);
    assert_eq!(with(&fields, |head| head.fields().len()), 5_000);
}

#[test]
fn what_can_never_be_a_request_is_told_from_one_that_has_begun() {
    for begun in [
        "",
        "G",
        "GET ",
        "GET /x",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.0\nA",
    ] {
        assert!(Head::may_begin_with(begun.as_bytes()), "{begun}");
    }
    for never in [
        &b"\x16\x03\x01"[..],
        b"GET /\r\n",
        b"GET / HTTP/2.0\r\n",
        b"\xff",
        &[b'A'; 33],
    ] {
        assert!(!Head::may_begin_with(never), "{never:?}");
    }
}

#[test]
fn syntax_that_two_readers_could_take_for_two_things_is_refused() {
    for text in [
        "GET / HTTP/1.1\r\nA : b\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /a b HTTP/1.1\r\n\r\n",
    ] {
        let error = Head::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error, HeadError::Malformed, "{text:?}");
    }
}
