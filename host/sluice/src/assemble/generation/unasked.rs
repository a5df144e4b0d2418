//! Hooks of used policies that no list of a route names.

use base::diagnostics::Diagnostics;
use config::Config;
use gateway::routes::Policies;
use policy::Hook;

/// The option of a route that lists the policies to ask at a hook.
const fn option(hook: Hook) -> &'static str {
    match hook {
        Hook::Connect => "on_connect",
        Hook::Handshake => "on_handshake",
        Hook::Frames => "on_frames",
        Hook::Close => "on_close",
    }
}

/// Reports them as warnings. A policy without any use was reported when the configuration was read.
pub(super) fn report(config: &Config, policies: &Policies, diagnostics: &mut Diagnostics) {
    for (name, settings) in &config.policies {
        let Some(policy) = policies.get(name).and_then(Option::as_ref) else {
            continue;
        };
        let speaks_as = settings.speaks_as(name);
        let is_named = |hook: Hook| {
            let mut routes = config.routes.values();
            routes.any(|route| {
                route
                    .policies_at(hook)
                    .iter()
                    .any(|named| named == speaks_as)
            })
        };
        if !Hook::ALL.into_iter().any(is_named) {
            continue;
        }
        for hook in Hook::ALL {
            if policy.hooks().has(hook) && !is_named(hook) {
                let (hook, list) = (hook.name(), option(hook));
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
