//! Records that are read and replaced by compare-and-set, in a stream of `JetStream`.

use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;

use crate::connection::{Away, Cluster};
use crate::publish;
use crate::space::Space;

/// Record, as a server knows it. It may come from one that is cut off: only a write that succeeds
/// proves that it was the latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its sequence number.
    pub(crate) sequence: u64,
    /// Its content; empty if it was removed.
    pub(crate) content: Vec<u8>,
}

/// Result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is stored, with this sequence number.
    At(u64),
    /// It is not, because the record is another one than was expected.
    Lost,
}

impl Cluster {
    /// Reads a record; `None` if there is none.
    pub(crate) async fn read_record(
        &self,
        space: &str,
        subject: &str,
    ) -> Result<Option<Found>, Away> {
        let context = self.context().await?;
        let reading = async {
            let stream = context.get_stream_no_info(space).await;
            let stream = stream.map_err(|error| error.to_string())?;
            match stream.get_last_raw_message_by_subject(subject).await {
                Ok(message) => Ok(Some(Found {
                    sequence: message.sequence,
                    content: message.payload.to_vec(),
                })),
                Err(error) => match error.kind() {
                    LastRawMessageErrorKind::NoMessageFound => Ok(None),
                    _ => Err(error.to_string()),
                },
            }
        };
        self.within(reading).await
    }

    /// Writes a record in place of the one with the sequence number `after`, which is 0 if there is
    /// none. The record is removed after `life`, if that is limited.
    pub(crate) async fn write_record(
        &self,
        space: &Space,
        subject: String,
        after: u64,
        content: Vec<u8>,
        life: Option<Duration>,
    ) -> Result<Written, Away> {
        self.ensure(space).await?;
        let context = self.context().await?;
        let message = PublishMessage::build()
            .payload(content.into())
            .expected_stream(&space.name)
            .expected_last_subject_sequence(after);
        let message = match life {
            Some(life) => message.ttl(life),
            None => message,
        };
        let writing = async {
            let sent = context.send_publish(subject, message).await;
            let written = match sent {
                Ok(sent) => sent.await,
                Err(error) => Err(error),
            };
            match written {
                Ok(ack) => Ok(Some(Written::At(ack.sequence))),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                    Ok(Some(Written::Lost))
                }
                // A server that answers is there: the connection is of use.
                Err(error) if publish::is_busy(&error) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        };
        let written = self.within(writing).await;
        match &written {
            Ok(Some(_)) => self.has_succeeded(),
            Ok(None) => {}
            Err(_) => self.doubts(&space.name),
        }
        let busy = || Away::Failed("another write of the record is under way".to_owned());
        written?.ok_or_else(busy)
    }
}
