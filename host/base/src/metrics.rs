//! Metrics of the gateway. [`ALL`] has every name, and `host/docs/operate.md` lists them.

use std::time::Duration;

use ::metrics::{
    Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use anyhow::Context as _;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::closed_by::ClosedBy;

mod names;
mod samples;
mod table;

pub use names::*;
pub use samples::Samples;
pub use table::{ALL, Metric, MetricType};

/// Interval in which the exporter folds its samples, so that they do not pile up while nothing
/// scrapes them.
const UPKEEP: Duration = Duration::from_secs(5);

/// Buckets of a policy's histogram, in seconds. A call usually takes microseconds, and its limit is
/// usually 50 ms, behind a wait for a slot of up to seconds.
const POLICY_BUCKETS: [f64; 13] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.25, 0.5, 1.0, 2.5, 5.0,
];
/// Buckets of what a client waits for, in seconds. Admission may take 4 s, and a handshake 10 s.
const WAIT_BUCKETS: [f64; 11] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Installs the recorder of metrics for the whole process.
///
/// # Errors
/// If the process has another recorder already.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&WAIT_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(POLICY_SECONDS.to_owned()), &POLICY_BUCKETS)?
        .install_recorder()
        .context("metrics cannot be recorded")?;
    for metric in &ALL {
        match metric.kind {
            MetricType::Counter => describe_counter!(metric.name, metric.help),
            MetricType::Gauge => describe_gauge!(metric.name, metric.help),
            MetricType::Histogram => describe_histogram!(metric.name, metric.help),
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

/// Gauge guard: counts a connection until it is dropped.
#[derive(Debug)]
pub struct Live(());

impl Live {
    /// Counts an answered upgrade.
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

/// Counts a wait before accepting.
pub fn accept_waits() {
    counter!(ACCEPT_WAITS).increment(1);
}

/// Counts a connection that was pushed out before its upgrade.
pub fn pushed_out() {
    counter!(PUSHED_OUT).increment(1);
}

/// Counts a request that is no valid upgrade.
pub fn http_refused(status: u16) {
    counter!(HTTP_REFUSED, "status" => status.to_string()).increment(1);
}

/// Counts a connection that ended.
pub fn closed(cause: &'static str, code: u16, closed_by: ClosedBy, delivery: &'static str) {
    closes(cause, code, closed_by).increment(1);
    counter!(DELIVERIES, "delivery" => delivery).increment(1);
}

/// Counter of connections that ended in this way.
pub fn closes(cause: &'static str, code: u16, closed_by: ClosedBy) -> Counter {
    counter!(CLOSES, "cause" => cause, "code" => code_label(code), "closed_by" => closed_by.word())
}

/// Label of a close code. Clients, policies and upstreams choose codes of their own. All codes of
/// such a range share one label, so that the number of series stays bounded.
fn code_label(code: u16) -> String {
    match code {
        1000..=1003 | 1007..=1014 | 4000..=4012 => code.to_string(),
        3000..=3999 => "3xxx".to_owned(),
        4000..=4999 => "4xxx".to_owned(),
        _ => "other".to_owned(),
    }
}

/// Counts a client's TLS handshake that failed.
pub fn tls_failed(reason: &'static str) {
    counter!(TLS_FAILURES, "reason" => reason).increment(1);
}

/// Counts a connection whose PROXY protocol header was refused.
pub fn proxy_failed(reason: &'static str) {
    counter!(PROXY_FAILURES, "reason" => reason).increment(1);
}

/// Adds the traffic of a connection that ended.
pub fn moved(received: u64, sent: u64, unknown_messages: u64) {
    counter!(RECEIVED).increment(received);
    counter!(SENT).increment(sent);
    counter!(UNKNOWN).increment(unknown_messages);
}

/// Counts a decision of a policy, and its duration.
pub fn decided(policy: &str, hook: &'static str, outcome: &'static str, took: Duration) {
    counter!(DECISIONS, "policy" => policy.to_owned(), "outcome" => outcome).increment(1);
    histogram!(POLICY_SECONDS, "policy" => policy.to_owned(), "hook" => hook).record(took);
}

/// Counts the duration of a stage before the stream.
pub fn admission_stage(stage: &'static str, took: Duration) {
    histogram!(ADMISSION_SECONDS, "stage" => stage).record(took);
}

/// Counts a policy's quarantine.
pub fn quarantined(policy: &str) {
    counter!(QUARANTINES, "policy" => policy.to_owned()).increment(1);
}

/// Counts a call of a shadow, or one that was skipped.
pub fn shadowed(policy: &str, result: &'static str) {
    counter!(SHADOWS, "policy" => policy.to_owned(), "result" => result).increment(1);
}

/// Counts decisions that are missing in the record.
pub fn unrecorded(reason: &'static str, decisions: u64) {
    counter!(UNRECORDED, "reason" => reason).increment(decisions);
}

/// Sets the gauges of what is held at the time of a scrape.
pub fn held(claims: usize, instances: u64, memory: usize) {
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    set(CLAIMS, claims as u64);
    set(INSTANCES, instances);
    set(MEMORY_HELD, memory as u64);
    set(TASKS, tasks as u64);
}

/// Counts a connection or parked stream that would have exceeded the memory limit.
pub(crate) fn memory_refused(reason: &'static str) {
    counter!(MEMORY_REFUSED, "reason" => reason).increment(1);
}

/// Counts a transaction of the store of streams that failed.
pub fn store_failed() {
    counter!(STORE_FAILURES).increment(1);
}

/// Counts a stream of the earlier process.
pub fn restored(result: &'static str) {
    counter!(RESTORED, "result" => result).increment(1);
}

/// Sets the generation that serves new connections.
pub fn generation(number: u64) {
    set(GENERATION, number);
}

fn set(name: &'static str, value: u64) {
    // Exact up to 2^53.
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(name).set(value as f64);
}

/// Counts a stream that lost its backend and waits for it.
pub fn upstream_lost(upstream: &str) {
    counter!(UPSTREAM_LOST, "upstream" => upstream.to_owned()).increment(1);
}

/// Counts a stream that has its backend again.
pub fn upstream_restored(upstream: &str) {
    counter!(UPSTREAM_RESTORED, "upstream" => upstream.to_owned()).increment(1);
}

/// Counts a backend address that is taken out of use because it keeps failing.
pub fn upstream_rests(upstream: &str) {
    counter!(UPSTREAM_RESTS, "upstream" => upstream.to_owned()).increment(1);
}

/// Counts a held stream that ended without its backend.
pub fn upstream_given_up(upstream: &str) {
    counter!(UPSTREAM_GIVEN_UP, "upstream" => upstream.to_owned()).increment(1);
}

/// Counts a backend's answer to an upgrade with 101, and how long it took.
pub fn dialed(upstream: &str, took: Duration) {
    histogram!(DIAL_SECONDS, "upstream" => upstream.to_owned()).record(took);
}

/// Counts a stream that no address of a backend took.
pub fn dial_failed(upstream: &str) {
    counter!(DIAL_FAILURES, "upstream" => upstream.to_owned()).increment(1);
}

/// Counts a recording that begins.
pub fn recording_begins(upstream: &str) {
    counter!(RECORDINGS, "upstream" => upstream.to_owned()).increment(1);
}

/// One half of a stream that is relayed and recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeeHalf {
    /// The recording.
    Recording,
    /// The relay to the backend.
    Backend,
}

/// Counts a stream that lost one half and continues with the other.
pub fn tee_given_up(upstream: &str, half: TeeHalf) {
    let half = match half {
        TeeHalf::Recording => "recording",
        TeeHalf::Backend => "backend",
    };
    counter!(TEE_GIVEN_UP, "upstream" => upstream.to_owned(), "half" => half).increment(1);
}

/// Changes the number of bytes that held streams have in files.
pub fn held_in_files(upstream: &str, change: f64) {
    gauge!(UPSTREAM_HELD, "upstream" => upstream.to_owned()).increment(change);
}

/// Says whether the gateway is connected to NATS.
pub fn cluster_connected(is_connected: bool) {
    gauge!(CLUSTER_CONNECTED).set(if is_connected { 1.0 } else { 0.0 });
}

/// Counts an attempt to write to NATS.
pub fn cluster_write(result: &'static str) {
    counter!(CLUSTER_WRITES, "result" => result).increment(1);
}

/// Counts a write to NATS that is stored, and how long it took.
pub fn cluster_written(took: Duration) {
    histogram!(CLUSTER_WRITE_SECONDS).record(took);
}

/// Sets the time since the lease of this gateway was renewed.
pub fn lease_age(age: Duration) {
    gauge!(CLUSTER_LEASE_AGE).set(age.as_secs_f64());
}

/// Counts a lease of this gateway that has ended.
pub fn lease_lost() {
    counter!(CLUSTER_LEASES_LOST).increment(1);
}

/// Counts a claim on a key that gateways share.
pub fn cluster_claim(result: &'static str) {
    counter!(CLUSTER_CLAIMS, "result" => result).increment(1);
}

/// Counts how long a claim on a key that gateways share took.
pub fn cluster_claimed(took: Duration) {
    histogram!(CLUSTER_CLAIM_SECONDS).record(took);
}

/// Sets the free bytes of a disk with recordings.
pub fn disk_free(upstream: &str, bytes: u64) {
    // Exact up to 2^53.
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(DISK_FREE, "upstream" => upstream.to_owned()).set(bytes as f64);
}

/// Counts old recordings that were deleted, and failures to delete them.
pub fn recordings_removed(upstream: &str, files: u64, bytes: u64, failures: u64) {
    for (metric, count) in [
        (REMOVED, files),
        (REMOVED_BYTES, bytes),
        (REMOVAL_FAILURES, failures),
    ] {
        counter!(metric, "upstream" => upstream.to_owned()).increment(count);
    }
}

/// Counts a reload of the configuration.
pub fn reloaded(result: &'static str) {
    counter!(RELOADS, "result" => result).increment(1);
}

/// Sets the number of entries of a list.
pub fn list_entries(list: &str, entries: usize) {
    // Exact up to 2^53.
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    gauge!(LIST_ENTRIES, "list" => list.to_owned()).set(entries as f64);
}

/// Counts a change of a list's file.
pub fn list_read(list: &str, result: &'static str) {
    counter!(LIST_READS, "list" => list.to_owned(), "result" => result).increment(1);
}

/// Counts a question to a destination, by where its answer comes from or why there is none.
pub fn destination_asked(destination: &str, result: &'static str) {
    counter!(DESTINATION_QUESTIONS, "destination" => destination.to_owned(), "result" => result)
        .increment(1);
}

/// Counts notices that a client was sent.
pub fn notice_sent(policy: &str) {
    counter!(NOTICES, "policy" => policy.to_owned(), "result" => "sent").increment(1);
}

/// Counts notices that no client was sent.
pub fn notices_dropped(policy: &str, count: u64) {
    counter!(NOTICES, "policy" => policy.to_owned(), "result" => "dropped").increment(count);
}

/// Adds to a counter of a policy's own.
pub fn policy_counted(policy: &str, name: &str, label: &str, amount: u64) {
    counter!(
        POLICY_COUNTED,
        "policy" => policy.to_owned(), "name" => name.to_owned(), "label" => label.to_owned()
    )
    .increment(amount);
}

/// Counts a request to a destination, and how long it took.
pub fn destination_took(destination: &str, took: Duration) {
    histogram!(DESTINATION_SECONDS, "destination" => destination.to_owned()).record(took);
}

/// Whether a destination is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationBreaker {
    /// It is.
    Closed,
    /// It is left alone, because it failed.
    Open,
}

/// Sets whether a destination is asked.
pub fn destination_breaker(destination: &str, breaker: DestinationBreaker) {
    let open = match breaker {
        DestinationBreaker::Closed => 0.0,
        DestinationBreaker::Open => 1.0,
    };
    gauge!(DESTINATION_BREAKER, "destination" => destination.to_owned()).set(open);
}

/// Counts an attempt to fetch the keys of an identity provider.
pub fn keys_fetched(key_set: &str, result: &'static str) {
    counter!(KEY_FETCHES, "key_set" => key_set.to_owned(), "result" => result).increment(1);
}

/// Counts a token that a client has sent while it streams.
pub fn renewed(result: &'static str) {
    counter!(RENEWALS, "result" => result).increment(1);
}

/// Counts log lines that were dropped.
pub fn log_lines_dropped(reason: &'static str, lines: u64) {
    counter!(LOG_LINES_DROPPED, "reason" => reason).increment(lines);
}

/// Counts spans that the trace collector has taken.
pub fn spans_exported(spans: u64) {
    counter!(SPANS).increment(spans);
}

/// Counts spans that were not exported.
pub fn spans_dropped(reason: &'static str, spans: u64) {
    counter!(SPANS_DROPPED, "reason" => reason).increment(spans);
}

/// Counts a worker thread that is stuck.
pub fn worker_stalled() {
    counter!(STALLS).increment(1);
}

/// Sets the longest time that a worker thread was stuck.
pub fn longest_stall(lasted: Duration) {
    gauge!(LONGEST_STALL).set(lasted.as_secs_f64());
}

/// Counts a connection that was dropped without a close.
pub fn connection_dropped() {
    counter!(DROPPED).increment(1);
}

/// Counts a panic that was caught.
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
