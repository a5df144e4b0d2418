//! Format of the messages of a chain: their headers.
//!
//! | header | in | meaning |
//! | --- | --- | --- |
//! | `Sluice-Epoch` | all | number of the writer, counted from 1 |
//! | `Sluice-From` | all | number of bytes of the chain before this message |
//! | `Sluice-Writer` | all | which writer it is: unique for each epoch |
//! | `Sluice-Fence` | the first message of an epoch | always `1` |
//! | `Sluice-About` | the first message of an epoch | what the chain is, as JSON in ASCII |
//! | `Sluice-Fin` | the last message | `complete` or `cut` |
//!
//! Only messages without `Sluice-Fence` and `Sluice-Fin` have a payload: bytes of the chain.

use async_nats::HeaderMap;
use bytes::Bytes;

/// Number of the writer.
const EPOCH: &str = "Sluice-Epoch";
/// Number of bytes before the message.
const FROM: &str = "Sluice-From";
/// Name of the writer.
const WRITER: &str = "Sluice-Writer";
/// Marks the first message of an epoch.
const FENCE: &str = "Sluice-Fence";
/// What the chain is.
const ABOUT: &str = "Sluice-About";
/// Marks the last message of a chain.
const FIN: &str = "Sluice-Fin";

/// Message of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Number of the writer.
    pub epoch: u64,
    /// Number of bytes before it.
    pub from: u64,
    /// Name of the writer.
    pub writer: String,
    /// What it holds.
    pub content: Content,
}

/// What a message of a chain holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Bytes of the chain.
    Bytes(Bytes),
    /// A new writer begins. Holds what the chain is.
    Fence(String),
    /// The chain ends.
    Fin(Fin),
}

/// How a chain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fin {
    /// Its client completed it.
    Complete,
    /// It ended in another way.
    Cut,
}

impl Fin {
    /// Value of the header.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Cut => "cut",
        }
    }
}

impl Record {
    /// Number of bytes of the chain that it holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Fence(_) | Content::Fin(_) => 0,
        }
    }

    /// Whether it holds no bytes of the chain.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of bytes of the chain up to its end.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.from.saturating_add(self.len())
    }

    /// Headers of the message.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(EPOCH, self.epoch.to_string());
        headers.insert(FROM, self.from.to_string());
        headers.insert(WRITER, self.writer.as_str());
        match &self.content {
            Content::Bytes(_) => {}
            Content::Fence(about) => {
                headers.insert(FENCE, "1");
                headers.insert(ABOUT, about.as_str());
            }
            Content::Fin(fin) => headers.insert(FIN, fin.word()),
        }
        headers
    }

    /// Payload of the message.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        match &self.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Fence(_) | Content::Fin(_) => Bytes::new(),
        }
    }

    /// Reads a message. `None` if it is none of a chain.
    #[must_use]
    pub fn read(headers: &HeaderMap, payload: Bytes) -> Option<Self> {
        let text = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let number = |name: &str| text(name)?.parse().ok();
        let content = match (text(FENCE), text(FIN).as_deref()) {
            (Some(_), None) => Content::Fence(text(ABOUT).unwrap_or_default()),
            (None, Some("complete")) => Content::Fin(Fin::Complete),
            (None, Some("cut")) => Content::Fin(Fin::Cut),
            (None, None) => Content::Bytes(payload),
            (_, Some(_)) => return None,
        };
        Some(Self {
            epoch: number(EPOCH)?,
            from: number(FROM)?,
            writer: text(WRITER)?,
            content,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_another_message_is_none() {
        for content in [
            Content::Bytes(Bytes::from_static(b"audio")),
            Content::Fence(r#"{"session_id":"s"}"#.to_owned()),
            Content::Fin(Fin::Complete),
            Content::Fin(Fin::Cut),
        ] {
            let record = Record {
                epoch: 2,
                from: 7,
                writer: "w".to_owned(),
                content,
            };
            let read = Record::read(&record.headers(), record.payload());
            assert_eq!(read, Some(record));
        }
        assert_eq!(Record::read(&HeaderMap::new(), Bytes::new()), None);
    }
}
