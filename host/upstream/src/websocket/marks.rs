//! Progress of a backend that confirms nothing.
//!
//! A WebSocket library answers a Ping with its payload, and only after it has read everything that
//! was sent before (RFC 6455, sections 5.5.2 and 5.5.3). So a Ping with a position of the stream as
//! its payload marks that position. When its Pong arrives, all audio before it has reached the
//! backend's process. Only a confirmation could tell whether that process has handled it.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

/// Amount of audio, and time, after which a new mark is sent.
const BYTES: u64 = 64 * 1024;
const TIME: Duration = Duration::from_secs(1);

/// Marks of one connection, by which it is known how far the backend has read. At most one Ping is
/// unanswered.
pub(super) struct Marks {
    reached: u64,
    asked: u64,
    at: Instant,
}

impl Marks {
    /// Marks of a connection that continues at this position.
    pub(super) fn from(place: u64) -> Self {
        Self {
            reached: place,
            asked: place,
            at: Instant::now(),
        }
    }

    /// Position up to which the backend has read.
    pub(super) fn reached(&self) -> u64 {
        self.reached
    }

    /// Payload of the Ping that is due at `place`, if one is.
    pub(super) fn due(&mut self, place: u64) -> Option<[u8; 8]> {
        let is_back = self.reached == self.asked;
        let is_worth_it = place - self.asked >= BYTES || self.at.elapsed() >= TIME;
        if place == self.asked || !is_back || !is_worth_it {
            return None;
        }
        self.asked = place;
        self.at = Instant::now();
        Some(place.to_be_bytes())
    }

    /// Handles a Pong. A Pong that answers no mark is ignored.
    pub(super) fn answered(&mut self, payload: &Bytes) {
        if payload[..] == self.asked.to_be_bytes() {
            self.reached = self.asked;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_place_is_reached_once_its_own_pong_is_back() {
        let mut marks = Marks::from(100);
        assert_eq!(marks.due(100), None, "nothing was sent");
        assert_eq!(marks.due(100 + BYTES - 1), None, "too little");
        let payload = marks.due(100 + BYTES).expect("enough");
        assert_eq!(marks.due(100 + 3 * BYTES), None, "one is under way");
        for other in [&b""[..], b"12345678", &1_u64.to_be_bytes()] {
            marks.answered(&Bytes::copy_from_slice(other));
            assert_eq!(marks.reached(), 100);
        }
        marks.answered(&Bytes::copy_from_slice(&payload));
        assert_eq!(marks.reached(), 100 + BYTES);
        assert_eq!(marks.due(101 + BYTES), None, "too soon");
        tokio::time::advance(TIME).await;
        assert!(marks.due(101 + BYTES).is_some());
    }
}
