//! Durations, sizes and counts in a section.

use std::time::Duration;

use toml_span::value::ValueInner;

use super::section::Section;
use super::shape::Shape;
use base::units::{self, UnitError};

/// Whether zero is allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zero {
    Allowed,
    Refused,
}

/// Kind of text with a unit.
struct Quantity<T> {
    wanted: &'static str,
    /// Two units for examples, a small one and a large one.
    units: [&'static str; 2],
    parse: fn(&str) -> Result<T, UnitError>,
    shape: Shape,
}

const DURATION: Quantity<Duration> = Quantity {
    wanted: "a duration",
    units: ["ms", "s"],
    parse: units::duration,
    shape: Shape::Duration,
};

const AGE: Quantity<Duration> = Quantity {
    wanted: "a duration",
    units: ["h", "d"],
    parse: units::age,
    shape: Shape::Duration,
};

const SIZE: Quantity<u64> = Quantity {
    wanted: "a size",
    units: ["KiB", "MiB"],
    parse: units::size,
    shape: Shape::Size,
};

impl Section<'_> {
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        zero: Zero,
    ) -> Duration {
        self.quantity(key, default, zero, &DURATION)
    }

    /// Reads a maximum age. Zero, the default, means no limit.
    pub(crate) fn age(&mut self, key: &'static str) -> Option<Duration> {
        let age = self.quantity(key, Duration::ZERO, Zero::Allowed, &AGE);
        (!age.is_zero()).then_some(age)
    }

    pub(crate) fn size(&mut self, key: &'static str, default: u64) -> u64 {
        self.quantity(key, default, Zero::Refused, &SIZE)
    }

    /// Reads a size that may be zero.
    pub(crate) fn size_or_none(&mut self, key: &'static str, default: u64) -> u64 {
        self.quantity(key, default, Zero::Allowed, &SIZE)
    }

    /// Reads a size of something in memory.
    pub(crate) fn memory(&mut self, key: &'static str, default: usize) -> usize {
        let bytes = self.size(key, default as u64);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Reads a whole number.
    pub(crate) fn count(&mut self, key: &'static str, default: usize, zero: Zero) -> usize {
        let least = u8::from(zero == Zero::Refused);
        let Some((_, mut value)) = self.take(key, Shape::Whole { least }) else {
            return default;
        };
        let Some(count) = self.document.number(key, &mut value) else {
            return default;
        };
        if count.value == 0 && zero == Zero::Refused {
            self.document.out_of_range(&count.place, key, 0);
            return default;
        }
        count.value
    }

    /// Reads a number from 0 to 1.
    pub(crate) fn ratio(&mut self, key: &'static str, default: f64) -> f64 {
        let Some((_, mut value)) = self.take(key, Shape::Ratio) else {
            return default;
        };
        let place = self.document.place(value.span);
        let help = "write a number from 0 to 1 without quotes, such as 0.01";
        let ratio = match value.take() {
            #[allow(clippy::cast_precision_loss, reason = "it is only shown")]
            ValueInner::Integer(number) => number as f64,
            ValueInner::Float(number) => number,
            other => {
                self.document
                    .wrong_type(&place, key, "a number", &other, help);
                return default;
            }
        };
        if (0.0..=1.0).contains(&ratio) {
            return ratio;
        }
        let message = format!("`{key}` cannot be {ratio}");
        self.document
            .error(&place, message, help)
            .label("out of range");
        default
    }

    fn quantity<T: Default + PartialEq>(
        &mut self,
        key: &'static str,
        default: T,
        zero: Zero,
        quantity: &Quantity<T>,
    ) -> T {
        let Quantity {
            wanted,
            units: [small, large],
            parse,
            shape,
        } = quantity;
        let Some((_, mut value)) = self.take(key, shape.clone()) else {
            return default;
        };
        let place = self.document.place(value.span);
        let text = match value.take() {
            ValueInner::String(text) => text.into_owned(),
            ValueInner::Integer(number) => number.to_string(),
            ValueInner::Float(number) => number.to_string(),
            other => {
                let help = format!("write a number with a unit, in quotes: \"50{small}\"");
                self.document.wrong_type(&place, key, wanted, &other, &help);
                return default;
            }
        };
        match parse(&text) {
            Ok(quantity) if zero == Zero::Refused && quantity == T::default() => {
                let help =
                    format!("write {wanted} above zero, or leave `{key}` out for its default");
                self.document
                    .error(&place, format!("`{key}` cannot be zero"), help)
                    .label("zero");
                default
            }
            Ok(quantity) => quantity,
            Err(error) => {
                let help = match error {
                    UnitError::NoUnit => {
                        let number = text.trim();
                        format!("write \"{number}{small}\" or \"{number}{large}\", with the quotes")
                    }
                    UnitError::Unreadable(_) => {
                        format!("write a number and a unit, such as \"50{small}\" or \"5{large}\"")
                    }
                    UnitError::TooMuch(_) => format!("write a smaller one, such as \"50{large}\""),
                };
                let label = match error {
                    UnitError::NoUnit => "a number alone".to_owned(),
                    UnitError::Unreadable(_) => format!("not {wanted}"),
                    UnitError::TooMuch(_) => "too much".to_owned(),
                };
                self.document
                    .error(&place, format!("`{key}` {error}"), help)
                    .label(label);
                default
            }
        }
    }
}
