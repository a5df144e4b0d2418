//! Construction of a generation's routes.

use std::sync::Arc;

use base::diagnostics::{Diagnostics, Place};
use base::limits::Metering;
use config::{self, Config};
use gateway::routes::{Generation, Policies, Route, Routes};
use policy::chain::Step;
use policy::recorder::Recorder;
use policy::settings::{self, Grant};
use policy::shadow::{Candidate, ShadowPermits};
use policy::{Chain, Hook, Policy};
use session::rate_limit::{Allowance, AttemptLimit};
use upstream::Upstreams;

/// Parts from which routes are made.
pub(super) struct Stock<'a> {
    pub(super) policies: &'a Policies,
    pub(super) upstreams: &'a Upstreams,
    pub(super) recorder: Recorder,
    pub(super) config: &'a Config,
    pub(super) shadows: ShadowPermits,
    pub(super) before: Option<&'a Generation>,
}

/// Builds a route and adds its paths.
pub(super) fn add_route(
    routes: &mut Routes,
    name: &str,
    route: &config::Route,
    stock: &Stock<'_>,
    diagnostics: &mut Diagnostics,
) {
    let identified_by = identified_by(route, stock);
    let mut asked = |hook, names: &[String], place| {
        chain(hook, names, place, stock, diagnostics).identified_by(&identified_by)
    };
    let on_connect = asked(Hook::Connect, &route.on_connect, &route.on_connect_place);
    let on_handshake = asked(
        Hook::Handshake,
        &route.on_handshake,
        &route.on_handshake_place,
    );
    let on_frames = asked(Hook::Frames, &route.on_frames, &route.on_frames_place);
    let on_close = asked(Hook::Close, &route.on_close, &route.on_close_place);
    // A reference to a missing upstream was reported when the configuration was read.
    let Some(upstream) = stock.upstreams.get(&route.upstream) else {
        return;
    };
    let built = Arc::new(Route {
        name: name.into(),
        handshake: route.handshake,
        on_connect,
        on_handshake,
        on_frames,
        on_close,
        metering: metering(route, stock),
        renews: renews(&identified_by, &route.on_connect),
        identified_by,
        upstream: Arc::clone(upstream),
        limits: Arc::clone(&route.limits),
        origins: route.origins.clone(),
        subprotocols: route.subprotocols.clone(),
        attempts: attempts(name, route.rate_limit.as_ref(), stock.before),
    });
    for path in &route.paths {
        if let Err(error) = routes.insert(path, Arc::clone(&built)) {
            diagnostics.error(
                &route.place,
                format!("path {path} of route \"{name}\": {error}"),
                "change or remove it",
            );
        }
    }
}

/// Policies of a route that identify users.
fn identified_by(route: &config::Route, stock: &Stock<'_>) -> Arc<[String]> {
    let asked = route.admission();
    asked
        .filter(|name| settings::identifies(&stock.config.policies, name))
        .cloned()
        .collect()
}

/// Whether the connect policies can decide about another token on their own.
fn renews(identified_by: &[String], on_connect: &[String]) -> bool {
    let is_asked = |policy: &String| on_connect.contains(policy);
    !identified_by.is_empty() && identified_by.iter().all(is_asked)
}

/// Window of frame policies. Payloads are kept only if a policy may see them.
fn metering(route: &config::Route, stock: &Stock<'_>) -> Metering {
    let named = route.on_frames.iter().map(String::as_str);
    let beside = named.clone().filter_map(|name| stock.beside(name));
    let beside = beside.map(|(name, _)| name);
    let seen = named.chain(beside).any(|name| {
        let policy = stock.policies.get(name).and_then(Option::as_ref);
        policy.is_some_and(|policy| policy.grants().contains(&Grant::Payload))
    });
    Metering {
        payload: if seen { route.metering.payload } else { 0 },
        ..route.metering
    }
}

/// Rate limit of a route. A reload that does not change the limit keeps its counters.
fn attempts(
    route: &str,
    allowance: Option<&Allowance>,
    before: Option<&Generation>,
) -> Option<Arc<AttemptLimit>> {
    let allowance = allowance?;
    let counting = before
        .and_then(|generation| generation.routes.named(route))
        .and_then(|route| route.attempts.as_ref())
        .filter(|attempts| attempts.allowance() == allowance);
    Some(counting.map_or_else(|| Arc::new(AttemptLimit::new(allowance)), Arc::clone))
}

/// Chain of the policies of one hook.
fn chain(
    hook: Hook,
    names: &[String],
    place: &Place,
    stock: &Stock<'_>,
    diagnostics: &mut Diagnostics,
) -> Chain {
    let mut steps = Vec::new();
    for name in names {
        // A missing policy was reported when it was loaded or read.
        let Some(policy) = stock.hooked(name, hook, place, diagnostics) else {
            continue;
        };
        let trial = stock.trial(name);
        let mut step = match trial {
            Some(trial) => Step::alone(stock.candidate(policy, trial)),
            None => Step::of(policy),
        };
        if let Some((name, trial)) = stock.beside(name) {
            // Without the hook, its canaries would not be called.
            let next = stock.hooked(name, hook, &trial.place, diagnostics);
            if let Some(next) = next {
                step = step.beside(stock.candidate(next, trial));
            }
        }
        steps.push(step);
    }
    Chain::of(steps).recorded(stock.recorder.clone())
}

impl Stock<'_> {
    fn trial(&self, name: &str) -> Option<&settings::Trial> {
        self.config.policies.get(name)?.trial.as_ref()
    }

    /// Name and settings of the policy that is tried out beside this one.
    fn beside(&self, name: &str) -> Option<(&str, &settings::Trial)> {
        self.config.policies.iter().find_map(|(next, policy)| {
            let trial = policy.trial.as_ref()?;
            let beside = trial.stands_for.as_deref() == Some(name);
            beside.then_some((next.as_str(), trial))
        })
    }

    fn candidate(&self, policy: Arc<dyn Policy>, trial: &settings::Trial) -> Candidate {
        Candidate::new(policy, trial.decides_for, self.shadows.clone())
    }

    /// Policy that has the hook. Without the hook, reports a mistake.
    fn hooked(
        &self,
        name: &str,
        hook: Hook,
        place: &Place,
        diagnostics: &mut Diagnostics,
    ) -> Option<Arc<dyn Policy>> {
        let policy = self.policies.get(name)?.as_ref()?;
        if !policy.hooks().has(hook) {
            diagnostics.error(
                place,
                format!("policy \"{name}\" has no hook {}", hook.name()),
                "name it at a stage that it has a hook for",
            );
        }
        Some(Arc::clone(policy) as Arc<dyn Policy>)
    }
}
