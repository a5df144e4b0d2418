//! Reader of tables in TOML, for the configuration and for the files of a policy's author.
//!
//! It collects mistakes on the way: a bad value is reported and left out, and the rest of the file
//! is read. Each table is a [`Section`] whose keys are taken out one by one. What is left in the
//! end is unknown.

mod by_name;
mod document;
mod json;
mod lists;
mod nearest;
mod quantity;
mod section;
mod shape;
mod syntax;

pub(crate) use document::Asked;
pub use document::{Document, Spanned};
pub use section::{Section, TextOrSection};

pub(crate) use json::JsonTable;
pub(crate) use nearest::nearest;
pub(crate) use quantity::Zero;
pub(crate) use section::Sections;
pub(crate) use shape::Shape;

/// Text that a file of another program has at a JSON pointer, if it is TOML and has one.
#[must_use]
pub fn text_at(text: &str, pointer: &str) -> Option<String> {
    let root = toml_span::parse(text).ok()?;
    Some(root.pointer(pointer)?.as_str()?.to_owned())
}
