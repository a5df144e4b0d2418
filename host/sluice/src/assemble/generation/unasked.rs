//! Hooks of used policies that no list of a route names.

use base::diagnostics::Diagnostics;
use config::{Config, Route};
use gateway::routes::Policies;
use policy::component::Hooks;

/// Hook, its list, and how to find both.
struct Hook {
    name: &'static str,
    list: &'static str,
    named: fn(&Route) -> &[String],
    has: fn(&Hooks) -> bool,
}

const HOOKS: [Hook; 4] = [
    Hook {
        name: "on-connect",
        list: "on_connect",
        named: |route| &route.on_connect,
        has: |hooks| hooks.connect.is_some(),
    },
    Hook {
        name: "on-handshake",
        list: "on_handshake",
        named: |route| &route.on_handshake,
        has: |hooks| hooks.handshake.is_some(),
    },
    Hook {
        name: "on-frames",
        list: "on_frames",
        named: |route| &route.on_frames,
        has: |hooks| hooks.frames.is_some(),
    },
    Hook {
        name: "on-close",
        list: "on_close",
        named: |route| &route.on_close,
        has: |hooks| hooks.close.is_some(),
    },
];

/// Reports them as warnings. A policy without any use was reported when the configuration was read.
pub(super) fn report(config: &Config, policies: &Policies, diagnostics: &mut Diagnostics) {
    for (name, settings) in &config.policies {
        let Some(policy) = policies.get(name).and_then(Option::as_ref) else {
            continue;
        };
        let speaks_as = settings.speaks_as(name);
        let is_named = |hook: &Hook| {
            let mut routes = config.routes.values();
            routes.any(|route| (hook.named)(route).iter().any(|named| named == speaks_as))
        };
        if !HOOKS.iter().any(is_named) {
            continue;
        }
        for hook in &HOOKS {
            if (hook.has)(policy.hooks()) && !is_named(hook) {
                let (hook, list) = (hook.name, hook.list);
                let message = format!(
                    "policy \"{name}\" has the hook {hook}, and no route names it in `{list}`: \
                     it is never asked there"
                );
                let help =
                    format!("name it in the `{list}` of a route, if that is meant to happen");
                diagnostics
                    .warning(&settings.place, message, help)
                    .label("not asked");
            }
        }
    }
}
