//! Text files as editors and shells save them.
//!
//! Text is UTF-8 everywhere in the gateway. A byte order mark is dropped, and text that is marked
//! as UTF-16 (Windows PowerShell writes it) is converted. For any other encoding the error names
//! it.

use std::io;
use std::path::Path;

/// Error: a file cannot be read as text.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is in another encoding.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
}

/// Reason why bytes are not text. It quotes at most the first wrong byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Every other byte is zero.
    #[error("it is UTF-16 without a byte order mark; save it as UTF-8")]
    UnmarkedUtf16,
    /// The bytes begin as UTF-16 does, and are no valid UTF-16.
    #[error("it begins with the byte order mark of UTF-16 and is not UTF-16; save it as UTF-8")]
    BrokenUtf16,
    /// The bytes begin as UTF-32 does.
    #[error("it is UTF-32; save it as UTF-8")]
    Utf32,
    /// The bytes are in a single-byte encoding.
    #[error(
        "it is not UTF-8: line {line} has the byte 0x{byte:02X}, as Latin-1 and Windows-1252 have; \
         save it as UTF-8"
    )]
    NotUtf8 {
        /// Number of the line, from 1.
        line: usize,
        /// First byte that is not valid UTF-8.
        byte: u8,
    },
    /// The bytes are no text in any encoding.
    #[error("it is not text: it has a byte of zero in line {line}")]
    Binary {
        /// Number of the line, from 1.
        line: usize,
    },
}

/// Reads a text file. Blocks.
///
/// # Errors
/// [`TextError`]
pub fn read(path: &Path) -> Result<String, TextError> {
    Ok(decode(std::fs::read(path)?)?)
}

/// Decodes bytes as text.
///
/// # Errors
/// [`EncodingError`]
pub fn decode(bytes: Vec<u8>) -> Result<String, EncodingError> {
    if bytes.starts_with(&[0xff, 0xfe, 0, 0]) || bytes.starts_with(&[0, 0, 0xfe, 0xff]) {
        return Err(EncodingError::Utf32);
    }
    if let Some(rest) = bytes.strip_prefix(&[0xff, 0xfe]) {
        return utf16(rest, u16::from_le_bytes);
    }
    if let Some(rest) = bytes.strip_prefix(&[0xfe, 0xff]) {
        return utf16(rest, u16::from_be_bytes);
    }
    if is_unmarked_utf16(&bytes) {
        return Err(EncodingError::UnmarkedUtf16);
    }
    let line = |before: &[u8]| before.split(|byte| *byte == b'\n').count();
    if let Some(zero) = bytes.iter().position(|byte| *byte == 0) {
        let line = line(&bytes[..zero]);
        return Err(EncodingError::Binary { line });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        EncodingError::NotUtf8 {
            line: line(&bytes[..at]),
            byte: bytes.get(at).copied().unwrap_or_default(),
        }
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, EncodingError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    match String::from_utf16(&units) {
        Ok(text) if rest.is_empty() && !text.contains('\0') => Ok(text),
        Ok(_) | Err(_) => Err(EncodingError::BrokenUtf16),
    }
}

/// Whether the bytes are ASCII characters, each paired with a zero. That is true of no UTF-8 text
/// and of no random secret.
fn is_unmarked_utf16(bytes: &[u8]) -> bool {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let all = |fits: fn(&[u8; 2]) -> bool| pairs.iter().all(fits);
    !pairs.is_empty()
        && rest.is_empty()
        && (all(|[low, high]| *low != 0 && *high == 0)
            || all(|[high, low]| *high == 0 && *low != 0))
}

/// Secret from a file, a variable or the configuration. White space around text is removed. Bytes
/// that are no text stay as they are.
///
/// # Errors
/// If it is text in an unsupported encoding, because its users have other bytes.
pub fn secret(bytes: Vec<u8>) -> Result<Vec<u8>, EncodingError> {
    let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    match decode(bytes.clone()) {
        // A random secret may begin like UTF-16 by chance. It is no text then.
        Ok(text) if marked && !text.chars().all(is_typed) => Ok(bytes),
        Ok(text) => Ok(text.trim().as_bytes().to_vec()),
        Err(error @ EncodingError::UnmarkedUtf16) => Err(error),
        Err(_) => Ok(bytes),
    }
}

fn is_typed(c: char) -> bool {
    c.is_ascii_graphic() || c.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn text_is_read_in_every_encoding_that_says_what_it_is() {
        let text = "a = \"ğ\"\r\n";
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe".to_vec(), utf16(text, u16::to_le_bytes)].concat(),
            [b"\xfe\xff".to_vec(), utf16(text, u16::to_be_bytes)].concat(),
        ] {
            assert_eq!(decode(bytes).as_deref(), Ok(text));
        }
        assert_eq!(decode(Vec::new()).as_deref(), Ok(""));
        assert_eq!(decode(b"\xef\xbb\xbf".to_vec()).as_deref(), Ok(""));
    }

    #[test]
    fn an_encoding_that_cannot_be_read_is_named() {
        for (bytes, said) in [
            (
                utf16("a = 1", u16::to_le_bytes),
                "UTF-16 without a byte order mark",
            ),
            (
                utf16("a = 1", u16::to_be_bytes),
                "UTF-16 without a byte order mark",
            ),
            (
                b"\xff\xfea".to_vec(),
                "begins with the byte order mark of UTF-16",
            ),
            (
                b"\xff\xfe\x00\xd8".to_vec(),
                "begins with the byte order mark of UTF-16",
            ),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), "UTF-32"),
            (b"\0\0\xfe\xff\0\0\0a".to_vec(), "UTF-32"),
            (b"a\nb\xe7c".to_vec(), "line 2 has the byte 0xE7"),
            (b"a\nb\0c".to_vec(), "a byte of zero in line 2"),
        ] {
            let error = decode(bytes).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_secret_is_what_was_typed_or_the_very_bytes() {
        for bytes in [
            &b"hush"[..],
            b"hush\n",
            b"hush\r\n",
            b" \thush \r\n\n",
            b"\xef\xbb\xbfhush\r\n",
            b"\xff\xfeh\0u\0s\0h\0\r\0\n\0",
            b"\xfe\xff\0h\0u\0s\0h\0\n",
        ] {
            assert_eq!(
                secret(bytes.to_vec()).as_deref(),
                Ok(&b"hush"[..]),
                "{bytes:?}"
            );
        }
        for bytes in [
            &b"\x80\x01\n"[..],
            b"\xff\xfe\x01\x02\x03\x04",
            b"\xff\xfeabc",
            b"a\0b\x01\n",
        ] {
            assert_eq!(secret(bytes.to_vec()).as_deref(), Ok(bytes), "{bytes:?}");
        }
        assert_eq!(secret(b"a b".to_vec()).as_deref(), Ok(&b"a b"[..]));
        assert_eq!(
            secret(utf16("hush", u16::to_le_bytes)),
            Err(EncodingError::UnmarkedUtf16)
        );
    }
}
