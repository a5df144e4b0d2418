//! Messages between the gateway and a backend, beside the stream itself.

use std::task::Poll;

use anyhow::anyhow;
use futures_util::future::poll_fn;

use super::{BackendLink, Dialect, FINALIZE, NORMAL, PAUSE, Phase, lost};
use crate::link::{Downward, Link, Lost};
use crate::websocket::reply::{self, Replies};
use wire::frame::{Message, PeerClose};

impl BackendLink {
    /// Tells a backend that came back where the following audio belongs: at `from`. Of it the
    /// backend may have `overlap` bytes already, and it may have missed `gap` bytes before it.
    pub(in super::super) fn goes_on(&mut self, from: u64, overlap: u64, gap: u64, paused: bool) {
        let told = format!(
            r#"{{"type":"replay","from_bytes":{from},"overlap_bytes":{overlap},"gap_bytes":{gap}}}"#
        );
        self.socket.writer.text(told.as_bytes());
        if paused {
            self.socket.writer.text(PAUSE);
        }
    }

    /// Converts a message of the backend; `None` if it was for the gateway.
    pub(super) fn hear(&mut self, message: Message) -> Result<Option<Downward>, Lost> {
        Ok(match message {
            Message::Text(text) => {
                if self.phase == Phase::Completing && reply::is_finalized(&text) {
                    self.phase = Phase::Complete;
                    return Ok(None);
                }
                if self.receipts.are_confirmed()
                    && let Some(bytes) = reply::confirmed(&text)
                {
                    self.receipts.confirmed(bytes, self.taken);
                    return Ok(None);
                }
                Some(Downward::Text(text))
            }
            Message::Binary(payload) => Some(Downward::Binary(payload)),
            // The socket answers pings.
            Message::Ping(_) => None,
            Message::Pong(payload) => {
                if let Some(marks) = &mut self.marks {
                    marks.answered(&payload);
                }
                None
            }
            Message::Close(close) => {
                let close = close.unwrap_or_else(|| PeerClose {
                    code: NORMAL,
                    reason: String::new(),
                });
                let was = std::mem::replace(&mut self.phase, Phase::Closed);
                if was == Phase::Completing && close.code == NORMAL {
                    return self.ended_well().map(|()| None);
                }
                Some(Downward::Close(close))
            }
        })
    }

    /// Checks a normal close of a backend that was asked to complete the stream. If the backend
    /// confirms audio, it must have confirmed all of it.
    fn ended_well(&self) -> Result<(), Lost> {
        let has_all = self.receipts.are_confirmed() && self.receipts.kept() == self.taken;
        if self.dialect == Dialect::Ingest(Replies::None) || has_all {
            return Ok(());
        }
        Err(lost(anyhow!(
            "it closed with {NORMAL} without confirming that it has everything"
        )))
    }

    /// Asks the backend to complete the stream.
    pub(super) fn ask_to_complete(&mut self) {
        self.phase = Phase::Completing;
        self.socket.writer.text(FINALIZE);
        if self.dialect == Dialect::Ingest(Replies::None) {
            self.socket.close(NORMAL, "finalize");
        }
    }

    /// Completes a stream whose client is gone. Further messages of the backend are discarded.
    pub(super) async fn complete(&mut self) -> Result<(), Lost> {
        poll_fn(|cx| {
            loop {
                match self.poll_event(cx)? {
                    Poll::Pending => return self.poll_complete(cx),
                    Poll::Ready(
                        Downward::Text(_)
                        | Downward::Binary(_)
                        | Downward::Kept(_)
                        | Downward::Upstream(_)
                        | Downward::TakenOver,
                    ) => {}
                    Poll::Ready(Downward::Close(close)) => {
                        return Poll::Ready(Err(lost(anyhow!(
                            "it closed with {} \"{}\" before the stream was complete",
                            close.code,
                            close.reason
                        ))));
                    }
                }
            }
        })
        .await
    }
}
