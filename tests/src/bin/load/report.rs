//! Tables of measurements.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

/// A table of two columns, in Markdown.
#[derive(Debug, Default)]
pub struct Rows(Vec<(String, String)>);

impl Rows {
    /// Adds a row.
    pub fn add(&mut self, name: impl Into<String>, value: impl Display) {
        self.0.push((name.into(), value.to_string()));
    }

    /// Adds what went wrong, by kind, or that nothing did.
    pub fn add_failures(&mut self, name: &str, failures: &Failures) {
        self.add(name, failures.0.values().sum::<u64>());
        for (kind, count) in &failures.0 {
            self.add(format!("{name}: {kind}"), count);
        }
    }

    /// The table, with its title as the head of the first column.
    pub fn titled(&self, title: &str) -> String {
        let wide = |texts: &mut dyn Iterator<Item = &str>| {
            texts.map(|text| text.chars().count()).max().unwrap_or(0)
        };
        let left = wide(&mut self.0.iter().map(|row| &*row.0).chain([title]));
        let right = wide(&mut self.0.iter().map(|row| &*row.1).chain(["---"]));
        let mut table = format!("| {title:left$} | {:right$} |\n", "");
        table += &format!("| {:-<left$} | {:->right$} |\n", "", ":");
        for (name, value) in &self.0 {
            table += &format!("| {name:left$} | {value:>right$} |\n");
        }
        table
    }
}

/// What went wrong, counted by kind.
#[derive(Debug, Default)]
pub struct Failures(BTreeMap<String, u64>);

impl Failures {
    /// Counts one.
    pub fn count(&mut self, kind: String) {
        *self.0.entry(kind).or_default() += 1;
    }
}

/// Durations, for their distribution.
#[derive(Debug, Default)]
pub struct Latencies(Vec<Duration>);

impl Latencies {
    /// Adds one.
    pub fn add(&mut self, latency: Duration) {
        self.0.push(latency);
    }

    /// The 50th, 90th and 99th percentile and the largest.
    pub fn summary(&mut self) -> String {
        self.0.sort_unstable();
        let at = |part: usize| {
            let index = (self.0.len() * part / 100).min(self.0.len().saturating_sub(1));
            self.0.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
        };
        format!(
            "p50 {:.1}, p90 {:.1}, p99 {:.1}, max {:.1} ms",
            at(50),
            at(90),
            at(99),
            at(100)
        )
    }
}

/// Microseconds of CPU for each of `count` things.
pub fn micros_each(cpu: Duration, count: u64) -> String {
    format!("{:.1} µs", cpu.as_secs_f64() * 1e6 / as_float(count))
}

/// Things in a second.
pub fn per_second(count: u64, took: Duration) -> String {
    format!("{:.0} /s", as_float(count) / took.as_secs_f64())
}

/// CPU in relation to time.
pub fn share(cpu: Duration, took: Duration) -> String {
    format!("{:.0} %", cpu.as_secs_f64() / took.as_secs_f64() * 100.0)
}

/// Bytes in KiB.
pub fn kib(bytes: i64) -> String {
    format!("{:.1} KiB", as_float_signed(bytes) / 1024.0)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "numbers for people, far below 2^52"
)]
pub fn as_float(count: u64) -> f64 {
    count as f64
}

#[allow(
    clippy::cast_precision_loss,
    reason = "numbers for people, far below 2^52"
)]
pub fn as_float_signed(count: i64) -> f64 {
    count as f64
}
