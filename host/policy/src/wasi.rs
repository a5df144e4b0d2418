//! WASI with nothing behind it, for guests whose toolchain cannot leave it out.
//!
//! There is no implementation of WASI in the gateway to be let into. What a
//! component imports of it is read off the component, and each function gives
//! the emptiest answer that its type has: no arguments, no environment, no
//! directory, no network, the end of every input, an error where there is one.
//! As the types are the component's own, every WASI 0.2 fits.
//!
//! A few functions would hurt whoever calls them in good faith, and do more:
//!
//! | function | answer |
//! | --- | --- |
//! | writing to an output | lines of the guest's log, within its bounds: what a guest says before it crashes is there |
//! | waiting for anything | it is there: nobody sleeps, and no call outlives its time by sleeping |
//! | clocks | what `sluice:policy/clock` says, which every policy may ask |
//! | randomness | the host's, `MOST_RANDOM` bytes at once: it tells nothing, and maps are seeded with it |
//! | exit | a trap |
//!
//! The policy's limits hold here as everywhere: what is handed over is hostcall
//! fuel, handles are counted, and no answer is larger than a few KiB.

use wasmtime::StoreContextMut;
use wasmtime::component::types::{ComponentItem, Type};
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType, Val};

use super::bindings::sluice::policy::clock::Host as _;
use super::state::State;

mod emptiest;

/// Packages that are offered. `wasi:http` is none of them: no toolchain needs
/// it to start.
const PACKAGES: [&str; 6] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];
/// Random bytes of one call. What seeds a generator takes 2500.
const MOST_RANDOM: usize = 4096;
/// Bytes that an output takes at once: what WASI guarantees to a caller that
/// does not ask.
const ROOM: u64 = 4096;

/// Stands for whatever a guest is handed. There is nothing behind it.
enum Nothing {}

/// Whether an import is one that this can stand in for.
#[must_use]
pub(crate) fn is_offered(import: &str) -> bool {
    PACKAGES.iter().any(|package| import.starts_with(package))
        && import
            .split_once('@')
            .is_some_and(|(_, version)| version.starts_with("0.2."))
}

/// Gives a component what it imports of WASI.
///
/// # Errors
/// Where it imports what is no part of WASI under one of its names.
pub fn stub(linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    for (import, item) in component.component_type().imports(&engine) {
        if !is_offered(import) {
            continue;
        }
        let ComponentItem::ComponentInstance(interface) = item.ty else {
            return Err(wasmtime::Error::msg(format!("{import} is no interface")));
        };
        let mut instance = linker.instance(import)?;
        for (name, item) in interface.exports(&engine) {
            match item.ty {
                ComponentItem::Resource(_) => {
                    let nothing = ResourceType::host::<Nothing>();
                    instance.resource(name, nothing, |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) => function(&mut instance, import, name)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn function(
    instance: &mut LinkerInstance<'_, State>,
    import: &str,
    name: &str,
) -> wasmtime::Result<()> {
    let answer = StubAnswer::of(import, name);
    instance.func_new(name, move |mut store, function, given, results| {
        for value in given {
            release(&mut store, value)?;
        }
        if let (StubAnswer::Written, [_, Val::List(bytes)]) = (answer, given) {
            let bytes = bytes.iter().filter_map(|byte| match byte {
                Val::U8(byte) => Some(*byte),
                _ => None,
            });
            store.data_mut().prints(bytes);
        }
        if answer == StubAnswer::Trap {
            return Err(wasmtime::Error::msg("the guest wants to exit"));
        }
        for (result, ty) in results.iter_mut().zip(function.results()) {
            *result = answer.give(&mut store, given, &ty)?;
        }
        Ok(())
    })
}

/// What a function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StubAnswer {
    /// As little as its type allows; an error where it has one.
    Emptiest,
    /// It is written.
    Written,
    /// So much can be written.
    Room,
    /// What is waited for is there.
    Ready,
    /// All that is waited for is there.
    AllReady,
    /// The time of day.
    Time,
    /// The time since the call began.
    Elapsed,
    /// Random bits.
    Random,
    /// None.
    Trap,
}

impl StubAnswer {
    fn of(import: &str, name: &str) -> Self {
        let interface = import.split_once('@').map_or(import, |(name, _)| name);
        match (interface, name) {
            ("wasi:cli/exit", _) => Self::Trap,
            ("wasi:clocks/wall-clock", "now") => Self::Time,
            ("wasi:clocks/monotonic-clock", "now") => Self::Elapsed,
            ("wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed", _) => {
                Self::Random
            }
            ("wasi:io/poll", "poll") => Self::AllReady,
            ("wasi:io/poll", "[method]pollable.ready") => Self::Ready,
            ("wasi:io/streams", "[method]output-stream.check-write") => Self::Room,
            (
                "wasi:io/streams",
                "[method]output-stream.write"
                | "[method]output-stream.write-zeroes"
                | "[method]output-stream.flush"
                | "[method]output-stream.blocking-flush"
                | "[method]output-stream.blocking-write-and-flush"
                | "[method]output-stream.blocking-write-zeroes-and-flush",
            ) => Self::Written,
            _ => Self::Emptiest,
        }
    }

    /// The runtime checks that it is of the type that the guest gave the
    /// function; one that is not WASI's traps.
    fn give(
        self,
        store: &mut StoreContextMut<'_, State>,
        given: &[Val],
        ty: &Type,
    ) -> wasmtime::Result<Val> {
        Ok(match self {
            Self::Emptiest | Self::Trap => emptiest::value(store, ty)?,
            Self::Written => Val::Result(Ok(None)),
            Self::Room => Val::Result(Ok(Some(Box::new(Val::U64(ROOM))))),
            Self::Ready => Val::Bool(true),
            Self::AllReady => Val::List((0..).map(Val::U32).take(listed(given)).collect()),
            Self::Time => {
                let now = store.data_mut().now_ms()?;
                let nanoseconds = u32::try_from(now % 1000 * 1_000_000).unwrap_or(0);
                Val::Record(vec![
                    ("seconds".to_owned(), Val::U64(now / 1000)),
                    ("nanoseconds".to_owned(), Val::U32(nanoseconds)),
                ])
            }
            Self::Elapsed => Val::U64(store.data_mut().monotonic_ns()?),
            Self::Random => random(given, ty)?,
        })
    }
}

/// How many values a list has that a function was given.
fn listed(given: &[Val]) -> usize {
    match given {
        [Val::List(values)] => values.len(),
        _ => 0,
    }
}

fn random(given: &[Val], ty: &Type) -> wasmtime::Result<Val> {
    let word = || Val::U64(rand::random());
    match (ty, given) {
        (Type::List(_), [Val::U64(length)]) => {
            let length = usize::try_from(*length)
                .ok()
                .filter(|length| *length <= MOST_RANDOM)
                .ok_or_else(|| {
                    let message =
                        format!("the guest wants more than {MOST_RANDOM} random bytes at once");
                    wasmtime::Error::msg(message)
                })?;
            let bytes = std::iter::repeat_with(|| Val::U8(rand::random()));
            Ok(Val::List(bytes.take(length).collect()))
        }
        (Type::Tuple(_), _) => Ok(Val::Tuple(vec![word(), word()])),
        _ => Ok(word()),
    }
}

/// Gives back the handles in a value that the guest has handed over: those that
/// were lent at once, those that were given for good.
fn release(store: &mut StoreContextMut<'_, State>, value: &Val) -> wasmtime::Result<()> {
    match value {
        Val::Resource(handle) => handle.try_into_resource::<Nothing>(store).map(drop),
        Val::List(values) | Val::Tuple(values) | Val::FixedLengthList(values) => {
            values.iter().try_for_each(|value| release(store, value))
        }
        Val::Record(fields) => fields
            .iter()
            .try_for_each(|(_, value)| release(store, value)),
        Val::Variant(_, Some(value))
        | Val::Option(Some(value))
        | Val::Result(Ok(Some(value)) | Err(Some(value))) => release(store, value),
        _ => Ok(()),
    }
}
