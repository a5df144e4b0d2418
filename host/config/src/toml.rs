//! Reader of tables in TOML, for the configuration and for the files of a policy's author.
//!
//! It collects mistakes on the way: a bad value is reported and left out, and the rest of the file
//! is read. Each table is a [`Section`] whose keys are taken out one by one. What is left in the
//! end is unknown.

use toml_span::Span;
use toml_span::value::{Table, ValueInner};

use base::diagnostics::Diagnostics;

mod document;
mod json;
mod lists;
mod nearest;
mod quantity;
mod section;
mod syntax;

pub use document::{Document, Spanned};
pub use section::{Section, TextOrSection};

pub(crate) use json::JsonTable;
pub(crate) use nearest::nearest;
pub(crate) use quantity::Zero;
pub(crate) use section::Sections;

/// Parses a file. `subject` is what reports call the file as a whole ("the configuration"), and
/// `name` is its path.
///
/// # Errors
/// The report, if the text is not TOML.
pub fn parse<'de>(
    subject: &'static str,
    name: &str,
    text: &'de str,
) -> Result<(Document, Section<'de>), Diagnostics> {
    let mut document = Document::new(subject, name, text);
    let table = match toml_span::parse(text) {
        Ok(mut root) => match root.take() {
            ValueInner::Table(table) => table,
            // The root of a file is always a table.
            _ => Table::new(),
        },
        Err(error) => {
            document.not_toml(text, &error);
            return Err(document.diagnostics);
        }
    };
    let place = document.place(Span::new(0, 0));
    Ok((document, Section::new("", "the file", place, table)))
}

/// Text that a file of another program has at a JSON pointer, if it is TOML and has one.
#[must_use]
pub fn text_at(text: &str, pointer: &str) -> Option<String> {
    let root = toml_span::parse(text).ok()?;
    Some(root.pointer(pointer)?.as_str()?.to_owned())
}
