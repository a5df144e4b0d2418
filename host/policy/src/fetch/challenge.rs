//! How a registry asks who the gateway is (RFC 9110, section 11.6.1).

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// A challenge that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// By a token, which `realm` gives out.
    Bearer {
        realm: String,
        service: Option<String>,
    },
    /// By name and password.
    Basic,
}

impl Challenge {
    /// The best of all challenges, in however many lines they come: a list may be split over
    /// several lines of its name (RFC 9110, section 5.3). A line that cannot be read hides no other.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(WWW_AUTHENTICATE).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        let challenges: Vec<_> = lines
            .flat_map(|line| http_auth::parser::ChallengeParser::new(line).map_while(Result::ok))
            .collect();
        let of = |scheme: &'static str| {
            let challenges = challenges.iter();
            challenges.filter(move |challenge| challenge.scheme.eq_ignore_ascii_case(scheme))
        };
        let bearer = of("Bearer").find_map(|bearer| {
            let parameter = |name: &str| {
                let mut parameters = bearer.params.iter();
                let found = parameters.find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.to_unescaped())
            };
            Some(Self::Bearer {
                realm: parameter("realm")?,
                service: parameter("service"),
            })
        });
        bearer.or_else(|| of("Basic").next().map(|_| Self::Basic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&'static str]) -> Option<Challenge> {
        let lines = lines
            .iter()
            .map(|line| (WWW_AUTHENTICATE, line.parse().unwrap()));
        Challenge::of(&lines.collect())
    }

    #[test]
    fn challenges_are_read_from_all_lines_and_lists() {
        let bearer = Some(Challenge::Bearer {
            realm: "https://a/token".to_owned(),
            service: Some("a b".to_owned()),
        });
        let line = "Bearer realm=\"https://a/token\",service=\"a b\"";
        for lines in [
            &[line][..],
            &["Basic realm=\"a\"", line],
            &[line, "Basic realm=\"a\""],
            &["Basic realm=\"a\", bearer REALM=\"https://a/token\", service=\"a b\""],
            &["Negotiate", line],
            &["Bearer", line],
            &["\"", "Digest realm=", line],
        ] {
            assert_eq!(of(lines), bearer, "{lines:?}");
        }
        for lines in [
            &["Basic realm=\"a\""][..],
            &["Negotiate", "basic realm=\"a\"", "Digest ="],
        ] {
            assert_eq!(of(lines), Some(Challenge::Basic), "{lines:?}");
        }
        for lines in [&[][..], &["Negotiate"], &["Bearer"], &[""]] {
            assert_eq!(of(lines), None, "{lines:?}");
        }
    }
}
