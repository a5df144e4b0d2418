//! Upstream that counts and drops messages, for load tests.

use std::task::{Context, Poll};

use futures_util::future::{self, BoxFuture, FutureExt};

use crate::link::{
    Downward, Link, Lost, OpenError, Sealed, StreamEnd, StreamInfo, Upstream, Upward,
};

/// Counts and drops messages.
#[derive(Debug, Default, Clone, Copy)]
pub struct Discard;

impl Upstream for Discard {
    fn open(&self, _: StreamInfo) -> BoxFuture<'_, Result<Box<dyn Link>, OpenError>> {
        let link: Box<dyn Link> = Box::new(DiscardLink::default());
        future::ready(Ok(link)).boxed()
    }
}

#[derive(Default)]
struct DiscardLink {
    messages: u64,
    bytes: u64,
}

impl Link for DiscardLink {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, message: Upward) {
        match message {
            Upward::Binary(bytes) => {
                self.messages += 1;
                self.bytes += bytes.len() as u64;
            }
            Upward::Text(_) => self.messages += 1,
            Upward::Control(_) => {}
        }
    }

    fn poll_event(&mut self, _: &mut Context<'_>) -> Poll<Result<Downward, Lost>> {
        Poll::Pending
    }

    fn seal(self: Box<Self>, _: StreamEnd) -> BoxFuture<'static, Result<Sealed, Lost>> {
        tracing::debug!(messages = self.messages, bytes = self.bytes, "discarded");
        future::ready(Ok(Sealed { bytes: self.bytes })).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::Bytes;

    use super::super::testing::stream_info;
    use super::*;

    #[tokio::test]
    async fn takes_everything_and_counts_only_binary_bytes() {
        let mut link = Discard.open(stream_info("m1")).await.expect("open");
        for _ in 0..1000 {
            poll_fn(|cx| link.poll_ready(cx)).await.expect("ready");
            link.start_send(Upward::Binary(Bytes::from_static(&[7; 640])));
            poll_fn(|cx| link.poll_ready(cx)).await.expect("ready");
            link.start_send(Upward::Text(Bytes::from_static(b"{}")));
        }
        let sealed = link.seal(StreamEnd::Complete).await.expect("seal");
        assert_eq!(sealed, Sealed { bytes: 640_000 });
    }
}
