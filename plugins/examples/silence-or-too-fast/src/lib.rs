//! Ends a stream that brings no audio for too long, or more of it than there
//! can be.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod rule;

use rule::{Rule, Seen, So};
use sluice_policy::{
    Config, ConfigError, Connection, Decision, Kind, Lifecycle, OnFrames, Window, counters,
};

struct SilenceOrTooFast;

impl OnFrames for SilenceOrTooFast {
    fn decide(connection: &Connection, window: &Window) -> Decision {
        let rule = Rule::from_config(&Config::host())?;
        let session = connection.session_id();
        let (ahead, silent) = (format!("ahead/{session}"), format!("silent/{session}"));
        let seen = Seen {
            bytes: window.bytes(Kind::Binary),
            length_ms: window.length_ms(),
            held_ms: window.held_ms(),
            paused: window.paused(),
        };
        let before = So {
            ahead: counters::get(&ahead)?,
            silent_ms: counters::get(&silent)?,
        };
        let now = rule.judge(&before, &seen)?;
        // They live until the next window, and then some.
        let life = seen.length_ms.saturating_mul(3);
        counters::replace(&ahead, now.ahead, life)?;
        counters::replace(&silent, now.silent_ms, life)?;
        Ok(())
    }
}

impl Lifecycle for SilenceOrTooFast {
    fn validate_config() -> Result<(), ConfigError> {
        Rule::from_config(&Config::host()).map(drop)
    }
}

sluice_policy::export!(SilenceOrTooFast: on_frames, lifecycle);

#[cfg(test)]
mod tests {
    use sluice_policy::OnFrames as _;
    use sluice_policy::testing::{Mock, Sent};

    use super::SilenceOrTooFast;

    fn mock() -> Mock {
        let mock = Mock::new("silence-or-too-fast");
        mock.config("burst", "64000").config("silence", "\"10s\"");
        mock
    }

    /// The word that ends the stream, if anything does.
    fn window(mock: &Mock, sent: &Sent) -> Option<String> {
        let decision = SilenceOrTooFast::decide(&mock.connection(), &sent.window());
        mock.pass(sent.length_ms.into());
        Some(decision.err()?.code().to_owned())
    }

    #[test]
    fn what_is_known_lasts_from_window_to_window() {
        let mock = mock();
        assert_eq!(window(&mock, &Sent::nothing(5_000)), None);
        assert_eq!(window(&mock, &Sent::nothing(4_000)), None);
        assert_eq!(
            window(&mock, &Sent::nothing(1_000)).as_deref(),
            Some("silent")
        );
        // Each stream is silent for itself.
        mock.session_id("another");
        assert_eq!(window(&mock, &Sent::nothing(5_000)), None);
    }

    #[test]
    fn a_stream_may_be_so_far_ahead_and_no_further() {
        let mock = mock();
        assert_eq!(window(&mock, &Sent::audio(1_000, 96_000)), None);
        assert_eq!(window(&mock, &Sent::audio(1_000, 32_000)), None);
        assert_eq!(
            window(&mock, &Sent::audio(1_000, 32_001)).as_deref(),
            Some("too_fast")
        );
    }

    #[test]
    fn nobody_pauses_into_silence() {
        let mock = mock();
        let paused = Sent {
            paused: true,
            ..Sent::nothing(5_000)
        };
        for _ in 0..10 {
            assert_eq!(window(&mock, &paused), None);
        }
    }
}
