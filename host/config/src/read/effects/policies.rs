//! Options of policies.

use crate::read::Reader;
use crate::settings::Config;
use base::diagnostics::Place;
use policy::engine::MAX_CALLS;
use policy::settings::Quarantine;
use policy::settings::{Component, Grant, Policy, PolicyLimits};

impl Reader<'_> {
    pub(in crate::read) fn check_quarantine(&mut self, place: &Place, quarantine: &Quarantine) {
        if quarantine.lasts.is_zero() && quarantine.after != 10 {
            let message = "`quarantine_after` has no effect: with `quarantine = \"0s\"` no policy \
                           is left alone";
            self.warning(place, message, "leave one of the two out")
                .label("no effect");
        }
    }

    /// Of a policy that a route names.
    pub(super) fn check_policy(&mut self, name: &str, policy: &Policy, config: &Config) {
        let title = format!("[policies.{name}]");
        let (limits, default) = (&policy.limits, PolicyLimits::default());
        if limits.max_counters != default.max_counters && !policy.grants.contains(&Grant::Counters)
        {
            let why = "the policy is not granted `counters`";
            let help = "leave it out, or grant them to it";
            self.ineffective(&title, "max_counters", why, help);
        }
        if limits.max_log_lines == 0 && limits.max_log_bytes != default.max_log_bytes {
            let why = "`max_log_lines = 0` lets it write none";
            self.ineffective(&title, "max_log_bytes", why, "leave one of the two out");
        }
        if limits.max_calls > MAX_CALLS {
            let why = format!("all policies together have {MAX_CALLS} calls under way at the most");
            let help = format!("write at most {MAX_CALLS}");
            self.ineffective(&title, "max_calls", &why, &help);
        }
        if let Component::Builtin(_) = &policy.component {
            let differ = [
                (
                    "compile_memory",
                    limits.compile.memory != default.compile.memory,
                ),
                ("compile_time", limits.compile.time != default.compile.time),
            ];
            let why = "it limits no built-in policy, which takes what it takes";
            for (key, _) in differ.iter().filter(|(_, differs)| *differs) {
                self.ineffective(&title, key, why, "leave it out");
            }
        }
        let speaks_as = policy.speaks_as(name);
        let mut routes = config.routes.values();
        if policy.grants.contains(&Grant::Payload)
            && !routes.any(|route| route.on_frames.iter().any(|named| named == speaks_as))
        {
            let message = format!(
                "the grant `payload` of policy `{name}` has no effect: no route names it in `on_frames`"
            );
            let help = "leave `payload` out of its `grants`, or name it in `on_frames`";
            self.warning(&policy.grants_place, message, help)
                .label("no effect");
        }
    }
}
