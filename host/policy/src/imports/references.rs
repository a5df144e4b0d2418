//! What a policy declares while it validates its configuration.

use crate::bindings::sluice::policy as wit;
use crate::references::{Ineffective, Reference, ReferenceError, ReferenceKind, References};
use crate::state::State;

impl State {
    /// Takes a declaration. Only a call that validates the configuration has room for one.
    fn declare(
        &mut self,
        add: impl FnOnce(&mut References) -> Result<(), ReferenceError>,
    ) -> wasmtime::Result<()> {
        match &mut self.references {
            Some(references) => add(references).map_err(wasmtime::Error::new),
            None => Ok(()),
        }
    }

    fn refer(
        &mut self,
        kind: ReferenceKind,
        mut pointer: String,
        mut name: String,
    ) -> wasmtime::Result<()> {
        self.settings.secrets.hide_in(&mut pointer);
        self.settings.secrets.hide_in(&mut name);
        self.declare(|references| {
            references.refer(&Reference {
                kind,
                pointer,
                name,
                tenant: None,
            })
        })
    }
}

impl wit::references::Host for State {
    fn key_set(&mut self, pointer: String, name: String) -> wasmtime::Result<()> {
        self.refer(ReferenceKind::KeySet, pointer, name)
    }

    fn param(&mut self, pointer: String, name: String) -> wasmtime::Result<()> {
        self.refer(ReferenceKind::Param, pointer, name)
    }

    fn attribute(&mut self, pointer: String, name: String) -> wasmtime::Result<()> {
        self.refer(ReferenceKind::Attribute, pointer, name)
    }

    fn list(&mut self, pointer: String, name: String) -> wasmtime::Result<()> {
        self.refer(ReferenceKind::List, pointer, name)
    }

    fn destination(&mut self, pointer: String, name: String) -> wasmtime::Result<()> {
        self.refer(ReferenceKind::Destination, pointer, name)
    }

    fn leaves(&mut self, name: String) -> wasmtime::Result<()> {
        let name = self.settings.secrets.noted(&name);
        self.declare(|references| references.leave(&name))
    }

    fn no_effect(&mut self, pointer: String, why: String, help: String) -> wasmtime::Result<()> {
        let [pointer, why, help] = [pointer, why, help].map(|mut text| {
            self.settings.secrets.hide_in(&mut text);
            text
        });
        let ineffective = Ineffective { pointer, why, help };
        self.declare(|references| references.have_no_effect(&ineffective))
    }
}
