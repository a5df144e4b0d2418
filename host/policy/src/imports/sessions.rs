//! Exclusive keys that a policy takes for its connection, and who holds them.

use wasmtime::component::Resource;

use crate::bindings::FactsHandle;
use crate::bindings::sluice::policy as wit;
use crate::client::Excess;
use crate::convert;
use crate::state::State;
use session::registry::{ClaimError, Holder, MAX_CLAIMS};

impl State {
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
        let max_message = self.settings.limits.max_message;
        let (notice, amendments) = convert::notice(&notice, max_message, &self.settings.secrets);
        self.amends(&amendments);
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
