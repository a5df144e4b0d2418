//! Part of a file that a request asks for (RFC 9110, section 14).

use std::ops::RangeInclusive;

use axum::http::{HeaderMap, header};

/// What of a file is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes.
    Part(RangeInclusive<u64>),
    /// Nothing: the range begins behind the end.
    Nothing,
}

impl Wanted {
    /// What these headers ask for, of a file of so many bytes. A range that cannot be read, and
    /// more than one, may be ignored. One that is for another version of the file is.
    pub(super) fn of(headers: &HeaderMap, bytes: u64) -> Self {
        let mut ranges = headers.get_all(header::RANGE).iter();
        let (Some(range), None) = (ranges.next(), ranges.next()) else {
            return Self::Whole;
        };
        // The gateway gives no validators, so none can fit.
        if headers.contains_key(header::IF_RANGE) {
            return Self::Whole;
        }
        let range = range.to_str().ok().filter(|range| !range.contains(','));
        let Some(parsed) =
            range.and_then(|range| http_range_header::parse_range_header(range).ok())
        else {
            return Self::Whole;
        };
        match parsed.validate(bytes).as_deref() {
            Ok([range]) => Self::Part(range.clone()),
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;
    use axum::http::{HeaderMap, HeaderValue, header};

    #[test]
    fn one_range_within_the_file_is_a_part_and_one_behind_it_is_nothing() {
        let part = |range: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_static(range));
            Wanted::of(&headers, 100)
        };
        for (range, wanted) in [
            ("bytes=0-9", Wanted::Part(0..=9)),
            ("bytes=90-", Wanted::Part(90..=99)),
            ("bytes=90-500", Wanted::Part(90..=99)),
            ("bytes=-10", Wanted::Part(90..=99)),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=nonsense", Wanted::Whole),
            ("lines=0-9", Wanted::Whole),
        ] {
            assert_eq!(part(range), wanted, "{range}");
        }
        assert_eq!(Wanted::of(&HeaderMap::new(), 100), Wanted::Whole);
    }

    #[test]
    fn a_range_of_another_version_or_of_an_empty_file_is_not_sent() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-9"));
        assert_eq!(Wanted::of(&headers, 0), Wanted::Nothing);
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"v1\""));
        assert_eq!(Wanted::of(&headers, 100), Wanted::Whole);
    }
}
