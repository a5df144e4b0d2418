//! Registration of every series with known labels at zero. So alerts have a series from the start,
//! and the first event shows as an increase.

use ::metrics::{counter, gauge, histogram};

use base::instance;
use base::metrics::{
    ACCEPT_WAITS, ACCEPTED, ADMISSION_SECONDS, BUILD_INFO, CLAIMS, CLUSTER_CLAIM_SECONDS,
    CLUSTER_CLAIMS, CLUSTER_CONNECTED, CLUSTER_LEASE_AGE, CLUSTER_LEASES_LOST,
    CLUSTER_WRITE_SECONDS, CLUSTER_WRITES, DECISIONS, DELIVERIES, DESTINATION_BREAKER,
    DESTINATION_QUESTIONS, DESTINATION_SECONDS, DIAL_FAILURES, DIAL_SECONDS, DROPPED, GENERATION,
    HTTP_REFUSED, INSTANCES, KEY_FETCHES, LIST_READS, LIVE, LOG_LINES_DROPPED, LONGEST_STALL,
    MEMORY_HELD, MEMORY_REFUSED, NOTICES, PANICS, POLICY_COUNTED, POLICY_SECONDS, PROXY_FAILURES,
    PUSHED_OUT, QUARANTINES, RECEIVED, RECORDINGS, RELOADS, REMOVAL_FAILURES, REMOVED,
    REMOVED_BYTES, RENEWALS, RESTORED, SENT, SHADOWS, SPANS, SPANS_DROPPED, STALLS, STORE_FAILURES,
    TASKS, TEE_GIVEN_UP, TLS_FAILURES, UNKNOWN, UNRECORDED, UPSTREAM_GIVEN_UP, UPSTREAM_HELD,
    UPSTREAM_LOST, UPSTREAM_RESTORED, UPSTREAM_RESTS, closes,
};
use base::permits::NoMemory;
use base::tls::failure::TlsFailure;
use config::Config;
use gateway::connections::Stage;
use gateway::socket::close_message::KINDS;
use gateway::socket::linger::Delivery;
use keys::provider::Attempt;
use keys::settings::KeySource;
use policy::destinations::{AnswerError, SOURCES};
use policy::effects::BEYOND;
use policy::settings::Grant;
use policy::{self, Hook};
use upstream::settings::Upstream;
use wire::proxies::preamble::PreambleError;

/// Statuses of answers to requests that are no valid upgrade.
const STATUSES: [u16; 4] = [400, 405, 426, 431];
const UNRECORDED_REASONS: [&str; 4] = ["queue-full", "source-quota", "disk", "writer-gone"];
const SHADOW_RESULTS: [&str; 4] = ["agree", "differ", "failed", "skipped"];
const LINES_DROPPED_REASONS: [&str; 3] = ["sampled", "queue-full", "error"];
const SPANS_DROPPED_REASONS: [&str; 3] = ["queue-full", "not-taken", "rejected"];
const RESTORED_RESULTS: [&str; 3] = ["restored", "complete", "lost"];
const CLUSTER_RESULTS: [&str; 5] = ["stored", "lost", "busy", "refused", "unknown"];
const CLAIM_RESULTS: [&str; 3] = ["committed", "conflict", "unknown"];
const NOTICE_RESULTS: [&str; 2] = ["sent", "dropped"];
const RENEWAL_RESULTS: [&str; 2] = ["renewed", "refused"];
const RELOAD_RESULTS: [&str; 2] = ["swapped", "refused"];

/// Registers the series of every gateway.
pub(crate) fn register() {
    for name in [
        ACCEPTED,
        ACCEPT_WAITS,
        PUSHED_OUT,
        RECEIVED,
        SENT,
        UNKNOWN,
        DROPPED,
        PANICS,
        SPANS,
        STALLS,
        STORE_FAILURES,
        CLUSTER_LEASES_LOST,
    ] {
        counter!(name).absolute(0);
    }
    for name in [
        LIVE,
        CLAIMS,
        TASKS,
        INSTANCES,
        CLUSTER_CONNECTED,
        CLUSTER_LEASE_AGE,
        MEMORY_HELD,
        GENERATION,
        LONGEST_STALL,
    ] {
        gauge!(name).set(0.0);
    }
    let version = env!("CARGO_PKG_VERSION");
    gauge!(BUILD_INFO, "version" => version, "instance" => instance::id()).set(1.0);
    drop(histogram!(CLUSTER_WRITE_SECONDS));
    drop(histogram!(CLUSTER_CLAIM_SECONDS));
    for status in STATUSES {
        counter!(HTTP_REFUSED, "status" => status.to_string()).absolute(0);
    }
    for (cause, code, closed_by) in KINDS {
        closes(cause, *code, *closed_by).absolute(0);
    }
    for stage in [Stage::Connect, Stage::Handshake, Stage::Open] {
        drop(histogram!(ADMISSION_SECONDS, "stage" => stage.word()));
    }
    let labelled: [(_, _, &[&'static str]); 12] = [
        (CLUSTER_WRITES, "result", &CLUSTER_RESULTS),
        (CLUSTER_CLAIMS, "result", &CLAIM_RESULTS),
        (RESTORED, "result", &RESTORED_RESULTS),
        (DELIVERIES, "delivery", &Delivery::ALL.map(Delivery::word)),
        (
            TLS_FAILURES,
            "reason",
            &TlsFailure::ALL.map(TlsFailure::word),
        ),
        (PROXY_FAILURES, "reason", &PreambleError::WORDS),
        (UNRECORDED, "reason", &UNRECORDED_REASONS),
        (
            MEMORY_REFUSED,
            "reason",
            &[NoMemory::Full.word(), NoMemory::Share.word()],
        ),
        (RELOADS, "result", &RELOAD_RESULTS),
        (RENEWALS, "result", &RENEWAL_RESULTS),
        (LOG_LINES_DROPPED, "reason", &LINES_DROPPED_REASONS),
        (SPANS_DROPPED, "reason", &SPANS_DROPPED_REASONS),
    ];
    for (name, label, values) in labelled {
        for value in values {
            counter!(name, label => *value).absolute(0);
        }
    }
}

/// Hooks at which a route calls this policy.
fn hooks<'a>(config: &'a Config, policy: &'a str) -> impl Iterator<Item = Hook> + 'a {
    let is_called = move |hook: &Hook| {
        let mut routes = config.routes.values();
        routes.any(|route| route.policies_at(*hook).iter().any(|name| name == policy))
    };
    Hook::ALL.into_iter().filter(is_called)
}

/// Registers the series of a configuration that begins to serve. Those of the previous one stay.
pub(crate) fn register_of(config: &Config) {
    for (name, policy) in &config.policies {
        for outcome in policy::OUTCOMES {
            counter!(DECISIONS, "policy" => name.clone(), "outcome" => outcome).absolute(0);
        }
        counter!(QUARANTINES, "policy" => name.clone()).absolute(0);
        for hook in hooks(config, policy.speaks_as(name)) {
            // Registers the histogram without samples.
            drop(histogram!(POLICY_SECONDS, "policy" => name.clone(), "hook" => hook.name()));
        }
        if policy.grants.contains(&Grant::Notice) {
            for result in NOTICE_RESULTS {
                counter!(NOTICES, "policy" => name.clone(), "result" => result).absolute(0);
            }
        }
        if policy.grants.contains(&Grant::Metrics) {
            let labels = [
                ("policy", name.clone()),
                ("name", BEYOND.to_owned()),
                ("label", String::new()),
            ];
            counter!(POLICY_COUNTED, &labels).absolute(0);
        }
        if policy.trial.is_some() {
            for result in SHADOW_RESULTS {
                counter!(SHADOWS, "policy" => name.clone(), "result" => result).absolute(0);
            }
        }
    }
    for (name, set) in &config.key_sets {
        if matches!(set.source, KeySource::Provider(_)) {
            for result in Attempt::WORDS {
                counter!(KEY_FETCHES, "key_set" => name.clone(), "result" => result).absolute(0);
            }
        }
    }
    for name in config.lists.keys() {
        for result in ["read", "refused"] {
            counter!(LIST_READS, "list" => name.clone(), "result" => result).absolute(0);
        }
    }
    for name in config.destinations.keys() {
        let errors = AnswerError::ALL.map(AnswerError::word);
        for result in SOURCES.into_iter().chain(errors) {
            counter!(DESTINATION_QUESTIONS, "destination" => name.clone(), "result" => result)
                .absolute(0);
        }
        // One that the previous configuration had too may be open.
        gauge!(DESTINATION_BREAKER, "destination" => name.clone()).increment(0.0);
        drop(histogram!(DESTINATION_SECONDS, "destination" => name.clone()));
    }
    for (name, upstream) in &config.upstreams {
        if upstream.recordings().is_some() {
            for metric in [RECORDINGS, REMOVED, REMOVED_BYTES, REMOVAL_FAILURES] {
                counter!(metric, "upstream" => name.clone()).absolute(0);
            }
        }
    }
    for (name, upstream) in &config.upstreams {
        if matches!(upstream, Upstream::JetStream(_)) {
            for metric in [UPSTREAM_LOST, UPSTREAM_RESTORED, UPSTREAM_GIVEN_UP] {
                counter!(metric, "upstream" => name.clone()).absolute(0);
            }
        }
    }
    let upstreams = config.upstreams.iter();
    let backends = upstreams.filter(|(_, upstream)| matches!(upstream, Upstream::WebSocket(_)));
    for (name, _) in backends {
        for metric in [
            UPSTREAM_LOST,
            UPSTREAM_RESTORED,
            UPSTREAM_GIVEN_UP,
            UPSTREAM_RESTS,
            DIAL_FAILURES,
        ] {
            counter!(metric, "upstream" => name.clone()).absolute(0);
        }
        drop(histogram!(DIAL_SECONDS, "upstream" => name.clone()));
        for half in ["recording", "backend"] {
            counter!(TEE_GIVEN_UP, "upstream" => name.clone(), "half" => half).absolute(0);
        }
        // Streams of the previous configuration may hold bytes.
        gauge!(UPSTREAM_HELD, "upstream" => name.clone()).increment(0.0);
    }
}
