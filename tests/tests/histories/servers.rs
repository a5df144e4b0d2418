//! The three servers, which all histories share, and what happens to them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_tests::eventually;
use sluice_tests::nats::Nats;

use crate::SPACE;
use crate::said::{Nanos, now};
use crate::schedule::{Messages, Outage};

/// Time in which gateways are connected again, after an outage is over.
const AFTER: Nanos = 6_000_000_000;

/// Servers.
pub struct Servers([Nats; 3]);

/// When something happened to the servers during a batch.
#[derive(Debug, Default)]
pub struct Outages(Mutex<Vec<(Nanos, Nanos)>>);

impl Outages {
    fn begin(&self) {
        self.lock().push((now(), Nanos::MAX));
    }

    fn end(&self) {
        if let Some((_, end)) = self.lock().last_mut() {
            *end = now() + AFTER;
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<(Nanos, Nanos)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Nanos, Nanos)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Servers {
    pub fn start() -> Self {
        Self(Nats::start_three())
    }

    pub fn addresses(&self) -> [std::net::SocketAddr; 3] {
        self.0.each_ref().map(Nats::address)
    }

    pub fn urls(&self) -> Vec<String> {
        self.0.iter().map(Nats::url).collect()
    }

    /// Lets something happen to the servers. Returns once it is over.
    pub fn suffer(&mut self, outage: Outage, lasts: Duration, outages: &Outages) {
        let messages = match outage {
            Outage::Nothing => return,
            Outage::Killed(messages) | Outage::StandsStill(messages) | Outage::CutOff(messages) => {
                messages
            }
        };
        let space = match messages {
            Messages::Claims => "SLUICE_CLAIMS",
            Messages::Chains => SPACE,
        };
        let leader = eventually("a server leads", || {
            self.0.iter().position(|server| server.leads(space))
        });
        outages.begin();
        match outage {
            Outage::Killed(_) => {
                self.0[leader].kill();
                std::thread::sleep(lasts);
                self.0[leader].start_again();
            }
            Outage::StandsStill(_) => {
                let still = self.0[leader].stand_still();
                std::thread::sleep(lasts);
                drop(still);
            }
            Outage::CutOff(_) => {
                let others = self.0.iter().enumerate();
                let others = others.filter(|(server, _)| *server != leader);
                let still: Vec<_> = others.map(|(_, server)| server.stand_still()).collect();
                std::thread::sleep(lasts);
                drop(still);
            }
            Outage::Nothing => {}
        }
        outages.end();
    }
}
