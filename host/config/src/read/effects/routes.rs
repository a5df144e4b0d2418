//! Options of routes.

use std::time::Duration;

use super::any_is_granted;
use crate::read::Reader;
use crate::settings::{Config, Route};
use base::limits::{Limits, Metering, TokenExpiry};
use policy::settings::Grant;
use session::handshake::HandshakeMode;
use session::rate_limit::KeyPart;
use upstream::settings::Upstream;
use upstream::websocket::Promise;

impl Reader<'_> {
    pub(super) fn check_route(&mut self, name: &str, route: &Route, config: &Config) {
        let title = format!("[routes.{name}]");
        if route.handshake == HandshakeMode::None {
            self.check_without_handshake(&title, &route.limits);
        } else {
            self.check_resume(&title, route, config);
        }
        self.check_metering(&title, route, config);
        self.check_deadlines(&title, &route.limits);
        let mut policies = route.policies();
        let verifies = |policy: &str| policies.any(|asked| asked == policy);
        if route.limits.token_expiry != TokenExpiry::Close
            && !any_is_granted(&config.policies, verifies, Grant::Jwt)
        {
            let why = "no policy of the route verifies tokens";
            let help = "leave it out, or name a policy that is granted `jwt`";
            self.ineffective(&title, "token_expiry", why, help);
        }
        self.check_patience(name, route, config);
    }

    fn check_without_handshake(&mut self, title: &str, limits: &Limits) {
        let default = Limits::default();
        let why = "the route has no handshake";
        let help = "leave it out, or write `handshake = \"ingest.v1\"`";
        let differ = [
            (
                "handshake_timeout",
                limits.handshake_timeout != default.handshake_timeout,
            ),
            ("max_ahead", limits.max_ahead.is_some()),
            ("resume_grace", waits_longer(limits)),
        ];
        for (key, _) in differ.iter().filter(|(_, differs)| *differs) {
            self.ineffective(title, key, why, help);
        }
    }

    /// Warns of options of resuming on a route whose streams give no acks or do not wait.
    fn check_resume(&mut self, title: &str, route: &Route, config: &Config) {
        if !waits_longer(&route.limits) {
            return;
        }
        let gives_receipts = match config.upstreams.get(&route.upstream) {
            Some(Upstream::Wav { .. } | Upstream::JetStream(_)) | None => true,
            Some(Upstream::WebSocket(backend)) => backend.receipts != Promise::None,
            Some(Upstream::Echo | Upstream::Discard) => false,
        };
        if !gives_receipts {
            let why = format!(
                "the upstream `{}` gives no receipts, without which no client can resume",
                route.upstream
            );
            let help = "leave it out, or write `receipts` in a `websocket` upstream";
            self.ineffective(title, "resume_grace", &why, help);
        } else if config.server.max_parked == 0 {
            let why = "`max_parked` lets no stream wait for its client";
            let help = "raise `max_parked` in [server], or write `resume_grace = \"0s\"`";
            self.ineffective(title, "resume_grace", why, help);
        }
    }

    fn check_metering(&mut self, title: &str, route: &Route, config: &Config) {
        let usual = Metering::default();
        let metering = &route.metering;
        let payload = ("frames_payload", metering.payload != usual.payload);
        let window = ("frames_window", metering.window != usual.window);
        let kept = ("frames_kept", metering.frames != usual.frames);
        let sees = |policy: &str| route.on_frames.iter().any(|named| named == policy);
        let (differ, why, help) = if route.on_frames.is_empty() {
            let why = "the route has no `on_frames` policy";
            let help = "leave it out, or name a policy in `on_frames`";
            (vec![window, kept, payload], why, help)
        } else if any_is_granted(&config.policies, sees, Grant::Payload) {
            return;
        } else {
            let why = "no policy in `on_frames` is granted `payload`";
            let help = "leave it out, or grant `payload` to one that is to see what clients send";
            (vec![payload], why, help)
        };
        for (key, _) in differ.iter().filter(|(_, differs)| *differs) {
            self.ineffective(title, key, why, help);
        }
    }

    fn check_deadlines(&mut self, title: &str, limits: &Limits) {
        if limits.ping_interval >= limits.idle_timeout {
            let mut keys = ["ping_interval", "idle_timeout"].into_iter();
            if let Some(place) = keys.find_map(|key| self.toml.written(title, key)) {
                let message = "a silent client is disconnected before the first ping: \
                               `ping_interval` is not under `idle_timeout`";
                let help = "ping at least twice within `idle_timeout`";
                self.warning(&place, message, help);
            }
        }
        let usual = Limits::default().idle_timeout;
        if limits.idle_timeout != usual
            && limits
                .max_duration
                .is_some_and(|longest| longest <= limits.idle_timeout)
        {
            let why = "`max_duration` ends every stream before";
            let help = "leave it out, or write a longer `max_duration`";
            self.ineffective(title, "idle_timeout", why, help);
        }
    }

    /// Warns of options of a rate limit that does not exist.
    pub(in crate::read) fn check_rate(&mut self, title: &str, per: Duration, key: &[KeyPart]) {
        let why = "without `rate_attempts` there is no limit";
        let help = "leave it out, or write `rate_attempts` too";
        if per != Duration::from_mins(1) {
            self.ineffective(title, "rate_per", why, help);
        }
        if key != [KeyPart::Remote] {
            self.ineffective(title, "rate_key", why, help);
        }
    }

    /// Warns of a policy with a longer time limit than that of the route for all of them, because
    /// its own never applies.
    fn check_patience(&mut self, name: &str, route: &Route, config: &Config) {
        let admission = route.limits.admission_timeout;
        for policy in route.admission() {
            let Some(settings) = config.policies.get(policy) else {
                continue;
            };
            let limits = &settings.limits;
            for (key, limit) in [
                ("timeout", limits.timeout),
                ("queue_timeout", limits.queue_timeout),
            ] {
                if limit > admission {
                    let message = format!(
                        "`{key}` of policy `{policy}` has no effect in [routes.{name}], whose \
                         `admission_timeout` is over before"
                    );
                    let help = "write a shorter one, or a longer `admission_timeout`";
                    self.warning(&settings.place, message, help);
                }
            }
        }
    }
}

/// Whether streams wait for their clients, and longer than by default.
fn waits_longer(limits: &Limits) -> bool {
    limits.resume_grace.is_some() && limits.resume_grace != Limits::default().resume_grace
}
