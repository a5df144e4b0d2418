//! Text: making it safe to pass on, and writing bytes as text.

use std::borrow::Cow;
use std::fmt::Write as _;

/// At most `limit` bytes of `text`, cut at a character boundary.
#[must_use]
pub fn clip(text: &str, limit: usize) -> String {
    text[..text.floor_char_boundary(limit)].to_owned()
}

/// [`clip`], with control characters and tokens replaced. The result breaks no log line and no
/// terminal, and shows no token.
#[must_use]
pub fn clean(text: &str, limit: usize) -> String {
    crate::credentials::without_tokens(&text[..text.floor_char_boundary(limit)])
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A key as TOML has it: in quotes where it must be.
#[must_use]
pub fn toml_key(key: &str) -> Cow<'_, str> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(is_bare) {
        return Cow::Borrowed(key);
    }
    let mut quoted = String::from('"');
    for c in key.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // Writing to a text cannot fail.
            c if c.is_control() => drop(write!(quoted, "\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

/// A word that a POSIX shell reads back as it is.
#[must_use]
pub fn shell_word(word: &str) -> Cow<'_, str> {
    let is_safe = |c: char| c.is_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_safe) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

/// Bytes in hexadecimal, in lower case.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_quotes_where_toml_wants_it() {
        assert_eq!(toml_key("acme-1_a"), "acme-1_a");
        assert_eq!(toml_key("acme corp"), r#""acme corp""#);
        assert_eq!(toml_key("a.b"), r#""a.b""#);
        assert_eq!(toml_key(""), r#""""#);
        assert_eq!(toml_key("\"\\\n"), r#""\"\\\u000a""#);
    }
}
