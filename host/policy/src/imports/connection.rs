//! What a policy is told of its connection, and the attributes that it leaves there.

use wasmtime::component::Resource;

use crate::bindings::FactsHandle;
use crate::bindings::sluice::policy as wit;
use crate::client::Excess;
use crate::settings::Grant;
use crate::state::{LimitReached, State};
use crate::verdict::Limit;
use session::facts::{AttributeError, Credentials, MAX_ATTRIBUTES};

impl State {
    fn credentials(&self) -> Credentials {
        if self.settings.grants.contains(&Grant::Credentials) {
            Credentials::Shown
        } else {
            Credentials::Withheld
        }
    }
}

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
        let limit = self.settings.limits.max_attribute;
        let too_long = || wasmtime::Error::new(LimitReached(Limit::Attribute(limit)));
        if size > limit {
            return Err(self.too_long(size, Excess::AttributeBytes, too_long));
        }
        let secrets = &self.settings.secrets;
        let (name, value) = (secrets.told(&name, limit), secrets.told(&value, limit));
        let facts = &self.session()?.facts;
        match facts.set_attribute(&self.settings.speaks_as, &name, value.into_owned()) {
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
