use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use sluice_policy::quoted;

/// A value that a client asks for. What is inside of a list or a table is not kept.
#[derive(Debug, PartialEq)]
pub enum Asked {
    Null,
    Truth(bool),
    Whole(i64),
    /// A fraction, or a whole number that is too large for the other.
    Fraction(f64),
    Text(String),
    List,
    Table,
}

impl Asked {
    /// Compared as fractions, which hold every `u32` exactly, because some clients
    /// write all their numbers that way: 16000.0.
    #[expect(
        clippy::cast_precision_loss,
        reason = "what is too large to be exact is none of these numbers"
    )]
    pub fn is_one_of(&self, numbers: &[u32]) -> bool {
        let asked = match *self {
            Self::Whole(number) => number as f64,
            Self::Fraction(number) => number,
            _ => return false,
        };
        numbers.iter().any(|number| asked == f64::from(*number))
    }
}

/// As far as it fits into a sentence.
impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Truth(truth) => truth.fmt(f),
            Self::Whole(number) => number.fmt(f),
            // The code that prints fractions is large, and no client needs it.
            Self::Fraction(_) => f.write_str("(not a whole number)"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List => f.write_str("[…]"),
            Self::Table => f.write_str("{…}"),
        }
    }
}

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Asked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Asked, E> {
        Ok(Asked::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Asked, E> {
        Ok(Asked::Truth(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Asked, E> {
        Ok(Asked::Whole(value))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "nobody is shown so large a number"
    )]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Asked, E> {
        Ok(i64::try_from(value).map_or(Asked::Fraction(value as f64), Asked::Whole))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Asked, E> {
        Ok(Asked::Fraction(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Asked, E> {
        Ok(Asked::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Asked, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Asked::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Asked, A::Error> {
        while table.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Asked::Table)
    }
}
