//! Destinations, and the policies that may ask them.

use crate::read::Reader;
use crate::settings::Config;
use base::units;
use policy::settings::{Grant, Policy};

impl Reader<'_> {
    pub(super) fn check_destinations(&mut self, config: &Config) {
        for (name, destination) in &config.destinations {
            let title = format!("[destinations.{name}]");
            let mut policies = config.policies.values();
            if !policies.any(|policy| may_ask(policy, name)) {
                let message = format!("no policy may ask the destination `{name}`");
                let help = format!(
                    "write `grants = [\"destinations\"]` and `destinations = [\"{name}\"]` in the section \
                     of the policy that needs it, or remove the section"
                );
                self.warning(&destination.place, message, help)
                    .label("not used");
            }
            if !destination.service.keeps() {
                let why = "no answer is kept";
                let help = "leave it out, or write `cache`";
                for key in ["cache_entries", "cache_size"] {
                    self.ineffective(&title, key, why, help);
                }
            }
        }
        for (name, policy) in &config.policies {
            let is_granted = policy.grants.contains(&Grant::Destinations);
            if !is_granted && !policy.destinations.is_empty() {
                let title = format!("[policies.{name}]");
                let why = "the policy is not granted `destinations`";
                let help = "leave it out, or grant them to it";
                self.ineffective(&title, "destinations", why, help);
            }
            if is_granted && policy.destinations.is_empty() {
                let message = format!("policy `{name}` may ask no destination");
                let help = "name some: `destinations = [\"entitlements\"]`, or leave the grant out";
                self.warning(&policy.grants_place, message, help)
                    .label("no effect");
            }
            self.check_patience_with_services(name, policy, config);
        }
    }

    /// Warns of a service that may take as long as the whole admission.
    fn check_patience_with_services(&mut self, name: &str, policy: &Policy, config: &Config) {
        for (route_name, route) in &config.routes {
            if !route
                .policies()
                .any(|asked| asked == policy.speaks_as(name))
            {
                continue;
            }
            let limit = route.limits.admission_timeout;
            for destination in &policy.destinations {
                let Some(settings) = config.destinations.get(destination) else {
                    continue;
                };
                let decision = policy.limits.timeout;
                if settings.service.timeout.saturating_add(decision) <= limit {
                    continue;
                }
                let message = format!(
                    "the destination `{destination}` may take {}, and an admission of the route \
                     `{route_name}` {} in all, with {} for the policy `{name}`",
                    units::shown_duration(settings.service.timeout),
                    units::shown_duration(limit),
                    units::shown_duration(decision),
                );
                let help = "write a shorter `timeout`, or a longer `admission_timeout`";
                self.warning(&settings.place, message, help)
                    .label("too long");
            }
        }
    }
}

fn may_ask(policy: &Policy, destination: &str) -> bool {
    policy.grants.contains(&Grant::Destinations)
        && policy.destinations.iter().any(|name| name == destination)
}
