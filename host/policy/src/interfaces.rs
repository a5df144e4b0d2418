//! The interfaces of the contract, and what must be granted for them.

use wasmtime::component::Linker;

use super::bindings::sluice::policy as wit;
use super::state::State;
use crate::settings::Grant;

/// An interface of the contract that a policy may import.
pub struct Interface {
    /// Its name without package and version.
    pub name: &'static str,
    /// What the operator must grant first.
    pub grant: Option<Grant>,
    add: fn(&mut Linker<State>) -> wasmtime::Result<()>,
}

/// An interface by the module of its bindings, which has the same name.
macro_rules! interface {
    ($name:ident, $grant:expr) => {
        Interface {
            name: stringify!($name),
            grant: $grant,
            add: |linker| wit::$name::add_to_linker::<_, Own>(linker, own),
        }
    };
}

/// All of them.
pub(crate) const INTERFACES: [Interface; 16] = [
    // `types` has no functions; importing it costs nothing and grants nothing.
    interface!(types, None),
    interface!(connection, None),
    interface!(config, None),
    interface!(log, None),
    interface!(clock, None),
    interface!(jwt, Some(Grant::Jwt)),
    interface!(sessions, Some(Grant::Sessions)),
    interface!(counters, Some(Grant::Counters)),
    interface!(frames, None),
    interface!(payload, Some(Grant::Payload)),
    interface!(endings, None),
    interface!(references, None),
    interface!(lists, Some(Grant::Lists)),
    interface!(destinations, Some(Grant::Destinations)),
    interface!(notice, Some(Grant::Notice)),
    interface!(metrics, Some(Grant::Metrics)),
];

type Own = wasmtime::component::HasSelf<State>;

fn own(state: &mut State) -> &mut State {
    state
}

/// A linker that offers what these grants allow, and nothing else.
///
/// # Errors
/// Where the bindings contradict themselves, which no input can bring about.
pub(crate) fn linker(
    engine: &wasmtime::Engine,
    grants: &[Grant],
) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    for interface in &INTERFACES {
        if interface.grant.is_none_or(|grant| grants.contains(&grant)) {
            (interface.add)(&mut linker)?;
        }
    }
    Ok(linker)
}
