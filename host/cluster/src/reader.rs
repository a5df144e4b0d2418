//! Reader of a chain: exactly its bytes, once and in order.
//!
//! This is the reference for readers in other languages. A reader takes the messages of the subject
//! in the order of their sequence numbers, and checks that each begins where the one before it
//! ended. It never asks a follower, and never takes silence for the end: the end is a message.

use bytes::Bytes;

use crate::connection::{Away, Cluster};
use crate::place::Place;
use crate::record::{Content, Fin, Record};

/// Reader of a chain.
#[derive(Debug)]
pub struct Reader {
    cluster: Cluster,
    place: Place,
    /// Sequence number of the next message, at least.
    next: u64,
    position: Position,
}

/// What a message means to a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The next bytes.
    Bytes(Bytes),
    /// A new writer. Holds what the chain is, as JSON.
    Writer {
        /// Number of the writer, counted from 1.
        epoch: u64,
        /// What the chain is.
        about: String,
    },
    /// The end.
    End {
        /// How the chain ended.
        fin: Fin,
        /// Number of its bytes.
        bytes: u64,
    },
}

/// Reason why a chain cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The servers cannot be asked now.
    #[error(transparent)]
    Away(#[from] Away),
    /// The beginning was removed, because of its age.
    #[error("the first {0} bytes are not there any more")]
    Trimmed(u64),
    /// The message is none of a chain, or does not follow the one before it.
    #[error("message {0} is not the next one of the chain")]
    Broken(u64),
}

/// Position of a reader.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Position {
    bytes: u64,
    epoch: u64,
    writer: String,
}

impl Reader {
    /// Reader of a chain from its beginning.
    #[must_use]
    pub fn new(cluster: Cluster, place: Place) -> Self {
        Self {
            cluster,
            place,
            next: 1,
            position: Position::default(),
        }
    }

    /// Number of bytes that were read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.position.bytes
    }

    /// Next message; `None` if there is none yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn next(&mut self) -> Result<Option<Read>, ReadError> {
        let Place { space, subject } = &self.place;
        let Some(message) = self.cluster.next(space, subject, self.next).await? else {
            return Ok(None);
        };
        let record = Record::read(&message.headers, message.payload);
        let record = record.ok_or(ReadError::Broken(message.sequence))?;
        let read = self.position.take(message.sequence, record)?;
        self.next = message.sequence + 1;
        Ok(Some(read))
    }
}

impl Position {
    fn take(&mut self, sequence: u64, record: Record) -> Result<Read, ReadError> {
        if self.epoch == 0 && !matches!(record.content, Content::Fence(_)) {
            return Err(ReadError::Trimmed(record.from));
        }
        let is_next = match &record.content {
            Content::Fence(_) => record.epoch > self.epoch,
            Content::Bytes(_) | Content::Fin(_) => {
                record.epoch == self.epoch && record.writer == self.writer
            }
        };
        if record.from != self.bytes && self.epoch == 0 {
            return Err(ReadError::Trimmed(record.from));
        }
        if !is_next || record.from != self.bytes {
            return Err(ReadError::Broken(sequence));
        }
        *self = Self {
            bytes: record.end(),
            epoch: record.epoch,
            writer: record.writer,
        };
        Ok(match record.content {
            Content::Bytes(bytes) => Read::Bytes(bytes),
            Content::Fence(about) => Read::Writer {
                epoch: self.epoch,
                about,
            },
            Content::Fin(fin) => Read::End {
                fin,
                bytes: self.bytes,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u64, from: u64, content: Content) -> Record {
        Record {
            epoch,
            from,
            writer: format!("writer-{epoch}"),
            content,
        }
    }

    fn fence(epoch: u64, from: u64) -> Record {
        record(epoch, from, Content::Fence("{}".to_owned()))
    }

    fn bytes(epoch: u64, from: u64, bytes: &'static [u8]) -> Record {
        record(epoch, from, Content::Bytes(Bytes::from_static(bytes)))
    }

    #[test]
    fn a_chain_of_two_writers_is_read_whole() {
        let mut position = Position::default();
        let records = [
            fence(1, 0),
            bytes(1, 0, b"one"),
            fence(3, 3),
            bytes(3, 3, b"two"),
            record(3, 6, Content::Fin(Fin::Complete)),
        ];
        let read: Result<Vec<_>, _> = (1..)
            .zip(records)
            .map(|(sequence, record)| position.take(sequence, record))
            .collect();
        let read = read.unwrap();
        assert_eq!(read[1], Read::Bytes(Bytes::from_static(b"one")));
        assert!(matches!(read[2], Read::Writer { epoch: 3, .. }));
        let end = Read::End {
            fin: Fin::Complete,
            bytes: 6,
        };
        assert_eq!(read[4], end);
    }

    #[test]
    fn whatever_does_not_follow_is_an_error() {
        let mut before = Position::default();
        before.take(1, fence(2, 0)).unwrap();
        before.take(2, bytes(2, 0, b"one")).unwrap();
        for stale in [
            bytes(1, 3, b"stale epoch"),
            bytes(2, 0, b"again"),
            bytes(2, 4, b"hole"),
            fence(2, 3),
            record(2, 2, Content::Fin(Fin::Cut)),
        ] {
            let mut position = before.clone();
            let error = position.take(3, stale).unwrap_err();
            assert!(matches!(error, ReadError::Broken(3)), "{error}");
            assert_eq!(position, before);
        }
        let other = Record {
            writer: "another".to_owned(),
            ..bytes(2, 3, b"x")
        };
        assert!(before.take(3, other).is_err());
    }

    #[test]
    fn a_chain_without_its_beginning_says_how_much_is_gone() {
        for record in [bytes(1, 7, b"rest"), fence(2, 7)] {
            let error = Position::default().take(9, record).unwrap_err();
            assert!(matches!(error, ReadError::Trimmed(7)), "{error}");
        }
    }
}
