//! Canonical form of paths, so that a request finds its route.
//!
//! A configuration has a path as people write it, and a request has it as a client encodes it:
//! `/toplantı` arrives as `/toplant%C4%B1`, and `/%65cho` means `/echo` (RFC 3986, section 6.2.2).
//! Both are brought to one form, in which exactly those characters are encoded that must be. An
//! encoded slash stays encoded, and separates nothing.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// All characters except the unreserved ones (RFC 3986, section 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Canonical form of a path.
#[must_use]
pub fn canonical(path: &str) -> String {
    let mut spelled = String::with_capacity(path.len());
    for (number, segment) in path.split('/').enumerate() {
        if number > 0 {
            spelled.push('/');
        }
        let decoded: Cow<'_, [u8]> = percent_decode_str(segment).into();
        spelled.extend(percent_encode(&decoded, ENCODED));
    }
    spelled
}

/// Canonical form of a route's path. Its parameters stay in their braces.
#[must_use]
pub fn template(path: &str) -> String {
    let mut spelled = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((literal, behind)) = rest.split_once('{') {
        let Some((name, behind)) = behind.split_once('}') else {
            break;
        };
        spelled.push_str(&canonical(literal));
        spelled.extend(["{", name, "}"]);
        rest = behind;
    }
    spelled.push_str(&canonical(rest));
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling_however_it_is_encoded() {
        for (one, other) in [
            ("/toplantı/a", "/toplant%C4%B1/a"),
            ("/toplant%c4%b1/a", "/toplant%C4%B1/a"),
            ("/%65cho", "/echo"),
            ("/a+b:c@d", "/a%2Bb%3ac%40d"),
            ("/100%", "/100%25"),
            ("/a b", "/a%20b"),
            ("/%ff", "/%FF"),
        ] {
            assert_eq!(canonical(one), canonical(other), "{one}");
        }
        for (one, other) in [
            ("/a%2Fb", "/a/b"),
            ("/a", "/a/"),
            ("/a", "/A"),
            ("/a%2525", "/a%25"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one}");
        }
        assert_eq!(canonical("/ws-1/a_b.c~d"), "/ws-1/a_b.c~d");
        assert_eq!(canonical(""), "");
    }

    #[test]
    fn parameters_stay_as_they_are() {
        assert_eq!(
            template("/toplantı/{meeting_id}/ş"),
            "/toplant%C4%B1/{meeting_id}/%C5%9F"
        );
        assert_eq!(template("/{a}"), "/{a}");
        assert_eq!(template("/a/{b"), "/a/%7Bb");
    }
}
