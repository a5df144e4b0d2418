//! One attempt to write the next message of a chain.

use std::error::Error as _;

use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use base::metrics;

use crate::connection::{Away, Cluster};
use crate::place::Place;
use crate::record::Record;

/// Result of an attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// It is stored, with this sequence number.
    Stored(u64),
    /// Another message came before it: somebody else's, or an earlier attempt to write it.
    Lost,
    /// Another message of the subject is being written.
    Busy,
    /// It can never be stored.
    Refused(String),
    /// There is no room for it now.
    Full(String),
    /// It is stored, or not, or will be.
    Unknown(Away),
}

impl Cluster {
    /// Writes a message behind the one with the sequence number `last`.
    pub(crate) async fn attempt(&self, place: &Place, last: u64, record: &Record) -> Attempt {
        let attempt = self.publish(place, last, record).await;
        metrics::cluster_write(match &attempt {
            Attempt::Stored(_) => {
                self.has_succeeded();
                self.takes(&place.space);
                "stored"
            }
            Attempt::Full(why) => {
                self.refuses(&place.space, why);
                "refused"
            }
            Attempt::Lost => {
                self.has_succeeded();
                "lost"
            }
            Attempt::Busy => "busy",
            Attempt::Refused(_) => "refused",
            Attempt::Unknown(_) => "unknown",
        });
        attempt
    }

    async fn publish(&self, place: &Place, last: u64, record: &Record) -> Attempt {
        let context = match self.context().await {
            Ok(context) => context,
            Err(away) => return Attempt::Unknown(away),
        };
        let message = PublishMessage::build()
            .headers(record.headers())
            .payload(record.payload())
            .expected_stream(&place.space)
            .expected_last_subject_sequence(last);
        let publishing = async {
            let sent = context.send_publish(place.subject.clone(), message).await;
            let acknowledged = match sent {
                Ok(sent) => sent.await,
                Err(error) => Err(error),
            };
            // An answer that refuses it is one as well.
            match acknowledged {
                Ok(ack) => Ok(Attempt::Stored(ack.sequence)),
                Err(error) => of(&error).ok_or_else(|| why(&error)),
            }
        };
        match self.within(publishing).await {
            Ok(attempt) => attempt,
            Err(away) => {
                // It may have been deleted.
                self.doubts(&place.space);
                Attempt::Unknown(away)
            }
        }
    }
}

/// What an error says for sure; `None` if the fate of the message is unknown.
fn of(error: &PublishError) -> Option<Attempt> {
    let code = code(error);
    match error.kind() {
        PublishErrorKind::WrongLastSequence => Some(Attempt::Lost),
        _ if is_busy(error) => Some(Attempt::Busy),
        PublishErrorKind::MaxPayloadExceeded => Some(Attempt::Refused(why(error))),
        _ if code.is_some_and(is_final) => Some(Attempt::Refused(why(error))),
        _ if code.is_some_and(is_full) => Some(Attempt::Full(why(error))),
        // A server that answers is there: the connection is of use.
        _ => code.map(|_| Attempt::Unknown(Away::Failed(why(error)))),
    }
}

/// Whether another message of the subject is being written.
pub(crate) fn is_busy(error: &PublishError) -> bool {
    code(error) == Some(ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT)
}

/// Errors that a repetition meets again.
fn is_final(code: ErrorCode) -> bool {
    [
        ErrorCode::STREAM_NOT_MATCH,
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
        ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM,
    ]
    .contains(&code)
}

/// Errors of servers without room.
fn is_full(code: ErrorCode) -> bool {
    [
        ErrorCode::STREAM_STORE_FAILED,
        ErrorCode::INSUFFICIENT_RESOURCES,
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ]
    .contains(&code)
}

/// Error code of the server, if it answered.
fn code(error: &PublishError) -> Option<ErrorCode> {
    let answer = error.source()?.downcast_ref::<jetstream::Error>()?;
    Some(answer.error_code())
}

/// Error with its cause, which `Display` may leave out.
fn why(error: &PublishError) -> String {
    match error.source() {
        Some(cause) => format!("{}: {cause}", error.kind()),
        None => error.kind().to_string(),
    }
}
