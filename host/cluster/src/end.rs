//! The last message of a chain, as a server knows it.

use async_nats::jetstream::stream::LastRawMessageErrorKind;

use crate::connection::{Away, Cluster};
use crate::place::Place;
use crate::record::Record;

/// The last message of a chain. It may come from a server that is cut off, and was the leader once:
/// only a write that succeeds proves that it was the end.
#[derive(Debug)]
pub(crate) struct End {
    /// Its sequence number.
    pub(crate) sequence: u64,
    /// The message, if it is one of a chain.
    pub(crate) record: Option<Record>,
}

impl Cluster {
    /// Reads the last message of a chain; `None` if there is none.
    pub(crate) async fn end(&self, place: &Place) -> Result<Option<End>, Away> {
        let context = self.context().await?;
        let reading = async {
            let stream = context.get_stream_no_info(&place.space).await;
            let stream = stream.map_err(|error| error.to_string())?;
            let last = stream.get_last_raw_message_by_subject(&place.subject).await;
            match last {
                Ok(message) => Ok(Some(End {
                    sequence: message.sequence,
                    record: Record::read(&message.headers, message.payload),
                })),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        };
        self.within(reading).await
    }
}
