//! Text: making it safe to pass on, and writing bytes as text.

use std::borrow::Cow;

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
