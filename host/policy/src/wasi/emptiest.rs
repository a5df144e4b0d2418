//! The emptiest value that a type has.

use wasmtime::StoreContextMut;
use wasmtime::component::types::Type;
use wasmtime::component::{Resource, ResourceAny, Val};

use super::Nothing;
use crate::state::State;

/// Values that an answer is made of. The type is the guest's, and may be larger
/// than any in WASI.
const MOST: usize = 64;
/// How a function that fails likes to say so, the first that its type has.
const REFUSALS: [&str; 3] = ["access-denied", "access", "closed"];

/// A value of this type: as little as there is, and an error rather than a
/// result.
pub fn value(store: &mut StoreContextMut<'_, State>, ty: &Type) -> wasmtime::Result<Val> {
    of(store, ty, &mut { MOST })
}

/// The same, made of so many values at most.
fn of(
    store: &mut StoreContextMut<'_, State>,
    ty: &Type,
    left: &mut usize,
) -> wasmtime::Result<Val> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| wasmtime::Error::msg("the guest gave WASI a type that is too large"))?;
    Ok(match ty {
        Type::Bool => Val::Bool(false),
        Type::S8 => Val::S8(0),
        Type::U8 => Val::U8(0),
        Type::S16 => Val::S16(0),
        Type::U16 => Val::U16(0),
        Type::S32 => Val::S32(0),
        Type::U32 => Val::U32(0),
        Type::S64 => Val::S64(0),
        Type::U64 => Val::U64(0),
        Type::Float32 => Val::Float32(0.0),
        Type::Float64 => Val::Float64(0.0),
        Type::Char => Val::Char('\0'),
        Type::String => Val::String(String::new()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Flags(_) => Val::Flags(Vec::new()),
        Type::Record(record) => {
            let mut fields = Vec::new();
            for field in record.fields() {
                fields.push((field.name.to_owned(), of(store, &field.ty, left)?));
            }
            Val::Record(fields)
        }
        Type::Tuple(tuple) => {
            let mut values = Vec::new();
            for ty in tuple.types() {
                values.push(of(store, &ty, left)?);
            }
            Val::Tuple(values)
        }
        Type::Enum(names) => Val::Enum(refusal(names.names(), |name| name)?.to_owned()),
        Type::Variant(variant) => {
            let case = refusal(variant.cases(), |case| case.name)?;
            let name = case.name.to_owned();
            Val::Variant(name, some(store, case.ty.as_ref(), left)?)
        }
        Type::Result(result) => Val::Result(Err(some(store, result.err().as_ref(), left)?)),
        Type::Own(_) => {
            let nothing = Resource::<Nothing>::new_own(0);
            Val::Resource(ResourceAny::try_from_resource(nothing, store)?)
        }
        _ => {
            return Err(wasmtime::Error::msg(
                "the guest gave WASI a type of its own",
            ));
        }
    })
}

fn some(
    store: &mut StoreContextMut<'_, State>,
    ty: Option<&Type>,
    left: &mut usize,
) -> wasmtime::Result<Option<Box<Val>>> {
    let value = ty.map(|ty| of(store, ty, left)).transpose()?;
    Ok(value.map(Box::new))
}

/// The case that refuses, or the first.
fn refusal<T>(cases: impl Iterator<Item = T>, name: impl Fn(&T) -> &str) -> wasmtime::Result<T> {
    let place = |case: &T| {
        let mut refusals = REFUSALS.iter();
        refusals
            .position(|refusal| *refusal == name(case))
            .unwrap_or(REFUSALS.len())
    };
    // Of several that are equal it is the first.
    cases
        .min_by_key(place)
        .ok_or_else(|| wasmtime::Error::msg("the guest gave WASI a type without a value"))
}
