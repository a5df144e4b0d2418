//! What the gateway changes of what a policy says, so that the policy's author learns of it.

use base::units;

/// Close codes that a policy may use, as messages name them.
const CODES: &str = "4000, 4001, 4002, 4005 and 4100 to 4999";

/// A change to what a policy said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Amendment {
    /// The policy refused with a close code that it may not use.
    #[error("the close code {0} became 4005: a policy may use {CODES}")]
    CloseCode(u16),
    /// The policy evicted with a close code that it may not use.
    #[error(
        "the close code {0} of a notice became 4005: a notice may use {CODES}, and 4003 for \
         whoever is superseded"
    )]
    NoticeCode(u16),
    /// The policy refused without a word for the error frame.
    #[error("a rejection without a `code` became `policy_denied`")]
    NoWord,
    /// A word has characters that it may not have.
    #[error(
        "{what} has characters that it may not have, and became `{word}`: it may have {allowed}"
    )]
    Word {
        /// The word.
        what: &'static str,
        /// What it became.
        word: String,
        /// The characters that it may have.
        allowed: &'static str,
    },
    /// A word is empty, and may not be.
    #[error("{what} was empty, and became `{word}`")]
    Empty {
        /// The word.
        what: &'static str,
        /// What it became.
        word: &'static str,
    },
    /// A notice was left out.
    #[error("a notice was left out: a call may send {0}")]
    NoNotice(usize),
    /// A text is too long.
    #[error("{what} has {bytes} bytes, and was cut to {kept} ({limit})")]
    Cut {
        /// The text.
        what: &'static str,
        /// Its length, in bytes.
        bytes: usize,
        /// The bytes that were kept.
        kept: usize,
        /// What limits it.
        limit: TextLimit,
    },
    /// A line of the log was left out.
    #[error("a line of the log was left out: the call had written all that it may ({0})")]
    NoLine(TextLimit),
}

/// What limits a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextLimit {
    /// The contract.
    #[error("the contract's limit")]
    Contract,
    /// An option of the policy, in bytes.
    #[error("{0} = \"{size}\"", size = units::shown_size(*.1))]
    Bytes(&'static str, usize),
    /// An option of the policy, in lines.
    #[error("{0} = {1}")]
    Lines(&'static str, usize),
}
