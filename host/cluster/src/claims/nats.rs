//! Records and messages by NATS.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::{Request, Subscriber};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::records::{Found, Heard, Records, Written};
use crate::connection::{Away, Cluster};
use crate::publish;
use crate::space::{Kind, Space};

/// Maximum size of all records.
const MAX_BYTES: u64 = 256 << 20;
/// Time after which a record is removed that nobody has written again.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Cluster {
    /// Stream of `JetStream` with the claims and the leases. It is apart from the other records, so
    /// that a gateway can renew its lease while those have no room.
    fn claims_space(&self) -> Space {
        let prefix = &self.settings().prefix;
        Space {
            kind: Kind::Records,
            name: format!("{prefix}_CLAIMS").to_ascii_uppercase(),
            // No upstream has a name with this character.
            subjects: format!("{prefix}.%claims.>"),
            max_bytes: MAX_BYTES,
            max_age: MAX_AGE,
        }
    }

    fn claims_subject(&self, name: &str) -> String {
        format!("{}.%claims.{name}", self.settings().prefix)
    }

    fn gateway_subject(&self, gateway: &str) -> String {
        format!("{}.%gateway.{gateway}", self.settings().prefix)
    }

    /// Messages of other gateways to the one with this id.
    pub(super) async fn messages(&self, gateway: &str) -> Result<Subscriber, Away> {
        self.connected().await?;
        let client = self.context().await?.client();
        let subscribed = client.subscribe(self.gateway_subject(gateway)).await;
        subscribed.map_err(|error| Away::Failed(error.to_string()))
    }

    /// Answers a message of another gateway.
    pub(super) async fn answer(&self, to: async_nats::Subject) {
        let Ok(context) = self.context().await else {
            return;
        };
        let client = context.client();
        let answering = client.publish(to, "done".into());
        // Who hears nothing asks again.
        drop(tokio::time::timeout(self.settings().timeout, answering).await);
    }
}

impl Records for Cluster {
    fn read(&self, name: &str) -> BoxFuture<'_, Result<Option<Found>, Away>> {
        let subject = self.claims_subject(name);
        async move {
            let context = self.context().await?;
            let space = self.claims_space().name;
            let reading = async {
                let stream = context.get_stream_no_info(&space).await;
                let stream = stream.map_err(|error| error.to_string())?;
                match stream.get_last_raw_message_by_subject(&subject).await {
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
        .boxed()
    }

    fn write(
        &self,
        name: &str,
        after: u64,
        content: Vec<u8>,
        life: Option<Duration>,
    ) -> BoxFuture<'_, Result<Written, Away>> {
        let subject = self.claims_subject(name);
        async move {
            let space = self.claims_space();
            self.ensure(&space).await?;
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
        .boxed()
    }

    fn ask(&self, gateway: &str, message: Vec<u8>, limit: Duration) -> BoxFuture<'_, Heard> {
        let subject = self.gateway_subject(gateway);
        async move {
            let Ok(context) = self.context().await else {
                return Heard::Nothing;
            };
            let request = Request::new().payload(message.into()).timeout(Some(limit));
            match context.client().send_request(subject, request).await {
                Ok(_) => Heard::Done,
                Err(error) if error.kind() == RequestErrorKind::NoResponders => Heard::Nobody,
                Err(_) => Heard::Nothing,
            }
        }
        .boxed()
    }
}
