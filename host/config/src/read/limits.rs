//! Deadlines and limits in `[routes.NAME]`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Reader;
use crate::toml::{Section, Zero};
use base::limits::{Limits, Metering, TokenExpiry};
use base::permits::Shares;

const TOKEN_EXPIRY: [(&str, TokenExpiry); 2] = [
    ("close", TokenExpiry::Close),
    ("ignore", TokenExpiry::Ignore),
];

/// Range of a window. Times in it are counted in microseconds.
const WINDOWS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
/// Maximum number of messages that a window keeps.
const MOST_FRAMES: usize = 4096;

impl Reader<'_> {
    /// Reads a limit; zero means no limit.
    fn optional(
        &mut self,
        section: &mut Section<'_>,
        key: &'static str,
        default: Option<Duration>,
    ) -> Option<Duration> {
        let limit = section.duration(key, default.unwrap_or_default(), Zero::Allowed);
        (!limit.is_zero()).then_some(limit)
    }

    pub(super) fn limits(&mut self, section: &mut Section<'_>) -> Limits {
        let default = Limits::default();
        let mut duration = |key, default| section.duration(key, default, Zero::Refused);
        let admission_timeout = duration("admission_timeout", default.admission_timeout);
        let handshake_timeout = duration("handshake_timeout", default.handshake_timeout);
        let idle_timeout = duration("idle_timeout", default.idle_timeout);
        let ping_interval = duration("ping_interval", default.ping_interval);
        let message_timeout = duration("message_timeout", default.message_timeout);
        let write_timeout = duration("write_timeout", default.write_timeout);
        let close_timeout = duration("close_timeout", default.close_timeout);
        Limits {
            max_message: section.memory("max_message", default.max_message),
            max_outbound: section.memory("max_outbound", default.max_outbound),
            admission_timeout,
            handshake_timeout,
            idle_timeout,
            ping_interval,
            message_timeout,
            write_timeout,
            settle: section.duration("settle", default.settle, Zero::Allowed),
            close_timeout,
            max_discard: section.size("max_discard", default.max_discard),
            token_expiry: section
                .choice("token_expiry", &TOKEN_EXPIRY)
                .map_or(default.token_expiry, |choice| choice.value),
            token_notice: section.duration("token_notice", default.token_notice, Zero::Allowed),
            max_rate: Some(section.size_or_none("max_rate", default.max_rate.unwrap_or_default()))
                .filter(|rate| *rate > 0),
            max_ahead: self.optional(section, "max_ahead", default.max_ahead),
            resume_grace: self.optional(section, "resume_grace", default.resume_grace),
            max_duration: self.optional(section, "max_duration", default.max_duration),
        }
    }

    /// Reads the limits for one client; zero means no limit.
    pub(super) fn shares(&mut self, section: &mut Section<'_>) -> Shares {
        let mut bound = |key, default| {
            let bound = section.count(key, default, Zero::Allowed);
            (bound > 0).then_some(bound)
        };
        Shares {
            per_address: bound("max_connections_per_address", 0),
            per_user: bound("max_connections_per_user", 0),
            per_tenant: bound("max_connections_per_tenant", 0),
            parked_per_client: bound("max_parked_per_client", 100),
        }
    }

    /// Reads the options of the window that `on_frames` policies see.
    pub(super) fn metering(&mut self, section: &mut Section<'_>) -> Metering {
        let default = Metering::default();
        let place = section.place_of("frames_window");
        let mut window = section.duration("frames_window", default.window, Zero::Refused);
        if !WINDOWS.contains(&window) {
            let message = "`frames_window` must be between 100ms and 1h";
            let help = "each window is a policy call for each stream; several seconds is usual";
            self.error(&place, message, help);
            window = default.window;
        }
        let place = section.place_of("frames_kept");
        let mut frames = section.count("frames_kept", default.frames, Zero::Refused);
        if frames > MOST_FRAMES {
            let message = format!("`frames_kept` is more than {MOST_FRAMES}");
            let help = "each stream keeps so many; messages beyond are still counted";
            self.error(&place, message, help);
            frames = default.frames;
        }
        Metering {
            window,
            frames,
            payload: section.memory("frames_payload", default.payload),
        }
    }
}
