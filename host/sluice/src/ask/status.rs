//! `sluice status`: the gateway as a whole.

use std::process::ExitCode;

use anyhow::Context as _;

use super::admin::AdminListener;
use super::table::{bytes, duration, list};
use super::{StatusArgs, print};
use crate::schema::{
    Answer, Capacity, Certificate, ClusterGateway, ClusterStatus, DecisionRecord, KeySet, Status,
    UncleanStop,
};

/// Prints the status.
///
/// # Errors
/// If the gateway does not answer.
pub async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let listener = AdminListener::of(&args.admin)?;
    let answer = listener.get::<Status>(&["status"], &[]).await?;
    let answer = answer.context("the gateway is older than this sluice, and has no status")?;
    print(args.admin.output(), &answer, show)
}

fn show(answer: &Answer<Status>) -> String {
    let Status {
        version,
        started,
        uptime_ms,
        generation,
        draining,
        checks,
        connections,
        capacity,
        claims,
        memory_held_bytes,
        refusals_kept,
        missing_keys,
        key_sets,
        certificates,
        decision_record,
        needs_restart,
        unclean_stop,
        last_reload,
        cluster,
    } = &answer.body;
    let serving = if *draining { "draining" } else { "serving" };
    let failed = checks.iter().filter_map(|check| {
        let reason = check.reason.as_deref()?;
        Some(("not ready", format!("{}: {reason}", check.name)))
    });
    let files = match &*last_reload.changed_files {
        [] => String::new(),
        files => format!(", changed: {}", files.join(", ")),
    };
    let options = [
        ("new", &last_reload.added),
        ("gone", &last_reload.removed),
        ("changed", &last_reload.changed),
    ];
    let options = options.iter().filter(|(_, names)| !names.is_empty());
    let options = options.map(|(word, names)| format!("{word}: {}", names.join(", ")));
    let mut rows = vec![
        (
            "gateway",
            format!("{serving}, version {version}, instance {}", answer.instance),
        ),
        (
            "started",
            format!("{started}, {} ago", duration(*uptime_ms)),
        ),
        (
            "connections",
            format!(
                "{} live, {} of them streaming, {} parked (at most {} and {})",
                connections.live,
                connections.streaming,
                connections.parked,
                capacity.connections_limit,
                capacity.parked_limit
            ),
        ),
        ("claims", claims.to_string()),
        (
            "memory held",
            format!(
                "{} of {}",
                bytes(*memory_held_bytes),
                bytes(capacity.memory_limit_bytes)
            ),
        ),
        ("descriptors", descriptors(capacity)),
        ("refusals kept", refusals_kept.to_string()),
        ("missing keys", missing_keys.join(", ")),
        ("fetched keys", fetched(key_sets)),
        ("clocks", clocks(key_sets)),
        ("certificates", expiries(certificates)),
        ("decision record", record(decision_record)),
        ("generation", generation.to_string()),
        (
            "last reload",
            format!(
                "{} by {} at {}{files}",
                last_reload.result, last_reload.trigger, last_reload.at
            ),
        ),
        ("its options", options.collect::<Vec<_>>().join("; ")),
        ("report", last_reload.report.clone().unwrap_or_default()),
        ("needs a restart", needs_restart.join(", ")),
        (
            "unclean stop",
            unclean_stop.as_ref().map(unclean).unwrap_or_default(),
        ),
    ];
    if let Some(cluster) = cluster {
        rows.push(("NATS", connection(cluster)));
        rows.push(("lease", lease(cluster)));
        rows.extend(cluster.gateways.iter().map(|it| ("gateway", neighbour(it))));
    }
    rows.splice(1..1, failed);
    list(&rows)
}

/// Connection to NATS, in a line.
fn connection(cluster: &ClusterStatus) -> String {
    let word = if cluster.connected {
        "connected"
    } else {
        "not connected"
    };
    let ClusterStatus {
        since,
        pending_writes,
        ..
    } = cluster;
    format!("{word} since {since}, {pending_writes} writes not acknowledged")
}

/// Lease of this gateway, in a line.
fn lease(cluster: &ClusterStatus) -> String {
    match cluster.lease_age_ms {
        Some(age) => format!("{}, renewed {} ago", cluster.lease, duration(age)),
        None => cluster.lease.clone(),
    }
}

/// Gateway that has a lease, in a line.
fn neighbour(gateway: &ClusterGateway) -> String {
    let ClusterGateway {
        instance,
        host,
        version,
        lease,
        renewed,
        sessions,
        claims,
    } = gateway;
    format!(
        "{instance} on {host}, version {version}, {sessions} sessions, {claims} claims, \
         lease {lease}, renewed at {renewed}"
    )
}

/// Open file descriptors; empty where the system does not tell.
fn descriptors(capacity: &Capacity) -> String {
    match (capacity.open_descriptors, capacity.descriptors_limit) {
        (Some(open), Some(limit)) => format!("{open} of {limit}"),
        (Some(open), None) => format!("{open}, without a limit"),
        (None, _) => String::new(),
    }
}

/// Clocks of the issuers whose tokens came in the latest minutes, in a line.
fn clocks(key_sets: &[KeySet]) -> String {
    let seen = key_sets.iter().filter(|set| set.clock.tokens > 0);
    let said = seen.map(|KeySet { name, clock, .. }| {
        let difference = match (clock.ahead_ms, clock.youngest_ms) {
            (0, None) => "no token says when it was issued".to_owned(),
            (0, Some(age)) => format!("youngest token {} old", duration(age)),
            (ahead, _) => format!("{} ahead of this machine's", duration(ahead)),
        };
        let mut counts = vec![format!("{} tokens", clock.tokens)];
        for (count, what) in [
            (clock.expired, "expired"),
            (clock.not_yet_valid, "not yet valid"),
        ] {
            if count > 0 {
                counts.push(format!("{count} {what}"));
            }
        }
        format!("{name}: {difference} ({})", counts.join(", "))
    });
    said.collect::<Vec<_>>().join("; ")
}

/// Certificates with the times when they expire, in a line.
fn expiries(certificates: &[Certificate]) -> String {
    let said = certificates.iter().map(|certificate| {
        let expires = certificate.expires.as_deref().unwrap_or("an unknown time");
        let list = certificate.revocation_list_expires.as_deref();
        let list = list.map_or_else(String::new, |at| format!(", revocation list until {at}"));
        format!("{} until {expires}{list}", certificate.listener)
    });
    said.collect::<Vec<_>>().join("; ")
}

/// The record of decisions, in a line.
fn record(record: &DecisionRecord) -> String {
    let mut said = record.state.clone();
    if let Some(error) = &record.error {
        said += &format!(": {error}");
    }
    if record.unrecorded > 0 {
        said += &format!(", {} decisions are not in it", record.unrecorded);
    }
    said
}

/// The unclean stop before this run, in a line.
fn unclean(stop: &UncleanStop) -> String {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    format!(
        "instance {}, last seen at {}, cut {} {}",
        known(&stop.instance),
        known(&stop.seen),
        stop.sessions,
        if stop.sessions == 1 {
            "session"
        } else {
            "sessions"
        }
    )
}

/// Key sets of identity providers, in a line.
fn fetched(key_sets: &[KeySet]) -> String {
    let mut said = Vec::new();
    for set in key_sets.iter().filter(|set| set.source == "provider") {
        let at = set.fetched.as_deref().unwrap_or("never");
        let failed = set.error.as_deref();
        let failed = failed.map_or_else(String::new, |error| format!(", then failed: {error}"));
        said.push(format!("{} ({} keys, {at}{failed})", set.name, set.keys));
    }
    said.join("; ")
}
