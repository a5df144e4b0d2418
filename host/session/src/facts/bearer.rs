//! Token that comes as a subprotocol, because web pages cannot send headers.
//!
//! The client offers `sluice.bearer.TOKEN`, and beside it a subprotocol that the server may choose:
//! its application's own, or [`COMPANION`]. The entry with the token is a credential. It is never
//! chosen, and is shown only to callers that may see `Authorization`.

use std::borrow::Cow;

use base::credentials::BEARER_PREFIX;

/// Subprotocol for clients that have no other one to offer beside a token. Browsers fail a
/// connection whose server chooses none of those that were offered.
pub const COMPANION: &str = "sluice";

/// Whether an operator's name for a subprotocol would be taken for a token.
#[must_use]
pub fn is_entry(subprotocol: &str) -> bool {
    token(subprotocol).is_some()
}

/// Token of an entry.
pub(super) fn token(entry: &str) -> Option<&str> {
    let (prefix, token) = entry.trim().split_at_checked(BEARER_PREFIX.len())?;
    prefix.eq_ignore_ascii_case(BEARER_PREFIX).then_some(token)
}

/// `Sec-WebSocket-Protocol` without tokens; `None` if it had nothing else.
pub(super) fn without_tokens(offered: &str) -> Option<Cow<'_, str>> {
    if !offered.split(',').any(is_entry) {
        return Some(offered.into());
    }
    let others = offered.split(',').map(str::trim);
    let others: Vec<_> = others
        .filter(|entry| !entry.is_empty() && !is_entry(entry))
        .collect();
    (!others.is_empty()).then(|| others.join(", ").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_prefix_in_any_case() {
        assert_eq!(token("sluice.bearer.a.b"), Some("a.b"));
        assert_eq!(token(" Sluice.Bearer.a "), Some("a"));
        assert_eq!(token("sluice.bearer."), Some(""));
        for other in [
            "sluice.bearer",
            "sluice",
            "",
            "sluice.bearér.x",
            "xsluice.bearer.y",
        ] {
            assert_eq!(token(other), None, "{other}");
        }
    }

    #[test]
    fn a_list_keeps_what_is_no_token() {
        for (offered, shown) in [
            ("v1,v2", Some("v1,v2")),
            ("v1, sluice.bearer.x,v2", Some("v1, v2")),
            ("sluice.bearer.x, v1", Some("v1")),
            ("sluice.bearer.x", None),
            ("SLUICE.BEARER.x,,sluice.bearer.y", None),
        ] {
            assert_eq!(without_tokens(offered).as_deref(), shown, "{offered}");
        }
    }
}
