//! The host's side of what a policy may ask for.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Resource;

use super::amendment::Amendment;
use super::bindings::sluice::policy as wit;
use super::client::Excess;
use super::counters::{Account, Change, CounterError};
use super::state::State;
use super::window::Window;
use super::world::Seen;
use crate::question::{Ending, Question};
use crate::state::Settings;
use session::registry::Session;

mod connection;
mod destinations;
mod effects;
mod jwt;
mod lists;
mod log;
mod references;
mod sessions;
mod streams;

/// Resources that one call may hold: claims of tokens and holders of keys.
const MAX_RESOURCES: usize = 8;

impl State {
    /// The connection of the call. A guest can only ask about one when it was
    /// given a handle, and it is given none while it validates its
    /// configuration.
    fn session(&self) -> wasmtime::Result<&Arc<Session>> {
        self.asked
            .as_ref()
            .map(|(session, _)| session)
            .ok_or_else(|| wasmtime::Error::msg("there is no connection in this call"))
    }

    fn window(&self) -> wasmtime::Result<&Window> {
        match &self.asked {
            Some((_, Question::Frames(window))) => Ok(window),
            _ => Err(wasmtime::Error::msg("there is no window in this call")),
        }
    }

    fn ending(&self) -> wasmtime::Result<&Ending> {
        match &self.asked {
            Some((_, Question::Close(ending))) => Ok(ending),
            _ => Err(wasmtime::Error::msg("there is no ending in this call")),
        }
    }

    /// What a guest can be told is an answer; a key that is too long ends the call.
    fn count(
        &mut self,
        key: &str,
        change: Change,
    ) -> wasmtime::Result<Result<i64, wit::counters::Error>> {
        let Settings { name, limits, .. } = &*self.settings;
        let asked = self.asked.as_ref();
        let account = Account {
            policy: name,
            room: limits.max_counters,
            client: asked.map(|(session, _)| session.facts.remote.ip()),
        };
        match self.world.count(account, key, change) {
            Ok(value) => Ok(Ok(value)),
            Err(CounterError::Full) => Ok(Err(wit::counters::Error::Full)),
            Err(error @ CounterError::TooLarge) => {
                let failure = || wasmtime::Error::new(error);
                Err(self.too_long(key.len(), Excess::CounterBytes, failure))
            }
        }
    }

    /// A text that is shown to the guest.
    fn shown<T: AsRef<str>>(&self, text: T) -> T {
        self.sees(text.as_ref().len());
        self.world.looked_at(Seen::Text(text.as_ref()));
        text
    }

    /// The same, where there is one.
    fn shown_if_there(&self, text: Option<&str>) -> Option<String> {
        text.map(|text| self.shown(text).to_owned())
    }

    /// Tells the world what was changed of what the guest said.
    pub(crate) fn amends(&self, amendments: &[Amendment]) {
        for amendment in amendments {
            self.world.amends(&self.settings.name, amendment);
        }
    }

    /// Hands a resource to the guest.
    fn give<T: Send + 'static>(&mut self, resource: T) -> wasmtime::Result<Resource<T>> {
        if self.resources.iter_mut().count() >= MAX_RESOURCES {
            return Err(wasmtime::Error::msg(format!(
                "the policy holds {MAX_RESOURCES} claims of tokens and holders of keys, and may \
                 hold no more at once: drop each when it is done with (JavaScript: \
                 `claims[Symbol.dispose]()`; Python: `with claims:`)"
            )));
        }
        Ok(self.resources.push(resource)?)
    }
}

impl wit::types::Host for State {}

impl wit::counters::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<i64, wit::counters::Error>> {
        self.count(&key, Change::None)
    }

    fn add(
        &mut self,
        key: String,
        amount: i64,
        life_ms: u32,
    ) -> wasmtime::Result<Result<i64, wit::counters::Error>> {
        let life = Duration::from_millis(life_ms.into());
        self.count(&key, Change::Add { amount, life })
    }

    fn replace(
        &mut self,
        key: String,
        value: i64,
        life_ms: u32,
    ) -> wasmtime::Result<Result<i64, wit::counters::Error>> {
        let life = Duration::from_millis(life_ms.into());
        self.count(&key, Change::Replace { value, life })
    }
}

impl wit::config::Host for State {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        self.world.looked_at(Seen::Option(&key));
        Ok(self.option(&key).cloned())
    }
}

impl wit::clock::Host for State {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(self.world.now_ms())
    }

    fn monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        Ok(self.world.monotonic_ns(self.started))
    }
}
