//! Requests to the admin listener, and bugs that the gateway reports.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::Gateway;
use crate::DEADLINE;

/// Log lines that report a bug.
const BUGS: [&str; 2] = [
    "\"message\":\"a connection was dropped without being closed",
    "\"message\":\"panic: ",
];

/// Log line after which the gateway drops its connections, as it was told.
const TOLD_TWICE: &str = "a second signal: stopping at once";

impl Gateway {
    /// Sends a request to the admin listener, which must be configured on port 0. `request` is the
    /// request line, with further headers than `Host` if needed. Returns the status and the body.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn admin(&self, request: &str) -> (u16, String) {
        ask(self.admin_address(), request).expect("an answer")
    }

    /// Address of the admin listener, which must be configured on port 0.
    ///
    /// # Panics
    /// If the gateway does not run.
    pub fn admin_address(&self) -> SocketAddr {
        let address = self.output.find("the admin listener", admin_address);
        address.expect("the gateway runs")
    }

    /// Address of the probe listener, which must be configured on port 0.
    ///
    /// # Panics
    /// If the gateway does not run.
    pub fn probe_address(&self) -> SocketAddr {
        let listening = |line: &str| address_of("probes listening", line);
        let address = self.output.find("the probe listener", listening);
        address.expect("the gateway runs")
    }

    /// Value of a metric, by its name and labels, from the admin listener; zero if it is absent.
    ///
    /// # Panics
    /// If there is no metric of this name.
    pub fn metric(&self, sample: &str) -> f64 {
        let (name, _) = sample.split_once('{').unwrap_or((sample, ""));
        let mut known = base::metrics::ALL.iter();
        assert!(known.any(|metric| metric.name == name), "no metric {name}");
        let (_, metrics) = self.admin("GET /metrics");
        find_metric(&metrics, sample).unwrap_or_default()
    }

    /// Log lines that report bugs.
    pub(super) fn bugs(&self) -> Vec<String> {
        let lines = self.output.lines();
        let orderly = lines.iter().take_while(|line| !line.contains(TOLD_TWICE));
        let bugs = orderly.filter(|line| BUGS.iter().any(|bug| line.contains(bug)));
        bugs.cloned().collect()
    }

    /// Counters of bugs that are not zero, if the gateway runs and has an admin listener.
    pub(super) fn counted_bugs(&self) -> Vec<String> {
        let lines = self.output.lines();
        let admin = lines.iter().find_map(|line| admin_address(line));
        let answer = admin.and_then(|admin| ask(admin, "GET /metrics").ok());
        let Some((200, metrics)) = answer else {
            return Vec::new();
        };
        let counters = ["sluice_connections_dropped_total", "sluice_panics_total"];
        counters
            .into_iter()
            .map(|name| format!("{name} {:?}", find_metric(&metrics, name)))
            .filter(|counted| !counted.ends_with("Some(0.0)"))
            .collect()
    }
}

fn admin_address(line: &str) -> Option<SocketAddr> {
    address_of("admin listening", line)
}

/// Address in a log line with this message.
fn address_of(message: &str, line: &str) -> Option<SocketAddr> {
    let event: Value = serde_json::from_str(line).ok()?;
    let listening = event["message"] == message;
    listening.then(|| event["address"].as_str()?.parse().ok())?
}

fn ask(admin: SocketAddr, request: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let (line, headers) = request.split_once("\r\n").unwrap_or((request, ""));
    let head =
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let parsed = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    });
    parsed.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn find_metric(metrics: &str, sample: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}
