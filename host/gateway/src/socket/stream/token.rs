//! The client's token while it streams: notice that it expires, and another one in its place.

use std::task::{Context, Poll};

use tokio::time::Instant;

use super::relay::Relay;
use crate::socket::close_message::CloseMessage;
use crate::socket::message::{ClientToken, HostMessage};
use base::{metrics, text};

/// Code of a refusal that is the gateway's own.
const AUTH_FAILED: &str = "auth_failed";
/// Maximum length of a sentence in the log, in bytes.
const MAX_SENTENCE: usize = 512;

impl Relay<'_> {
    /// Takes a token that the client has sent.
    pub(super) fn renew(&mut self, token: &ClientToken) {
        if let Err(message) = self.renewals.take(token) {
            self.not_renewed(AUTH_FAILED, message, false);
        }
    }

    /// Answers the client, once the policies have decided.
    pub(super) fn poll_renewal(&mut self, cx: &mut Context<'_>) {
        let Poll::Ready((answer, records)) = self.renewals.poll(cx) else {
            return;
        };
        self.log.renewal_decided(records);
        match answer {
            Ok(()) => {
                let ends = self.renewals.ends;
                let left = ends.map(|ends| ends.saturating_duration_since(Instant::now()));
                tracing::info!(expires_in = ?left, "token renewed");
                metrics::renewed("renewed");
                self.answer(&HostMessage::renewed(left));
            }
            Err(cause) => {
                let told = CloseMessage::of(&cause);
                let (code, retryable) = told.error_code().unwrap_or((AUTH_FAILED, false));
                self.not_renewed(code, told.sentence(), retryable);
            }
        }
    }

    /// Tells the client that its token expires soon.
    pub(super) fn give_notice(&mut self, now: Instant) {
        self.renewals.notice_at = None;
        if let Some(ends) = self.renewals.ends {
            let left = ends.saturating_duration_since(now);
            self.answer(&HostMessage::token_expiring(left));
        }
    }

    fn not_renewed(&mut self, code: &str, message: &str, retryable: bool) {
        metrics::renewed("refused");
        let told = text::clean(message, MAX_SENTENCE);
        tracing::info!(code, told, "a token was not renewed");
        self.answer(&HostMessage::renewal_refused(code, message, retryable));
    }
}
