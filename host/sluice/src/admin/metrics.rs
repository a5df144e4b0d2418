//! Metrics, in the text format of Prometheus: those that are kept, and those that are taken at the
//! scrape.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Admin;
use crate::admin_state::needs_restart;
use crate::process;
use base::blocking::LOADING;
use base::metrics::{
    self, CERTIFICATE_EXPIRY, CLOCK_AHEAD, CONNECTIONS_LIMIT, KEY_SET_AVAILABLE, KEYS,
    KEYS_FETCHED, KEYS_TIME, LIST_EXPIRY, LIVE_RECEIVED, LIVE_SENT, MEMORY_LIMIT, PARKED_LIMIT,
    READY, RELOAD_SUCCESSFUL, RELOAD_TIME, RESTART_PENDING, REVOCATIONS, SESSIONS, Samples,
    UPSTREAM_ADDRESSES, UPSTREAM_UP,
};
use gateway::connections::Stage;
use gateway::routes::Gateway;
use keys::provider::Attempt;
use upstream::BackendState;

/// Content type of the format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every metric.
pub(super) async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let Gateway {
        registry, permits, ..
    } = &*admin.gateway;
    metrics::held(
        registry.len(),
        admin.reloader.instances(),
        permits.memory.held(),
    );
    let mut samples = Samples::default();
    sessions(&admin, &mut samples).await;
    limits(&admin, &mut samples);
    health(&admin, &mut samples);
    configuration(&admin, &mut samples);
    let started_ms = admin.started_ms;
    let sampled = LOADING.run(move || {
        process::sample(&mut samples, started_ms);
        samples.render()
    });
    // A panic was logged and counted where it happened.
    let sampled = sampled.await.unwrap_or_default();
    (
        [(header::CONTENT_TYPE, METRICS_TYPE)],
        admin.recorder.render() + &sampled,
    )
}

/// Live connections by route and stage. Every route of the configuration is there, and whatever
/// route a live connection has.
async fn sessions(admin: &Admin, samples: &mut Samples) {
    let routes = {
        let generation = admin.gateway.generation.load();
        let routes = generation.routes.all().map(|route| route.name.to_string());
        // Of clients whose path no route has.
        routes.chain([String::new()]).collect::<Vec<_>>()
    };
    let mut counted: BTreeMap<String, [u64; Stage::ALL.len()]> =
        routes.into_iter().map(|route| (route, [0; _])).collect();
    let (mut received, mut sent) = (0, 0);
    let counting = admin.gateway.connections.visit("", |live| {
        let route = &*live.session().facts.route;
        let stage = live.stage() as usize;
        match counted.get_mut(route) {
            Some(stages) => stages[stage] += 1,
            None => {
                let mut stages = [0; Stage::ALL.len()];
                stages[stage] = 1;
                counted.insert(route.to_owned(), stages);
            }
        }
        received += live.received();
        sent += live.sent();
        ControlFlow::Continue(())
    });
    counting.await;
    for (route, stages) in &counted {
        for (stage, number) in Stage::ALL.into_iter().zip(stages) {
            let labels = [("route", &**route), ("stage", stage.word())];
            samples.count(SESSIONS, &labels, *number);
        }
    }
    samples.count(LIVE_RECEIVED, &[], received);
    samples.count(LIVE_SENT, &[], sent);
}

fn limits(admin: &Admin, samples: &mut Samples) {
    let Gateway {
        permits,
        parking,
        revocations,
        ..
    } = &*admin.gateway;
    samples.count(CONNECTIONS_LIMIT, &[], permits.places() as u64);
    samples.count(PARKED_LIMIT, &[], parking.limit() as u64);
    samples.count(MEMORY_LIMIT, &[], permits.memory.limit() as u64);
    samples.count(REVOCATIONS, &[], revocations.all().len() as u64);
}

fn health(admin: &Admin, samples: &mut Samples) {
    let checks = admin.checks();
    let is_ready = checks.iter().all(|check| check.reason.is_none());
    samples.count(READY, &[], u64::from(is_ready));
    for check in &checks {
        let is_fine = u64::from(check.reason.is_none());
        if let Some(key_set) = check.name.strip_prefix("key set ") {
            samples.count(KEY_SET_AVAILABLE, &[("key_set", key_set)], is_fine);
        }
        if let Some(upstream) = check.name.strip_prefix("upstream ") {
            samples.count(UPSTREAM_UP, &[("upstream", upstream)], is_fine);
        }
    }
    let generation = admin.gateway.generation.load();
    for named in &generation.upstreams {
        let addresses = named.upstream.backends();
        if addresses.is_empty() {
            continue;
        }
        for state in [
            BackendState::InUse,
            BackendState::Rests,
            BackendState::Probed,
        ] {
            let labels = [("upstream", &*named.name), ("state", state.word())];
            let in_it = addresses.iter().filter(|address| address.state == state);
            samples.count(UPSTREAM_ADDRESSES, &labels, in_it.count() as u64);
        }
    }
}

fn configuration(admin: &Admin, samples: &mut Samples) {
    let history = admin.reloader.history();
    let pending = !needs_restart(&history).is_empty();
    samples.count(RESTART_PENDING, &[], u64::from(pending));
    if let Some(last) = history.first() {
        let is_taken_up = u64::from(last.result == "swapped");
        samples.count(RELOAD_SUCCESSFUL, &[], is_taken_up);
        let at = last.at.parse::<jiff::Timestamp>();
        let at = at.map_or(0, |at| u64::try_from(at.as_second()).unwrap_or_default());
        samples.count(RELOAD_TIME, &[], at);
    }
    for (name, set) in admin.reloader.key_sets().iter() {
        let labels = [("key_set", name)];
        samples.count(KEYS, &labels, set.len() as u64);
        samples.count(CLOCK_AHEAD, &labels, set.token_times().ahead());
        if let Some(state) = set.provider().map(|provider| provider.state()) {
            let succeeded = matches!(state.latest, Some(Attempt::Fetched | Attempt::Unchanged));
            samples.count(KEYS_FETCHED, &labels, u64::from(succeeded));
            let at = state.fetched_ms.unwrap_or_default() / 1000;
            samples.count(KEYS_TIME, &labels, at);
        }
    }
    for certificate in admin.reloader.certificates() {
        let labels = [("listener", certificate.listener)];
        for (name, expires) in [
            (CERTIFICATE_EXPIRY, certificate.expires),
            (LIST_EXPIRY, certificate.list_expires),
        ] {
            if let Some(expires) = expires {
                samples.count(name, &labels, expires);
            }
        }
    }
}
