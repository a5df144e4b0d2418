//! Making text that somebody else wrote safe to pass on, and text of bytes.

/// At most `limit` bytes of `text`, cut at a character boundary.
#[must_use]
pub fn clip(text: &str, limit: usize) -> String {
    text[..text.floor_char_boundary(limit)].to_owned()
}

/// [`clip`], with control characters replaced, so that no text from outside
/// can break a log line or a terminal, and with tokens hidden, so that none
/// gets into one.
#[must_use]
pub fn clean(text: &str, limit: usize) -> String {
    crate::credentials::without_tokens(&text[..text.floor_char_boundary(limit)])
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// Bytes in hexadecimal, as digests are written.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String has no way to fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
