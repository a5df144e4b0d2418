//! Errors of the TOML parser.

use toml_span::{Error, ErrorKind};

use super::document::Document;

impl Document<'_> {
    /// Reports the mistake at which the parser stopped.
    pub(super) fn not_toml(&self, error: &Error) {
        // If the parser expected another token, it guesses the length of the one it found, and the
        // span may exceed the line.
        let mut place = self.place(error.span).first_line();
        if self.text.get(error.span.start..).is_none_or(str::is_empty) {
            // There is nothing to underline at the end of the file.
            let text = self.text.trim_end();
            let last = text.chars().next_back().map_or(0, char::len_utf8);
            place = self.place(text.len() - last..text.len());
        }
        let help = match &error.kind {
            ErrorKind::DuplicateKey { .. } | ErrorKind::DuplicateTable { .. } => {
                "keep one of the two; nothing else was checked yet"
            }
            ErrorKind::UnquotedString => "put text in quotes: \"…\"; nothing else was checked yet",
            ErrorKind::InvalidNumber => {
                "put text, dates and quantities with a unit in quotes, such as \"50ms\"; \
                 nothing else was checked yet"
            }
            _ => "correct the TOML here (https://toml.io); nothing else was checked yet",
        };
        let message = match &error.kind {
            ErrorKind::DuplicateKey { key, .. } => format!("`{key}` is set twice"),
            ErrorKind::DuplicateTable { name, .. } => format!("`{name}` is defined twice"),
            ErrorKind::UnexpectedEof => "the file ends in the middle of something".to_owned(),
            ErrorKind::UnterminatedString => "a text has no closing quote".to_owned(),
            ErrorKind::UnquotedString => {
                "a value is neither a number, `true`, `false` nor quoted".to_owned()
            }
            _ => format!("this is not TOML: {error}"),
        };
        let first = match &error.kind {
            ErrorKind::DuplicateKey { first, .. } | ErrorKind::DuplicateTable { first, .. } => {
                Some(self.place(*first))
            }
            _ => None,
        };
        let mut diagnostic = self.error(&place, message, help);
        if let Some(first) = first {
            diagnostic.label("again here").also(&first, "first here");
        }
    }
}
