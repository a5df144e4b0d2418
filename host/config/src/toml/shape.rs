//! What the value of an option looks like, as the reader asks for it.

/// Shape of a value. The later ones say more than those before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Anything: the reader only reports that it has no meaning.
    Anything,
    /// Text, which may be empty.
    AnyText,
    /// Text that is not empty.
    Text,
    /// Whole number of at least so much.
    Whole { least: u8 },
    /// Number from 0 to 1.
    Ratio,
    /// `true` or `false`.
    Truth,
    /// Number with a unit of time.
    Duration,
    /// Number with a unit of bytes.
    Size,
    /// List of texts.
    Texts,
    /// Text, or a list of them.
    OneOrMore,
    /// One of these words.
    Word(Vec<String>),
    /// List of these words.
    Words(Vec<String>),
    /// Tables in a list.
    Tables,
    /// Table with the options of this kind of section; of any, where the kind has none.
    Section(&'static str),
    /// Tables of this kind, by name.
    Named(&'static str),
}

/// Words that a choice knows.
pub(super) fn words<T>(choices: &[(&str, T)]) -> Vec<String> {
    let words = choices.iter().map(|(word, _)| (*word).to_owned());
    words.collect()
}
