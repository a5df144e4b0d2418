//! The host's side of what a policy may ask for.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Resource;

use super::bindings::sluice::policy as wit;
use super::client::Excess;
use super::convert;
use super::counters::{Account, Change, CounterError};
use super::ending::Ending;
use super::handles::{EndingHandle, FactsHandle, WindowHandle};
use super::state::{LimitReached, State};
use super::window::Window;
use super::world::Seen;
use crate::question::Limit;
use crate::settings::Grant;
use crate::state::Settings;
use base::text;
use keys::{Claims, TokenError};
use session::facts::{AttributeError, Credentials, MAX_ATTRIBUTES};
use session::registry::{ClaimError, Holder, MAX_CLAIMS, Session};

mod references;
mod streams;

/// Bytes of one log line that a guest writes.
const MAX_LOG_LINE: usize = 1024;
/// Resources that one call may hold: claims of tokens and holders of keys.
const MAX_RESOURCES: usize = 8;

impl State {
    /// The connection of the call. A guest can only ask about one when it was
    /// given a handle, and it is given none while it validates its
    /// configuration.
    fn session(&self) -> wasmtime::Result<&Arc<Session>> {
        self.subject
            .session
            .as_ref()
            .ok_or_else(|| wasmtime::Error::msg("there is no connection in this call"))
    }

    fn window(&self) -> wasmtime::Result<&Window> {
        self.subject
            .window
            .as_deref()
            .ok_or_else(|| wasmtime::Error::msg("there is no window in this call"))
    }

    fn ending(&self) -> wasmtime::Result<&Ending> {
        self.subject
            .ending
            .as_deref()
            .ok_or_else(|| wasmtime::Error::msg("there is no ending in this call"))
    }

    /// What a guest can be told is an answer; a key that is too long ends the call.
    fn count(
        &mut self,
        key: &str,
        change: Change,
    ) -> wasmtime::Result<Result<i64, wit::counters::Error>> {
        let Settings { name, limits, .. } = &*self.settings;
        let session = self.subject.session.as_ref();
        let account = Account {
            policy: name,
            room: limits.max_counters,
            client: session.map(|session| session.facts.remote.ip()),
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

    /// Hands a resource to the guest.
    fn give<T: Send + 'static>(&mut self, resource: T) -> wasmtime::Result<Resource<T>> {
        if self.resources.iter_mut().count() >= MAX_RESOURCES {
            return Err(wasmtime::Error::msg("too many resources are held at once"));
        }
        Ok(self.resources.push(resource)?)
    }

    /// A holder is an answer; running out of room ends the call.
    fn held(
        &mut self,
        key: &str,
        result: Result<(), ClaimError>,
    ) -> wasmtime::Result<Result<(), Resource<Holder>>> {
        match result {
            Ok(()) => Ok(Ok(())),
            Err(ClaimError::Held(holder)) => Ok(Err(self.give(holder)?)),
            Err(error @ ClaimError::TooLarge) => {
                let failure = || wasmtime::Error::new(error);
                Err(self.too_long(key.len(), Excess::ClaimBytes, failure))
            }
            Err(error @ ClaimError::TooMany) => {
                let failure = || wasmtime::Error::new(error);
                Err(self.too_many(MAX_CLAIMS, Excess::Claims, failure))
            }
            Err(error @ ClaimError::Ended) => Err(wasmtime::Error::new(error)),
        }
    }

    /// A line for the log, as far as there is room for it. The last error that a guest writes is
    /// what it said of a crash that follows.
    fn says(&mut self, level: wit::log::Level, message: &str) {
        let line = if self.log_bytes > 0 && self.log_lines > 0 {
            self.log_lines -= 1;
            let line = text::clip(message, MAX_LOG_LINE.min(self.log_bytes));
            self.log_bytes -= line.len();
            let line = text::clean(&line, MAX_LOG_LINE);
            self.world.log(&self.settings.name, level, &line);
            line
        } else if level == wit::log::Level::Error {
            text::clean(message, MAX_LOG_LINE)
        } else {
            return;
        };
        if level == wit::log::Level::Error {
            self.last_error = Some(line);
        }
    }

    /// Bytes that a guest with a stubbed WASI prints. Each line is one of the log.
    pub fn prints(&mut self, bytes: impl Iterator<Item = u8>) {
        for byte in bytes {
            if byte == b'\n' {
                self.ends_line();
            } else if self.printed.len() < MAX_LOG_LINE {
                self.printed.push(byte);
            }
        }
    }

    /// Logs what was printed since the last line.
    pub(crate) fn ends_line(&mut self) {
        let printed = std::mem::take(&mut self.printed);
        let line = String::from_utf8_lossy(&printed);
        if line.trim().is_empty() {
            return;
        }
        // The last line is where languages say what the matter was.
        self.last_printed = Some(text::clean(&line, MAX_LOG_LINE));
        self.says(wit::log::Level::Info, &line);
    }

    fn credentials(&self) -> Credentials {
        if self.settings.grants.contains(&Grant::Credentials) {
            Credentials::Shown
        } else {
            Credentials::Withheld
        }
    }
}

impl wit::types::Host for State {}

impl wit::connection::Host for State {}

impl wit::connection::HostFacts for State {
    fn session_id(&mut self, _: Resource<FactsHandle>) -> wasmtime::Result<String> {
        Ok(self.session()?.facts.session_id.to_string())
    }

    fn route(&mut self, _: Resource<FactsHandle>) -> wasmtime::Result<String> {
        Ok(self.session()?.facts.route.to_string())
    }

    fn path(&mut self, _: Resource<FactsHandle>) -> wasmtime::Result<String> {
        Ok(self.shown(self.session()?.facts.path().into_owned()))
    }

    fn param(
        &mut self,
        _: Resource<FactsHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        Ok(self.shown_if_there(self.session()?.facts.param(&name)))
    }

    fn query(
        &mut self,
        _: Resource<FactsHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        let facts = &self.session()?.facts;
        Ok(self.shown_if_there(facts.query(&name, self.credentials()).as_deref()))
    }

    fn header(
        &mut self,
        _: Resource<FactsHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        let facts = &self.session()?.facts;
        Ok(self.shown_if_there(facts.header(&name, self.credentials()).as_deref()))
    }

    fn remote_addr(&mut self, _: Resource<FactsHandle>) -> wasmtime::Result<String> {
        Ok(self.session()?.facts.remote.to_string())
    }

    fn attribute(
        &mut self,
        _: Resource<FactsHandle>,
        name: String,
    ) -> wasmtime::Result<Option<String>> {
        let attribute = self.session()?.facts.attribute(&name);
        Ok(self.shown_if_there(attribute.as_deref()))
    }

    fn set_attribute(
        &mut self,
        _: Resource<FactsHandle>,
        name: String,
        value: String,
    ) -> wasmtime::Result<()> {
        let size = name.len() + value.len();
        let too_long = || wasmtime::Error::new(LimitReached(Limit::Attribute));
        if size > self.settings.limits.max_attribute {
            return Err(self.too_long(size, Excess::AttributeBytes, too_long));
        }
        let facts = &self.session()?.facts;
        match facts.set_attribute(&self.settings.speaks_as, &name, value) {
            Ok(()) => Ok(()),
            Err(AttributeError::TooLarge) => {
                Err(self.too_long(size, Excess::AttributeBytes, too_long))
            }
            Err(error @ AttributeError::TooMany) => {
                let failure = || wasmtime::Error::new(error);
                Err(self.too_many(MAX_ATTRIBUTES, Excess::Attributes, failure))
            }
        }
    }

    fn drop(&mut self, _: Resource<FactsHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl wit::jwt::Host for State {
    fn verify(
        &mut self,
        _: Resource<FactsHandle>,
        key_set: String,
    ) -> wasmtime::Result<Result<Resource<Claims>, wit::jwt::Error>> {
        let Some(verified) = self.world.verify(self.session()?, &key_set) else {
            let named = text::clean(&key_set, 64);
            return Err(wasmtime::Error::msg(format!(
                "there is no key set \"{named}\""
            )));
        };
        match verified {
            Ok(claims) => {
                let until = claims.accepted_until();
                self.accepted_until = Some(self.accepted_until.map_or(until, |at| at.min(until)));
                Ok(Ok(self.give(claims)?))
            }
            Err(error) => {
                self.keys_unavailable |= error == TokenError::Unavailable;
                Ok(Err(convert::token_error(error)))
            }
        }
    }
}

impl wit::jwt::HostClaims for State {
    fn get(
        &mut self,
        claims: Resource<Claims>,
        pointer: String,
    ) -> wasmtime::Result<Option<String>> {
        let claims = self.resources.get(&claims)?;
        self.world.looked_at(Seen::Claim(claims, &pointer));
        let claim = claims.get(&pointer).map(std::borrow::Cow::into_owned);
        self.sees(claim.as_ref().map_or(0, String::len));
        Ok(claim)
    }

    fn json(&mut self, claims: Resource<Claims>) -> wasmtime::Result<String> {
        Ok(self.shown(self.resources.get(&claims)?.json()))
    }

    fn expires_at(&mut self, claims: Resource<Claims>) -> wasmtime::Result<Option<u64>> {
        let claims = self.resources.get(&claims)?;
        self.world.looked_at(Seen::Claim(claims, "/exp"));
        Ok(claims.expires_at())
    }

    fn drop(&mut self, claims: Resource<Claims>) -> wasmtime::Result<()> {
        self.resources.delete(claims)?;
        Ok(())
    }
}

impl wit::sessions::Host for State {
    fn claim(
        &mut self,
        _: Resource<FactsHandle>,
        key: String,
    ) -> wasmtime::Result<Result<(), Resource<Holder>>> {
        let claimed = self.world.claim(self.session()?, &key);
        self.held(&key, claimed)
    }

    fn evict(
        &mut self,
        _: Resource<FactsHandle>,
        key: String,
        holder: String,
        notice: wit::types::Rejection,
    ) -> wasmtime::Result<Result<(), Resource<Holder>>> {
        let settings = &self.settings;
        let notice = convert::notice(&notice, &settings.name, settings.limits.max_message);
        let evicted = self.world.evict(self.session()?, &key, &holder, notice);
        self.held(&key, evicted)
    }
}

impl wit::sessions::HostHolder for State {
    fn session_id(&mut self, holder: Resource<Holder>) -> wasmtime::Result<String> {
        Ok(self.shown(self.resources.get(&holder)?.session_id.clone()))
    }

    fn since_ms(&mut self, holder: Resource<Holder>) -> wasmtime::Result<u64> {
        Ok(self.resources.get(&holder)?.since_ms)
    }

    fn attributes(&mut self, holder: Resource<Holder>) -> wasmtime::Result<Vec<(String, String)>> {
        let attributes = &self.resources.get(&holder)?.attributes;
        for (name, value) in attributes {
            self.shown(name);
            self.shown(value);
        }
        Ok(attributes.clone())
    }

    fn drop(&mut self, holder: Resource<Holder>) -> wasmtime::Result<()> {
        self.resources.delete(holder)?;
        Ok(())
    }
}

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
        Ok(self.settings.config.get(&key).cloned())
    }
}

impl wit::log::Host for State {
    fn write(&mut self, level: wit::log::Level, message: String) -> wasmtime::Result<()> {
        self.says(level, &message);
        Ok(())
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
