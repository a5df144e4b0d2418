//! Table of all metrics: name, type, labels and help text.

use super::names::*;

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricType {
    /// Value that only grows.
    Counter,
    /// Value that goes up and down.
    Gauge,
    /// Samples, counted in buckets.
    Histogram,
}

/// Description of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name in Prometheus.
    pub name: &'static str,
    /// Type of the metric.
    pub kind: MetricType,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// Help text.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricType,
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
pub const ALL: [Metric; 91] = [
    metric(
        BUILD_INFO,
        MetricType::Gauge,
        &["version", "instance"],
        "Always 1: the version, and the id of this run in logs and in the decision record",
    ),
    metric(
        ACCEPTED,
        MetricType::Counter,
        &[],
        "Upgrades that were answered 101",
    ),
    metric(
        LIVE,
        MetricType::Gauge,
        &[],
        "Connections between their 101 and the end of their socket",
    ),
    metric(
        SESSIONS,
        MetricType::Gauge,
        &["route", "stage"],
        "Live connections and parked streams, by the stage that they are in",
    ),
    metric(
        LIVE_RECEIVED,
        MetricType::Gauge,
        &[],
        "Bytes of BINARY payload that live connections have received",
    ),
    metric(
        LIVE_SENT,
        MetricType::Gauge,
        &[],
        "Bytes of payload from upstreams that live connections have been sent",
    ),
    metric(
        CONNECTIONS_LIMIT,
        MetricType::Gauge,
        &[],
        "Connections that can be admitted at once: `max_connections`, or fewer where descriptors are scarce",
    ),
    metric(
        PARKED_LIMIT,
        MetricType::Gauge,
        &[],
        "Streams that can be parked at once: `max_parked`, or fewer where descriptors are scarce",
    ),
    metric(
        STORE_FAILURES,
        MetricType::Counter,
        &[],
        "Transactions of the store of streams that failed: streams that begin then cannot be resumed",
    ),
    metric(
        RESTORED,
        MetricType::Counter,
        &["result"],
        "Streams of the earlier process that this one found in its store: restored, complete, or lost",
    ),
    metric(
        ADMISSION_SECONDS,
        MetricType::Histogram,
        &["stage"],
        "How long a stage before the stream took: connect, handshake (with the wait for the client) or open",
    ),
    metric(
        ACCEPT_WAITS,
        MetricType::Counter,
        &[],
        "Times that accepting waited because all `max_connections` and `max_refusals` were in use",
    ),
    metric(
        PUSHED_OUT,
        MetricType::Counter,
        &[],
        "Connections closed before their upgrade to make room: their address had too many such",
    ),
    metric(
        HTTP_REFUSED,
        MetricType::Counter,
        &["status"],
        "Requests that were answered 400, 405, 426 or 431, and not 101",
    ),
    metric(
        TLS_FAILURES,
        MetricType::Counter,
        &["reason"],
        "TLS handshakes that failed: late, ended, not-tls, incompatible, certificate-rejected, alert, client-certificate-missing, -refused, -revoked, revocation-list-expired or other",
    ),
    metric(
        PROXY_FAILURES,
        MetricType::Counter,
        &["reason"],
        "Connections closed for want of a PROXY header: untrusted, malformed, too-long, late or ended",
    ),
    metric(
        CLOSES,
        MetricType::Counter,
        &["cause", "code", "closed_by"],
        "Connections that ended",
    ),
    metric(
        DELIVERIES,
        MetricType::Counter,
        &["delivery"],
        "What became of the Close: confirmed, sent, not-read or failed",
    ),
    metric(
        DECISIONS,
        MetricType::Counter,
        &["policy", "outcome"],
        "Policy calls: accept, reject, unanswered, client-fault, abandoned, trap, busy, quarantined or limit-*",
    ),
    metric(
        POLICY_SECONDS,
        MetricType::Histogram,
        &["policy", "hook"],
        "How long a policy call took, its wait for a slot included",
    ),
    metric(
        QUARANTINES,
        MetricType::Counter,
        &["policy"],
        "Times that a policy was put in quarantine",
    ),
    metric(
        SHADOWS,
        MetricType::Counter,
        &["policy", "result"],
        "What shadows said beside who decided: agree, differ, failed or skipped",
    ),
    metric(
        UNRECORDED,
        MetricType::Counter,
        &["reason"],
        "Decisions that were made and not recorded: queue-full, source-quota, disk or writer-gone",
    ),
    metric(
        RECEIVED,
        MetricType::Counter,
        &[],
        "Bytes of BINARY payload that ended connections had received",
    ),
    metric(
        SENT,
        MetricType::Counter,
        &[],
        "Bytes of payload from upstreams that ended connections had been sent",
    ),
    metric(
        UNKNOWN,
        MetricType::Counter,
        &[],
        "Client messages of an unknown type",
    ),
    metric(
        UPSTREAM_LOST,
        MetricType::Counter,
        &["upstream"],
        "Connections to a backend that were lost and whose streams were held",
    ),
    metric(
        UPSTREAM_RESTORED,
        MetricType::Counter,
        &["upstream"],
        "Held streams that went on at their backend",
    ),
    metric(
        UPSTREAM_GIVEN_UP,
        MetricType::Counter,
        &["upstream"],
        "Held streams that ended because their backend did not come back, or refused them",
    ),
    metric(
        UPSTREAM_RESTS,
        MetricType::Counter,
        &["upstream"],
        "Times that an address of a backend was left alone because it kept failing",
    ),
    metric(
        UPSTREAM_UP,
        MetricType::Gauge,
        &["upstream"],
        "1 if an upstream of a route can take streams, as `/readyz` says; 0 if not",
    ),
    metric(
        UPSTREAM_ADDRESSES,
        MetricType::Gauge,
        &["upstream", "state"],
        "Addresses of a backend that are in-use, rests or probed",
    ),
    metric(
        DIAL_SECONDS,
        MetricType::Histogram,
        &["upstream"],
        "How long it took until a backend answered the upgrade with 101",
    ),
    metric(
        DIAL_FAILURES,
        MetricType::Counter,
        &["upstream"],
        "Times that no address of a backend took a stream",
    ),
    metric(
        TEE_GIVEN_UP,
        MetricType::Counter,
        &["upstream", "half"],
        "Streams with `tee` that lost a half: recording (only relayed) or backend (only recorded)",
    ),
    metric(
        UPSTREAM_HELD,
        MetricType::Gauge,
        &["upstream"],
        "Bytes that held streams of a backend have in files",
    ),
    metric(
        CLUSTER_CONNECTED,
        MetricType::Gauge,
        &[],
        "1 while the gateway is connected to NATS, 0 while it is not or has no [cluster]",
    ),
    metric(
        CLUSTER_WRITES,
        MetricType::Counter,
        &["result"],
        "Attempts to write to NATS: stored, lost to another write, busy, refused, or unknown",
    ),
    metric(
        CLUSTER_WRITE_SECONDS,
        MetricType::Histogram,
        &[],
        "Time from the first attempt of a write to NATS until it is known to be stored",
    ),
    metric(
        CLUSTER_LEASE_AGE,
        MetricType::Gauge,
        &[],
        "Seconds since the gateway's lease in NATS was renewed; from 15 on it admits nobody who claims",
    ),
    metric(
        CLUSTER_LEASES_LOST,
        MetricType::Counter,
        &[],
        "Times that the gateway's lease in NATS ended, so that other gateways could take its claims",
    ),
    metric(
        CLUSTER_CLAIMS,
        MetricType::Counter,
        &["result"],
        "Claims on keys that gateways share: committed, conflict with another gateway, or unknown",
    ),
    metric(
        CLUSTER_CLAIM_SECONDS,
        MetricType::Histogram,
        &[],
        "Time until it is known whether a claim holds at all gateways",
    ),
    metric(
        DISK_FREE,
        MetricType::Gauge,
        &["upstream"],
        "Bytes that were free for an upstream's recordings when the latest one was to begin",
    ),
    metric(
        RECORDINGS,
        MetricType::Counter,
        &["upstream"],
        "Recordings that were begun",
    ),
    metric(
        REMOVED,
        MetricType::Counter,
        &["upstream"],
        "Recordings that `keep_for` or `keep_total` had deleted",
    ),
    metric(
        REMOVED_BYTES,
        MetricType::Counter,
        &["upstream"],
        "Bytes of recordings that `keep_for` or `keep_total` had deleted",
    ),
    metric(
        REMOVAL_FAILURES,
        MetricType::Counter,
        &["upstream"],
        "Times that a recording could not be looked at or deleted, for `keep_for` or `keep_total`",
    ),
    metric(
        CLAIMS,
        MetricType::Gauge,
        &[],
        "Keys that are exclusively claimed",
    ),
    metric(TASKS, MetricType::Gauge, &[], "Tasks of the runtime"),
    metric(
        MEMORY_HELD,
        MetricType::Gauge,
        &[],
        "Bytes that connections make the gateway hold, in steps of 16 KiB each",
    ),
    metric(
        MEMORY_LIMIT,
        MetricType::Gauge,
        &[],
        "Bytes that connections may make the gateway hold: `max_memory`",
    ),
    metric(
        MEMORY_REFUSED,
        MetricType::Counter,
        &["reason"],
        "Connections and parked streams ended because they would hold more: full (all of them) or share (of one holder)",
    ),
    metric(
        INSTANCES,
        MetricType::Gauge,
        &[],
        "WebAssembly modules that are instantiated for policies",
    ),
    metric(
        GENERATION,
        MetricType::Gauge,
        &[],
        "The number of the configuration that newcomers are served with",
    ),
    metric(
        READY,
        MetricType::Gauge,
        &[],
        "1 if `/readyz` says ready; 0 if not",
    ),
    metric(
        KEY_SET_AVAILABLE,
        MetricType::Gauge,
        &["key_set"],
        "1 if the keys that policies verify tokens with are there; 0 if every token is rejected with 4012",
    ),
    metric(
        KEYS,
        MetricType::Gauge,
        &["key_set"],
        "Keys of a key set that can verify tokens",
    ),
    metric(
        KEYS_TIME,
        MetricType::Gauge,
        &["key_set"],
        "Time of the latest answer of the identity provider of a key set; 0 if there was none",
    ),
    metric(
        KEYS_FETCHED,
        MetricType::Gauge,
        &["key_set"],
        "1 if the latest attempt to fetch the keys of an identity provider succeeded; 0 if not",
    ),
    metric(
        KEY_FETCHES,
        MetricType::Counter,
        &["key_set", "result"],
        "Attempts to fetch the keys of an identity provider: fetched (others), unchanged or failed",
    ),
    metric(
        CLOCK_AHEAD,
        MetricType::Gauge,
        &["key_set"],
        "How far the clock of the issuer is ahead of the gateway's at least, by its tokens of the latest minutes",
    ),
    metric(
        LIST_ENTRIES,
        MetricType::Gauge,
        &["list"],
        "Entries of a list that policies look things up in",
    ),
    metric(
        LIST_READS,
        MetricType::Counter,
        &["list", "result"],
        "Changes of the file of a list: read, or refused while the earlier entries stay in use",
    ),
    metric(
        NOTICES,
        MetricType::Counter,
        &["policy", "result"],
        "Notices of policies to clients: `sent`, or `dropped` as too many, with a refusal, or because the \
         client was gone",
    ),
    metric(
        POLICY_COUNTED,
        MetricType::Counter,
        &["policy", "name", "label"],
        "What policies count: `_beyond` has what found no room among the 64 series of a policy, \
         which hold until a restart",
    ),
    metric(
        DESTINATION_QUESTIONS,
        MetricType::Counter,
        &["destination", "result"],
        "Questions of policies to a destination, by where the answer comes from (service, shared, cache or stale) or why there is none",
    ),
    metric(
        DESTINATION_SECONDS,
        MetricType::Histogram,
        &["destination"],
        "Time of a request to a destination, answered or not",
    ),
    metric(
        DESTINATION_BREAKER,
        MetricType::Gauge,
        &["destination"],
        "1 while a destination is not asked because it keeps failing; 0 otherwise",
    ),
    metric(
        RENEWALS,
        MetricType::Counter,
        &["result"],
        "Tokens that clients have sent while they stream: renewed or refused",
    ),
    metric(
        CERTIFICATE_EXPIRY,
        MetricType::Gauge,
        &["listener"],
        "Time when the certificate of a listener expires: clients or admin",
    ),
    metric(
        LIST_EXPIRY,
        MetricType::Gauge,
        &["listener"],
        "Time when the first of the revocation lists for certificates of clients expires",
    ),
    metric(
        REVOCATIONS,
        MetricType::Gauge,
        &[],
        "Users and tenants who are refused for a time",
    ),
    metric(
        RESTART_PENDING,
        MetricType::Gauge,
        &[],
        "1 if options differ from those of the start, and take effect after a restart; 0 if not",
    ),
    metric(
        RELOAD_SUCCESSFUL,
        MetricType::Gauge,
        &[],
        "1 if the latest reload, or the start, was taken up; 0 if it was refused",
    ),
    metric(
        RELOAD_TIME,
        MetricType::Gauge,
        &[],
        "Time of the latest reload, or of the start",
    ),
    metric(
        RELOADS,
        MetricType::Counter,
        &["result"],
        "Times that the configuration was read again: swapped or refused",
    ),
    metric(
        LOG_LINES_DROPPED,
        MetricType::Counter,
        &["reason"],
        "Log lines that were not written: sampled, queue-full or error",
    ),
    metric(
        SPANS,
        MetricType::Counter,
        &[],
        "Spans that the trace collector has taken",
    ),
    metric(
        SPANS_DROPPED,
        MetricType::Counter,
        &["reason"],
        "Spans that were not exported: queue-full, not-taken or rejected",
    ),
    metric(
        STALLS,
        MetricType::Counter,
        &[],
        "Times that a worker thread was stuck in one step of a task for half a second, not counting the time that it waited for a processor: each is a bug",
    ),
    metric(
        LONGEST_STALL,
        MetricType::Gauge,
        &[],
        "Longest time that a worker thread was stuck in one step of a task",
    ),
    metric(
        DROPPED,
        MetricType::Counter,
        &[],
        "Connections that were dropped without being closed: each is a bug",
    ),
    metric(
        PANICS,
        MetricType::Counter,
        &[],
        "Panics that were survived: each is a bug",
    ),
    metric(
        PROCESS_CPU,
        MetricType::Counter,
        &[],
        "Processor time of the process, in seconds",
    ),
    metric(
        PROCESS_RESIDENT,
        MetricType::Gauge,
        &[],
        "Resident memory of the process",
    ),
    metric(
        PROCESS_VIRTUAL,
        MetricType::Gauge,
        &[],
        "Virtual memory of the process, most of it reserved for policies",
    ),
    metric(
        PROCESS_FDS,
        MetricType::Gauge,
        &[],
        "Open file descriptors of the process",
    ),
    metric(
        PROCESS_MAX_FDS,
        MetricType::Gauge,
        &[],
        "Limit of open file descriptors",
    ),
    metric(
        PROCESS_THREADS,
        MetricType::Gauge,
        &[],
        "Threads of the process",
    ),
    metric(
        PROCESS_START,
        MetricType::Gauge,
        &[],
        "Time of the start of the process",
    ),
];
