//! Records and messages by NATS.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Request, Subscriber};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::records::{Found, Heard, Records, Written};
use crate::connection::{Away, Cluster};
use crate::space::{Kind, Space};

/// Maximum size of all records.
const MAX_BYTES: u64 = 256 << 20;
/// Time after which a record is removed that nobody has written again.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Cluster {
    /// Stream of `JetStream` with the claims and the leases. It is apart from the other records, so
    /// that a gateway can renew its lease while those have no room.
    pub(super) fn claims_space(&self) -> Space {
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

    pub(super) fn claims_subject(&self, name: &str) -> String {
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
            let space = self.claims_space().name;
            self.read_record(&space, &subject).await
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
            self.write_record(&space, subject, after, content, life)
                .await
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
