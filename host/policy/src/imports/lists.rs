//! Lists and maps of the operator.

use crate::bindings::sluice::policy as wit;
use crate::state::State;
use base::text;

impl wit::lists::Host for State {
    fn contains(
        &mut self,
        name: String,
        entry: String,
    ) -> wasmtime::Result<Result<bool, wit::lists::Error>> {
        let found = self.world.list_contains(&name, &entry);
        found.map(Ok).ok_or_else(|| self.no_list(&name))
    }

    fn get(
        &mut self,
        name: String,
        key: String,
    ) -> wasmtime::Result<Result<Option<String>, wit::lists::Error>> {
        let value = self.world.list_get(&name, &key);
        value.map(Ok).ok_or_else(|| self.no_list(&name))
    }
}

impl State {
    fn no_list(&self, name: &str) -> wasmtime::Error {
        let named = text::clean(&self.settings.secrets.noted(name), 64);
        wasmtime::Error::msg(format!(
            "there is no list \"{named}\": add [lists.{named}] to the configuration, or name one that \
             it has"
        ))
    }
}
