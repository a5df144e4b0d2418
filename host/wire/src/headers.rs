//! Values of header fields (RFC 9110): a field may have several lines, and may be a list.
//!
//! Only this module splits the value of a field. Code that reads the first line alone sees the one
//! that a client wrote, and misses those that proxies added behind it.

use std::borrow::Cow;

/// The value as text, if it has only visible ASCII, spaces and tabs (section 5.5).
#[must_use]
pub fn text(value: &[u8]) -> Option<&str> {
    let is_text = |byte: &u8| *byte == b'\t' || (b' '..=b'~').contains(byte);
    let text = value.iter().all(is_text).then_some(value)?;
    std::str::from_utf8(text).ok()
}

/// Value of a field: its lines in order, with a comma between them (section 5.3). `None` if there
/// is no line, or one of them is not text.
#[must_use]
pub fn combined<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Cow<'a, str>> {
    let mut lines = lines.into_iter();
    let mut value = Cow::Borrowed(text(lines.next()?)?);
    for line in lines {
        let value = value.to_mut();
        value.push_str(", ");
        value.push_str(text(line)?);
    }
    Some(value)
}

/// Elements of a list field, over all of its lines (section 5.6.1). Empty elements, and lines that
/// are not text, are left out.
pub fn elements<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a str> {
    let lines = lines.into_iter().filter_map(text);
    lines
        .flat_map(|line| parts(line, ','))
        .filter(|element| !element.is_empty())
}

/// Whether a list field has a token. Upper and lower case are the same.
pub fn has_token<'a>(lines: impl IntoIterator<Item = &'a [u8]>, token: &str) -> bool {
    elements(lines).any(|element| element.eq_ignore_ascii_case(token))
}

/// Parts of a value between separators that are not in a quoted string, without white space around
/// them.
pub fn parts(value: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let (part, behind) = split_once(rest?, separator);
        rest = behind;
        Some(part.trim_matches([' ', '\t']))
    })
}

/// Whether every quoted string in a value has an end.
#[must_use]
pub(crate) fn is_whole(value: &str) -> bool {
    let ends = value.chars().fold(Quoted::No, Quoted::then);
    matches!(ends, Quoted::No)
}

fn split_once(value: &str, separator: char) -> (&str, Option<&str>) {
    let mut quoted = Quoted::No;
    for (at, c) in value.char_indices() {
        if c == separator && matches!(quoted, Quoted::No) {
            return (&value[..at], Some(&value[at + c.len_utf8()..]));
        }
        quoted = quoted.then(c);
    }
    (value, None)
}

/// State of a scan: outside of a quoted string, inside (section 5.6.4), or behind a backslash
/// inside.
#[derive(Clone, Copy)]
enum Quoted {
    No,
    Yes,
    Escaped,
}

impl Quoted {
    /// State after this character.
    fn then(self, c: char) -> Self {
        match (self, c) {
            (Self::No, '"') | (Self::Escaped, _) => Self::Yes,
            (Self::Yes, '"') => Self::No,
            (Self::Yes, '\\') => Self::Escaped,
            (same, _) => same,
        }
    }
}

/// A token, or a quoted string without its quotes. `None` if the quoted string has no end, or
/// something follows it.
#[must_use]
pub(crate) fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(inside) = value.strip_prefix('"') else {
        return Some(Cow::Borrowed(value));
    };
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside.chars();
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(Cow::Owned(text)),
            '\\' => text.push(rest.next()?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lines: &[&'static str]) -> Vec<&'static str> {
        elements(lines.iter().map(|line| line.as_bytes())).collect()
    }

    #[test]
    fn a_list_is_the_same_in_one_line_and_in_several() {
        let expected = ["keep-alive", "Upgrade"];
        for lines in [
            &["keep-alive, Upgrade"][..],
            &["keep-alive", "Upgrade"],
            &[" keep-alive\t,,\t Upgrade , "],
            &["", ",keep-alive,", ", ,", "Upgrade"],
        ] {
            assert_eq!(list(lines), expected, "{lines:?}");
        }
        assert!(list(&[]).is_empty() && list(&[" , ", ""]).is_empty());
    }

    #[test]
    fn a_token_is_found_in_any_case_and_never_as_a_part_of_another() {
        let has = |line: &'static str| has_token([line.as_bytes()], "upgrade");
        assert!(has("UPGRADE") && has("close, uPgrade") && has("\tupgrade "));
        for other in [
            "upgrades",
            "no-upgrade",
            "upgrade;q=1",
            "\"close, upgrade\"",
            "",
        ] {
            assert!(!has(other), "{other}");
        }
        let lines = [&b"close, \xff"[..], b"upgrade"];
        assert!(has_token(lines, "upgrade"));
    }

    #[test]
    fn a_separator_in_a_quoted_string_separates_nothing() {
        assert_eq!(
            list(&[r#"for="[::1]:8,0";by=x, for="a\",b" ,c"#]),
            [r#"for="[::1]:8,0";by=x"#, r#"for="a\",b""#, "c"]
        );
        let pairs: Vec<_> = parts(r#" for="a;b" ;proto=https"#, ';').collect();
        assert_eq!(pairs, [r#"for="a;b""#, "proto=https"]);
        // One without an end goes on to the end of its line, and no further.
        assert_eq!(list(&[r#"a, "b, c"#, "d"]), ["a", r#""b, c"#, "d"]);
    }

    #[test]
    fn a_quoted_string_is_read_whole_or_not_at_all() {
        for (value, expected) in [
            ("token", Some("token")),
            (r#""""#, Some("")),
            (r#""a \"b\" \\ c""#, Some(r#"a "b" \ c"#)),
            (r#""a"#, None),
            (r#""a\"#, None),
            (r#""a"b"#, None),
        ] {
            assert_eq!(unquoted(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_field_is_all_of_its_lines_or_nothing() {
        let value = |lines: &[&'static [u8]]| combined(lines.iter().copied()).map(Cow::into_owned);
        assert_eq!(value(&[]), None);
        assert_eq!(value(&[b"a"]).as_deref(), Some("a"));
        assert_eq!(value(&[b"a", b"", b"b, c"]).as_deref(), Some("a, , b, c"));
        assert_eq!(value(&[b"a", b"\xff"]), None);
        assert_eq!(value(&[b"\xff", b"a"]), None);
    }
}
