//! Policies that are tried out beside others.

use std::collections::{BTreeMap, BTreeSet};

use super::Reader;
use crate::settings::Route;
use crate::toml::{Section, Zero, nearest};
use policy::settings::Share;
use policy::settings::{Policy, Trial};

impl Reader<'_> {
    pub(super) fn trial(&mut self, section: &mut Section<'_>) -> Option<Trial> {
        let shadow_place = section.place_of("shadow");
        let canary_place = section.place_of("canary");
        let shadow = section.truth("shadow") == Some(true);
        let shadow_of = section.text("shadow_of");
        let percent = section.count("canary", 0, Zero::Allowed);
        if percent > 100 {
            let help = "write how many of a hundred sessions it decides about: `canary = 5`";
            self.error(&canary_place, format!("`canary` cannot be {percent}"), help)
                .label("more than all");
        }
        if let (true, Some(shadow_of)) = (shadow, &shadow_of) {
            let help = "keep `shadow_of` where it is to replace that policy, and `shadow` where it \
                        replaces none";
            let message = "`shadow` and `shadow_of` say two different things";
            self.error(&shadow_place, message, help)
                .label("alone, where a route names it")
                .also(&shadow_of.place, "beside another");
        }
        if !shadow && shadow_of.is_none() {
            if percent > 0 {
                let message = format!("{} decides about every session", section.title);
                let help = "write `shadow_of` or `shadow` too, or leave `canary` out";
                self.error(&canary_place, message, help)
                    .label("a share of what?");
            }
            return None;
        }
        Some(Trial {
            decides_for: Share::percent(percent),
            place: shadow_of
                .as_ref()
                .map_or(shadow_place, |named| named.place.clone()),
            stands_for: shadow_of.map(|named| named.value),
        })
    }

    /// Checks trials. The policy that a trial refers to must be in use. A shadow must not be in use
    /// itself.
    pub(super) fn check_trials(
        &mut self,
        declared: &BTreeSet<String>,
        policies: &BTreeMap<String, Policy>,
        routes: &BTreeMap<String, Route>,
    ) {
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, policy) in policies {
            let Some(trial) = &policy.trial else { continue };
            let Some(stands_for) = trial.stands_for.as_deref() else {
                continue;
            };
            let problem = match policies.get(stands_for) {
                // The mistake in it was reported.
                None if declared.contains(stands_for) => None,
                None => Some((
                    format!("there is no policy \"{stands_for}\""),
                    match nearest(stands_for, policies.keys().map(String::as_str)) {
                        Some(near) => format!("did you mean \"{near}\"?"),
                        None => "name the policy that it is to replace".to_owned(),
                    },
                )),
                Some(other) if other.trial.is_some() => Some((
                    format!("policy \"{stands_for}\" is tried out itself"),
                    "name a policy that decides".to_owned(),
                )),
                Some(_) => taken.insert(stands_for, name).map(|first| {
                    (
                        format!("policy \"{stands_for}\" has a shadow already: \"{first}\""),
                        "try out one after the other".to_owned(),
                    )
                }),
            };
            if let Some((message, help)) = problem {
                self.error(&trial.place, message, help)
                    .label("not this one");
            }
            for (route_name, route) in routes {
                let chains = [
                    (&route.on_connect, &route.on_connect_place),
                    (&route.on_handshake, &route.on_handshake_place),
                    (&route.on_frames, &route.on_frames_place),
                    (&route.on_close, &route.on_close_place),
                ];
                for (_, place) in chains.iter().filter(|(names, _)| names.contains(name)) {
                    let message = format!(
                        "[routes.{route_name}] names \"{name}\", which is asked wherever \"{stands_for}\" is"
                    );
                    let help = format!("leave \"{name}\" out here, or its `shadow_of`");
                    self.error(place, message, help)
                        .label("named here")
                        .also(&trial.place, "stands beside another");
                }
            }
        }
    }
}
