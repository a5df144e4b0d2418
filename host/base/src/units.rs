//! Durations and sizes, which are strings with a unit: `"50ms"`, `"16MiB"`.

use std::time::Duration;

use bytesize::ByteSize;

/// Maximum duration. It keeps every sum of an instant and a duration far from overflow.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// Maximum age. An age is compared, and never added to an instant.
const OLDEST: Duration = Duration::from_hours(100 * 365 * 24);

/// Reason why a string is no valid quantity. The text follows "`key` …".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A number without a unit.
    #[error("needs a unit")]
    NoUnit,
    /// A string that cannot be parsed.
    #[error("cannot be read as a {0}")]
    Unreadable(&'static str),
    /// A duration above a year, or a size above what the machine can address.
    #[error("is too {0}")]
    TooMuch(&'static str),
}

/// A duration with a unit: `ms`, `s`, `m` or `min`, `h` (and the rest of what
/// `humantime` reads).
///
/// # Errors
/// [`UnitError`] if the unit is missing, the string cannot be parsed, or the duration is longer
/// than a year.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    duration_up_to(LONGEST, text)
}

/// A duration with a unit, of up to a century.
///
/// # Errors
/// As [`duration`].
pub fn age(text: &str) -> Result<Duration, UnitError> {
    duration_up_to(OLDEST, text)
}

fn duration_up_to(longest: Duration, text: &str) -> Result<Duration, UnitError> {
    if is_number(text) {
        return Err(UnitError::NoUnit);
    }
    match humantime::parse_duration(text) {
        Ok(duration) if duration <= longest => Ok(duration),
        Ok(_) | Err(humantime::DurationError::NumberOverflow) => Err(UnitError::TooMuch("long")),
        Err(_) => Err(UnitError::Unreadable("duration")),
    }
}

/// A number of bytes with a unit: `B`, `KiB`, `MiB`, `GiB`, or `KB`, `MB`, `GB` for powers of ten.
/// The `B` is required, because `16M` is ambiguous.
///
/// # Errors
/// [`UnitError`] if the unit is missing or the string cannot be parsed.
pub fn size(text: &str) -> Result<u64, UnitError> {
    if is_number(text) {
        return Err(UnitError::NoUnit);
    }
    match text.parse::<ByteSize>() {
        Ok(ByteSize(u64::MAX)) => Err(UnitError::TooMuch("large")),
        Ok(ByteSize(bytes)) if text.ends_with(['B', 'b']) => Ok(bytes),
        Ok(_) | Err(_) => Err(UnitError::Unreadable("size")),
    }
}

/// A duration as an option has it: `50ms`.
#[must_use]
pub fn shown_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A number of bytes as an option has it, in the largest unit without a fraction: `16MiB`.
#[must_use]
pub fn shown_size(bytes: usize) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units
        .iter()
        .find(|(bits, _)| bytes > 0 && bytes.trailing_zeros() >= *bits);
    match whole {
        Some((bits, unit)) => format!("{}{unit}", bytes >> bits),
        None => format!("{bytes}B"),
    }
}

fn is_number(text: &str) -> bool {
    text.trim().parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        assert_eq!(duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(duration("2m 30s"), Ok(Duration::from_secs(150)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(size("512B"), Ok(512));
        assert_eq!(size("16MiB"), Ok(16 << 20));
        assert_eq!(size("1.5 KiB"), Ok(1536));
        assert_eq!(size("16MB"), Ok(16_000_000));
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for (bytes, shown) in [
            (0, "0B"),
            (1000, "1000B"),
            (1 << 10, "1KiB"),
            (16 << 20, "16MiB"),
            (3 << 30, "3GiB"),
        ] {
            assert_eq!(shown_size(bytes), shown);
            assert_eq!(size(shown), Ok(bytes as u64));
        }
        for (ms, shown) in [(50, "50ms"), (1500, "1s 500ms")] {
            let read = Duration::from_millis(ms);
            assert_eq!(shown_duration(read), shown);
            assert_eq!(duration(shown), Ok(read));
        }
    }

    #[test]
    fn a_number_alone_has_no_unit() {
        for text in ["50", " 50 ", "0", "1.5"] {
            assert_eq!(duration(text), Err(UnitError::NoUnit), "{text:?}");
            assert_eq!(size(text), Err(UnitError::NoUnit), "{text:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in ["", "soon", "5 parsecs", "-5s"] {
            assert_eq!(
                duration(text),
                Err(UnitError::Unreadable("duration")),
                "{text:?}"
            );
        }
        for text in ["", "large", "16M", "16Mi", "-1KiB", "1 parsec"] {
            assert_eq!(size(text), Err(UnitError::Unreadable("size")), "{text:?}");
        }
    }

    #[test]
    fn what_no_clock_or_memory_can_hold_is_refused() {
        for text in ["366days", "99999999999999999999s", "18446744073709551615s"] {
            assert_eq!(duration(text), Err(UnitError::TooMuch("long")), "{text:?}");
        }
        assert_eq!(age("10years").map(|age| age > LONGEST), Ok(true));
        assert_eq!(age("101years"), Err(UnitError::TooMuch("long")));
        assert_eq!(size("999999999EiB"), Err(UnitError::TooMuch("large")));
    }
}
