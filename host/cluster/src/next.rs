//! Reading of records one by one, in the order in which they were written.

use async_nats::datetime::DateTime;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;

use crate::connection::{Away, Cluster};

impl Cluster {
    /// Reads the first message from this sequence number on whose subject matches; `None` if there is
    /// none. Unlike a watch, this goes on at once after a leader is lost.
    pub(crate) async fn next(
        &self,
        space: &str,
        subjects: &str,
        from: u64,
    ) -> Result<Option<StreamMessage>, Away> {
        let context = self.context().await?;
        let reading = async {
            let stream = context.get_stream_no_info(space).await;
            let stream = stream.map_err(|error| error.to_string())?;
            let message = stream.get_first_raw_message_by_subject(subjects, from);
            match message.await {
                Ok(message) => Ok(Some(message)),
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        };
        self.within(reading).await
    }

    /// Time when a stream of `JetStream` was created, and the sequence number of its last message.
    pub(crate) async fn last(&self, space: &str) -> Result<(DateTime, u64), Away> {
        let context = self.context().await?;
        let reading = async {
            let stream = context.get_stream_no_info(space).await;
            let stream = stream.map_err(|error| error.to_string())?;
            let info = stream.get_info().await.map_err(|error| error.to_string())?;
            Ok((info.created, info.state.last_sequence))
        };
        self.within(reading).await
    }
}
