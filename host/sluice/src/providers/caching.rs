//! How long an answer of an identity provider is fresh (RFC 9111, section 5.2.2.1).

use std::time::Duration;

use reqwest::header::{CACHE_CONTROL, HeaderMap};

/// Range of what a provider may say. Less would be asking all the time, and with more a key that was
/// withdrawn would be used for days.
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(24);

/// `max-age` of an answer.
pub(super) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut directives = lines.flat_map(|line| line.split(',')).map(str::trim);
    directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let seconds = value.trim_matches('"').parse().ok()?;
        name.eq_ignore_ascii_case("max-age")
            .then(|| Duration::from_secs(seconds))
    })
}

/// Time until keys are to be fetched again. `otherwise` is for answers that do not say.
pub(super) fn fresh_for(max_age: Option<Duration>, otherwise: Duration) -> Duration {
    max_age.map_or(otherwise, |age| age.clamp(SHORTEST, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&'static str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().unwrap());
        }
        max_age(&headers).map(|age| age.as_secs())
    }

    #[test]
    fn the_age_is_found_among_other_directives() {
        assert_eq!(of(&["public, max-age=3600, must-revalidate"]), Some(3600));
        assert_eq!(of(&["no-transform", "Max-Age=\"60\""]), Some(60));
        for without in [
            &[][..],
            &["no-store"],
            &["max-age"],
            &["max-age=soon"],
            &["s-maxage=9"],
        ] {
            assert_eq!(of(without), None, "{without:?}");
        }
    }

    #[test]
    fn what_a_provider_says_is_kept_between_a_minute_and_a_day() {
        let fresh = |seconds: u64| {
            let age = Some(Duration::from_secs(seconds));
            fresh_for(age, Duration::from_secs(7)).as_secs()
        };
        assert_eq!((fresh(0), fresh(3600), fresh(u64::MAX)), (60, 3600, 86_400));
        let otherwise = Duration::from_secs(7);
        assert_eq!(fresh_for(None, otherwise), otherwise);
    }
}
