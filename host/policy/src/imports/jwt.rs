//! Tokens that a policy has verified, and their claims.

use wasmtime::component::Resource;

use crate::bindings::FactsHandle;
use crate::bindings::sluice::policy as wit;
use crate::convert;
use crate::state::State;
use crate::world::Seen;
use base::text;
use keys::{Claims, TokenError};

impl wit::jwt::Host for State {
    fn verify(
        &mut self,
        _: Resource<FactsHandle>,
        key_set: String,
    ) -> wasmtime::Result<Result<Resource<Claims>, wit::jwt::Error>> {
        let Some(verified) = self.world.verify(self.session()?, &key_set) else {
            let named = text::clean(&self.settings.secrets.noted(&key_set), 64);
            return Err(wasmtime::Error::msg(format!(
                "there is no key set \"{named}\": add [key_sets.{named}] to the configuration, or name \
                 one that it has"
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
