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
