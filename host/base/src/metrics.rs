//! What the gateway counts. Every name is in [`ALL`], which `host/docs/operate.md` shows.

#![allow(missing_docs, reason = "each name is described in the table ALL")]

use std::time::Duration;

use ::metrics::{
    Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use anyhow::Context as _;

use crate::closed_by::ClosedBy;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// How often the exporter folds its samples, so that nothing piles up while
/// nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

/// Seconds at which a policy's histogram is cut: a call takes microseconds when
/// all is well, and its limit is usually 50 ms.
const POLICY_BUCKETS: [f64; 9] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.25,
];

pub const ACCEPTED: &str = "sluice_connections_accepted_total";
pub const LIVE: &str = "sluice_connections_live";
pub const ACCEPT_WAITS: &str = "sluice_accept_waits_total";
pub const PUSHED_OUT: &str = "sluice_connections_pushed_out_total";
pub const HTTP_REFUSED: &str = "sluice_http_refused_total";
pub(crate) const CLOSES: &str = "sluice_closes_total";
pub const DELIVERIES: &str = "sluice_close_deliveries_total";
pub const DECISIONS: &str = "sluice_policy_decisions_total";
pub const POLICY_SECONDS: &str = "sluice_policy_seconds";
pub const QUARANTINES: &str = "sluice_policy_quarantines_total";
pub const SHADOWS: &str = "sluice_shadow_decisions_total";
pub const UNRECORDED: &str = "sluice_decisions_unrecorded_total";
pub const RECEIVED: &str = "sluice_received_bytes_total";
pub const SENT: &str = "sluice_sent_bytes_total";
pub const UNKNOWN: &str = "sluice_unknown_messages_total";
pub const MEMORY_HELD: &str = "sluice_memory_held_bytes";
pub const MEMORY_REFUSED: &str = "sluice_memory_refused_total";
pub const CLAIMS: &str = "sluice_claims";
pub const TASKS: &str = "sluice_tasks";
pub const INSTANCES: &str = "sluice_policy_instances";
pub const GENERATION: &str = "sluice_generation";
pub const UPSTREAM_LOST: &str = "sluice_upstream_lost_total";
pub const UPSTREAM_RESTORED: &str = "sluice_upstream_restored_total";
pub const UPSTREAM_RESTS: &str = "sluice_upstream_rests_total";
pub const TEE_GIVEN_UP: &str = "sluice_tee_given_up_total";
pub const UPSTREAM_HELD: &str = "sluice_upstream_held_bytes";
pub(crate) const DISK_FREE: &str = "sluice_disk_free_bytes";
pub const REMOVED: &str = "sluice_recordings_removed_total";
pub const REMOVED_BYTES: &str = "sluice_recordings_removed_bytes_total";
pub const REMOVAL_FAILURES: &str = "sluice_recordings_removal_failures_total";
pub const RELOADS: &str = "sluice_reloads_total";
pub const TLS_FAILURES: &str = "sluice_tls_failures_total";
pub const PROXY_FAILURES: &str = "sluice_proxy_header_failures_total";
pub const LOG_LINES_DROPPED: &str = "sluice_log_lines_dropped_total";
pub const STALLS: &str = "sluice_worker_stalls_total";
pub const LONGEST_STALL: &str = "sluice_worker_stall_seconds";
pub const DROPPED: &str = "sluice_connections_dropped_total";
pub const PANICS: &str = "sluice_panics_total";

/// What kind of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Samples, in buckets.
    Histogram,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name in Prometheus.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

/// Every metric.
pub const ALL: [Metric; 38] = [
    metric(
        ACCEPTED,
        Kind::Counter,
        &[],
        "Upgrades that were answered 101",
    ),
    metric(
        LIVE,
        Kind::Gauge,
        &[],
        "Connections between their 101 and the end of their socket",
    ),
    metric(
        ACCEPT_WAITS,
        Kind::Counter,
        &[],
        "Times that accepting waited because all `max_connections` and `max_refusals` were in use",
    ),
    metric(
        PUSHED_OUT,
        Kind::Counter,
        &[],
        "Connections closed before their upgrade to make room: their address had too many such",
    ),
    metric(
        HTTP_REFUSED,
        Kind::Counter,
        &["status"],
        "Requests that were answered 400, 405, 426 or 431, and not 101",
    ),
    metric(
        TLS_FAILURES,
        Kind::Counter,
        &["reason"],
        "TLS handshakes that failed: late, ended, not-tls, incompatible, certificate-rejected, alert or other",
    ),
    metric(
        PROXY_FAILURES,
        Kind::Counter,
        &["reason"],
        "Connections closed for want of a PROXY header: untrusted, malformed, too-long, late or ended",
    ),
    metric(
        CLOSES,
        Kind::Counter,
        &["cause", "code", "closed_by"],
        "Connections that ended",
    ),
    metric(
        DELIVERIES,
        Kind::Counter,
        &["delivery"],
        "What became of the Close: confirmed, sent, not-read or failed",
    ),
    metric(
        DECISIONS,
        Kind::Counter,
        &["policy", "outcome"],
        "Policy calls: accept, reject, client-fault, abandoned, trap, busy, quarantined or limit-*",
    ),
    metric(
        POLICY_SECONDS,
        Kind::Histogram,
        &["policy"],
        "How long a policy call took, its wait for a slot included",
    ),
    metric(
        QUARANTINES,
        Kind::Counter,
        &["policy"],
        "Times that a policy was put in quarantine",
    ),
    metric(
        SHADOWS,
        Kind::Counter,
        &["policy", "result"],
        "What shadows said beside who decided: agree, differ, failed or skipped",
    ),
    metric(
        UNRECORDED,
        Kind::Counter,
        &["reason"],
        "Decisions that were made and not recorded: queue-full, source-quota, disk or writer-gone",
    ),
    metric(
        RECEIVED,
        Kind::Counter,
        &[],
        "Bytes of BINARY payload that ended connections had received",
    ),
    metric(
        SENT,
        Kind::Counter,
        &[],
        "Bytes of payload from upstreams that ended connections had been sent",
    ),
    metric(
        UNKNOWN,
        Kind::Counter,
        &[],
        "Client messages of an unknown type",
    ),
    metric(
        UPSTREAM_LOST,
        Kind::Counter,
        &["upstream"],
        "Connections to a backend that were lost and whose streams were held",
    ),
    metric(
        UPSTREAM_RESTORED,
        Kind::Counter,
        &["upstream"],
        "Held streams that went on at their backend",
    ),
    metric(
        UPSTREAM_RESTS,
        Kind::Counter,
        &["upstream"],
        "Times that an address of a backend was left alone because it kept failing",
    ),
    metric(
        TEE_GIVEN_UP,
        Kind::Counter,
        &["upstream", "half"],
        "Streams with `tee` that lost a half: recording (only relayed) or backend (only recorded)",
    ),
    metric(
        UPSTREAM_HELD,
        Kind::Gauge,
        &["upstream"],
        "Bytes that held streams of a backend have in files",
    ),
    metric(
        DISK_FREE,
        Kind::Gauge,
        &["upstream"],
        "Bytes that were free for an upstream's recordings when the latest one was to begin",
    ),
    metric(
        REMOVED,
        Kind::Counter,
        &["upstream"],
        "Recordings that `keep_for` or `keep_total` had deleted",
    ),
    metric(
        REMOVED_BYTES,
        Kind::Counter,
        &["upstream"],
        "Bytes of recordings that `keep_for` or `keep_total` had deleted",
    ),
    metric(
        REMOVAL_FAILURES,
        Kind::Counter,
        &["upstream"],
        "Times that a recording could not be looked at or deleted, for `keep_for` or `keep_total`",
    ),
    metric(
        CLAIMS,
        Kind::Gauge,
        &[],
        "Keys that are exclusively claimed",
    ),
    metric(TASKS, Kind::Gauge, &[], "Tasks of the runtime"),
    metric(
        MEMORY_HELD,
        Kind::Gauge,
        &[],
        "Bytes that connections make the gateway hold, in steps of 16 KiB each",
    ),
    metric(
        MEMORY_REFUSED,
        Kind::Counter,
        &["reason"],
        "Connections and parked streams ended because they would hold more: full (all of them) or share (of one holder)",
    ),
    metric(
        INSTANCES,
        Kind::Gauge,
        &[],
        "WebAssembly modules that are instantiated for policies",
    ),
    metric(
        GENERATION,
        Kind::Gauge,
        &[],
        "The number of the configuration that newcomers are served with",
    ),
    metric(
        RELOADS,
        Kind::Counter,
        &["result"],
        "Times that the configuration was read again: swapped or refused",
    ),
    metric(
        LOG_LINES_DROPPED,
        Kind::Counter,
        &["reason"],
        "Log lines that were not written: sampled, queue-full or error",
    ),
    metric(
        STALLS,
        Kind::Counter,
        &[],
        "Times that a worker thread was stuck in one step of a task for half a second: each is a bug",
    ),
    metric(
        LONGEST_STALL,
        Kind::Gauge,
        &[],
        "Longest time that a worker thread was stuck in one step of a task",
    ),
    metric(
        DROPPED,
        Kind::Counter,
        &[],
        "Connections that were dropped without being closed: each is a bug",
    ),
    metric(
        PANICS,
        Kind::Counter,
        &[],
        "Panics that were survived: each is a bug",
    ),
];

/// Starts to count, for the whole process.
///
/// # Errors
/// Where something else counts already.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&POLICY_BUCKETS)?
        .install_recorder()
        .context("metrics cannot be recorded")?;
    for metric in &ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut pause = tokio::time::interval(UPKEEP);
        loop {
            pause.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub struct Live(());

impl Live {
    /// An upgrade was answered.
    #[must_use]
    pub fn begin() -> Self {
        counter!(ACCEPTED).increment(1);
        gauge!(LIVE).increment(1.0);
        Self(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        gauge!(LIVE).decrement(1.0);
    }
}

/// Accepting had to wait.
pub fn accept_waits() {
    counter!(ACCEPT_WAITS).increment(1);
}

/// A connection had to make room before its upgrade.
pub fn pushed_out() {
    counter!(PUSHED_OUT).increment(1);
}

/// A request was no valid upgrade.
pub fn http_refused(status: u16) {
    counter!(HTTP_REFUSED, "status" => status.to_string()).increment(1);
}

/// A connection ended.
pub fn closed(cause: &'static str, code: u16, closed_by: ClosedBy, delivery: &'static str) {
    closes(cause, code, closed_by).increment(1);
    counter!(DELIVERIES, "delivery" => delivery).increment(1);
}

pub fn closes(cause: &'static str, code: u16, closed_by: ClosedBy) -> Counter {
    counter!(CLOSES, "cause" => cause, "code" => code_label(code), "closed_by" => closed_by.word())
}

/// A close code as a label. Clients, policies and upstreams choose codes of their own: these are
/// one label for each range, so that nobody makes series without end.
fn code_label(code: u16) -> String {
    match code {
        1000..=1003 | 1007..=1014 | 4000..=4012 => code.to_string(),
        3000..=3999 => "3xxx".to_owned(),
        4000..=4999 => "4xxx".to_owned(),
        _ => "other".to_owned(),
    }
}

/// A client's TLS handshake failed.
pub fn tls_failed(reason: &'static str) {
    counter!(TLS_FAILURES, "reason" => reason).increment(1);
}

/// A connection had no PROXY protocol header that is taken.
pub fn proxy_failed(reason: &'static str) {
    counter!(PROXY_FAILURES, "reason" => reason).increment(1);
}

/// What a connection that ended had moved.
pub fn moved(received: u64, sent: u64, unknown_messages: u64) {
    counter!(RECEIVED).increment(received);
    counter!(SENT).increment(sent);
    counter!(UNKNOWN).increment(unknown_messages);
}

/// A policy was asked.
pub fn decided(policy: &str, outcome: &'static str, took: Duration) {
    counter!(DECISIONS, "policy" => policy.to_owned(), "outcome" => outcome).increment(1);
    histogram!(POLICY_SECONDS, "policy" => policy.to_owned()).record(took);
}

/// A policy was put in quarantine.
pub fn quarantined(policy: &str) {
    counter!(QUARANTINES, "policy" => policy.to_owned()).increment(1);
}

/// A shadow was asked, or would have been.
pub fn shadowed(policy: &str, result: &'static str) {
    counter!(SHADOWS, "policy" => policy.to_owned(), "result" => result).increment(1);
}

/// Decisions were not recorded.
pub fn unrecorded(reason: &'static str, decisions: u64) {
    counter!(UNRECORDED, "reason" => reason).increment(decisions);
}

/// What is held at the time of asking.
pub fn held(claims: usize, instances: u64, memory: usize) {
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    set(CLAIMS, claims as u64);
    set(INSTANCES, instances);
    set(MEMORY_HELD, memory as u64);
    set(TASKS, tasks as u64);
}

/// A connection or a parked stream would have held too much.
pub(crate) fn memory_refused(reason: &'static str) {
    counter!(MEMORY_REFUSED, "reason" => reason).increment(1);
}

/// Newcomers are served with this generation.
pub fn generation(number: u64) {
    set(GENERATION, number);
}

fn set(name: &'static str, value: u64) {
    // Exact up to 2^53.
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(name).set(value as f64);
}

/// A backend was lost, and a stream waits for it.
pub fn upstream_lost(upstream: &str) {
    counter!(UPSTREAM_LOST, "upstream" => upstream.to_owned()).increment(1);
}

/// A stream that waited goes on.
pub fn upstream_restored(upstream: &str) {
    counter!(UPSTREAM_RESTORED, "upstream" => upstream.to_owned()).increment(1);
}

/// An address of a backend keeps failing.
pub fn upstream_rests(upstream: &str) {
    counter!(UPSTREAM_RESTS, "upstream" => upstream.to_owned()).increment(1);
}

/// One half of a stream that is relayed and recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeeHalf {
    /// The recording.
    Recording,
    /// The relay to the backend.
    Backend,
}

/// A stream that is relayed and recorded lost one half, and keeps the other.
pub fn tee_given_up(upstream: &str, half: TeeHalf) {
    let half = match half {
        TeeHalf::Recording => "recording",
        TeeHalf::Backend => "backend",
    };
    counter!(TEE_GIVEN_UP, "upstream" => upstream.to_owned(), "half" => half).increment(1);
}

/// Held streams have more bytes in files, or fewer.
pub fn held_in_files(upstream: &str, change: f64) {
    gauge!(UPSTREAM_HELD, "upstream" => upstream.to_owned()).increment(change);
}

/// A disk of recordings has so many bytes free.
pub fn disk_free(upstream: &str, bytes: u64) {
    // Exact up to 2^53.
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(DISK_FREE, "upstream" => upstream.to_owned()).set(bytes as f64);
}

/// Old recordings were deleted, or could not be.
pub fn recordings_removed(upstream: &str, files: u64, bytes: u64, failures: u64) {
    for (metric, count) in [
        (REMOVED, files),
        (REMOVED_BYTES, bytes),
        (REMOVAL_FAILURES, failures),
    ] {
        counter!(metric, "upstream" => upstream.to_owned()).increment(count);
    }
}

/// The configuration was read again.
pub fn reloaded(result: &'static str) {
    counter!(RELOADS, "result" => result).increment(1);
}

/// Log lines were not written.
pub fn log_lines_dropped(reason: &'static str, lines: u64) {
    counter!(LOG_LINES_DROPPED, "reason" => reason).increment(lines);
}

/// A worker thread is stuck.
pub fn worker_stalled() {
    counter!(STALLS).increment(1);
}

/// The longest that a worker thread was ever stuck.
pub fn longest_stall(lasted: Duration) {
    gauge!(LONGEST_STALL).set(lasted.as_secs_f64());
}

/// A connection was dropped without being closed.
pub fn connection_dropped() {
    counter!(DROPPED).increment(1);
}

/// Something panicked, and was survived.
pub fn panicked() {
    counter!(PANICS).increment(1);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn close_codes_make_few_labels_whoever_chooses_them() {
        let labels: BTreeSet<_> = (0..=u16::MAX).map(code_label).collect();
        assert!(labels.len() < 32, "{labels:?}");
        for (code, label) in [
            (1000, "1000"),
            (1013, "1013"),
            (4001, "4001"),
            (4012, "4012"),
            (4100, "4xxx"),
            (4999, "4xxx"),
            (3001, "3xxx"),
            (5000, "other"),
            (0, "other"),
        ] {
            assert_eq!(code_label(code), label);
        }
    }
}
