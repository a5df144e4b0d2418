use sluice_policy::{Config, ConfigError, Rejection};

const RATE: &str =
    "write the most bytes of audio that a second has, such as 32000 for 16 kHz mono in 16 bits";
const BURST: &str =
    "write how many bytes a client may be ahead, such as 1600000 for what it had queued";
const SILENCE: &str = "write for how long a client may send no audio, such as \"60s\"";

/// How much audio there must be, and how much there may be.
#[derive(Debug)]
pub struct Rule {
    bytes_per_second: i64,
    burst: i64,
    silence_ms: i64,
}

/// What is known of a stream from window to window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct So {
    /// Bytes that came before their time.
    pub ahead: i64,
    /// For how long nothing came.
    pub silent_ms: i64,
}

/// What a window shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub bytes: u64,
    pub length_ms: u32,
    pub held_ms: u32,
    pub paused: bool,
}

impl Rule {
    pub fn from_config(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            bytes_per_second: positive(config, "bytes_per_second", 32_000, RATE)?,
            burst: positive(config, "burst", 1_600_000, BURST)?,
            silence_ms: config.milliseconds("silence", 60_000, SILENCE)?.into(),
        })
    }

    /// Where the stream stands after a window, or why it ends.
    pub fn judge(&self, so: &So, seen: &Seen) -> Result<So, Rejection> {
        let bytes = i64::try_from(seen.bytes).unwrap_or(i64::MAX);
        let due = i64::from(seen.length_ms) * self.bytes_per_second / 1000;
        let ahead = so.ahead.saturating_add(bytes).saturating_sub(due).max(0);
        if ahead > self.burst {
            return Err(
                Rejection::new("too_fast", "audio comes faster than it is spoken").close_code(4109),
            );
        }
        // What the gateway did not read, the client may well have sent.
        let listened = seen.length_ms.saturating_sub(seen.held_ms);
        let silent_ms = if bytes > 0 || seen.paused {
            0
        } else {
            so.silent_ms.saturating_add(listened.into())
        };
        if silent_ms >= self.silence_ms {
            return Err(Rejection::new("silent", "no audio came for too long")
                .close_code(4108)
                .retryable());
        }
        Ok(So { ahead, silent_ms })
    }
}

fn positive(config: &Config, key: &str, default: i64, advice: &str) -> Result<i64, ConfigError> {
    let number = config.get(key, advice)?.unwrap_or(default);
    // Below this no product of such numbers is out of range.
    if (1..=1_000_000_000).contains(&number) {
        Ok(number)
    } else {
        Err(ConfigError::new(key, &number.to_string(), advice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Rule {
        Rule::from_config(&Config::fixed(&[
            ("bytes_per_second", "32000"),
            ("burst", "64000"),
            ("silence", "\"10s\""),
        ]))
        .unwrap()
    }

    fn seconds(count: u32, bytes: u64) -> Seen {
        Seen {
            bytes,
            length_ms: count * 1000,
            ..Seen::default()
        }
    }

    fn word(result: Result<So, Rejection>) -> String {
        result.unwrap_err().code().to_owned()
    }

    #[test]
    fn audio_at_its_own_pace_goes_on_for_ever() {
        let mut so = So::default();
        for _ in 0..1000 {
            so = rule().judge(&so, &seconds(5, 160_000)).unwrap();
        }
        assert_eq!(so, So::default());
    }

    #[test]
    fn a_burst_is_let_through_and_more_than_that_is_too_fast() {
        let so = rule().judge(&So::default(), &seconds(1, 96_000)).unwrap();
        assert_eq!(so.ahead, 64_000);
        assert_eq!(word(rule().judge(&so, &seconds(1, 32_001))), "too_fast");
        // Who waits has caught up with the clock.
        let so = rule().judge(&so, &seconds(2, 1)).unwrap();
        assert_eq!(so.ahead, 1);
    }

    #[test]
    fn silence_adds_up_over_windows_until_it_is_too_long() {
        let so = rule().judge(&So::default(), &seconds(5, 0)).unwrap();
        assert_eq!(word(rule().judge(&so, &seconds(5, 0))), "silent");
        let so = rule().judge(&so, &seconds(5, 1)).unwrap();
        assert_eq!(so.silent_ms, 0);
    }

    #[test]
    fn neither_a_pause_nor_a_gateway_that_does_not_read_is_silence() {
        let paused = Seen {
            paused: true,
            ..seconds(60, 0)
        };
        assert_eq!(rule().judge(&So::default(), &paused), Ok(So::default()));
        let held = Seen {
            held_ms: 59_000,
            ..seconds(60, 0)
        };
        assert_eq!(
            rule().judge(&So::default(), &held).unwrap().silent_ms,
            1_000
        );
    }

    #[test]
    fn no_numbers_overflow() {
        let most = So {
            ahead: i64::MAX,
            silent_ms: i64::MAX,
        };
        let seen = Seen {
            bytes: u64::MAX,
            length_ms: u32::MAX,
            ..Seen::default()
        };
        assert_eq!(word(rule().judge(&most, &seen)), "too_fast");
    }

    #[test]
    fn mistakes_are_named_with_what_to_do() {
        for (key, json) in [
            ("bytes_per_second", "0"),
            ("burst", "-1"),
            ("burst", "2000000000"),
            ("silence", "60"),
        ] {
            let mistake = Rule::from_config(&Config::fixed(&[(key, json)])).unwrap_err();
            assert!(
                mistake
                    .to_string()
                    .starts_with(&format!("`{key}` cannot be")),
                "{mistake}"
            );
        }
    }
}
