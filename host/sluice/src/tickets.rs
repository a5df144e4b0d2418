//! Tickets for requests that cannot send a token: the WebSocket of a browser.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand;
use tokio::time::Instant;

/// Maximum number of tickets at once. A new one takes the place of the oldest.
const MOST: usize = 16;
/// Time for which a ticket is good.
const GOOD_FOR: Duration = Duration::from_secs(30);

/// Tickets that were given out. Each is good for one request, and for a short time.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<Vec<(String, Instant)>>);

impl Tickets {
    /// Gives out a ticket, of 128 random bits.
    ///
    /// # Errors
    /// If the machine has no random bits.
    pub(crate) fn give(&self) -> Result<String, Unspecified> {
        let mut random = [0; 16];
        rand::fill(&mut random)?;
        let ticket = format!("{:032x}", u128::from_be_bytes(random));
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() == MOST {
            given.remove(0);
        }
        given.push((ticket.clone(), Instant::now()));
        Ok(ticket)
    }

    /// Takes a ticket back. Whether it was good.
    pub(crate) fn take(&self, ticket: &str) -> bool {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|(_, at)| at.elapsed() < GOOD_FOR);
        let before = given.len();
        given.retain(|(given, _)| given != ticket);
        given.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_and_not_for_long() {
        let tickets = Tickets::default();
        let (one, two) = (tickets.give().unwrap(), tickets.give().unwrap());
        assert_ne!(one, two);
        assert!(!tickets.take("another"));
        assert!(tickets.take(&one));
        assert!(!tickets.take(&one));
        tokio::time::advance(GOOD_FOR).await;
        assert!(!tickets.take(&two));
        for _ in 0..=MOST {
            tickets.give().unwrap();
        }
        assert_eq!(tickets.0.lock().unwrap().len(), MOST);
    }
}
