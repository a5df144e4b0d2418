//! Samples that are taken at a scrape. Unlike those that are kept, they are of what there is now: a
//! route that a reload has removed has none.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::table::{ALL, MetricType};

/// Samples of one scrape.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<&'static str, Vec<(String, f64)>>);

impl Samples {
    /// Adds a sample of the metric of this name.
    pub fn add(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = match &*labels {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        self.0.entry(name).or_default().push((labels, value));
    }

    /// Adds a sample that is a whole number.
    pub fn count(&mut self, name: &'static str, labels: &[(&str, &str)], value: u64) {
        // Exact up to 2^53.
        #[allow(clippy::cast_precision_loss, reason = "a sample is a float")]
        self.add(name, labels, value as f64);
    }

    /// The samples in the text format of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, samples) in &self.0 {
            let known = ALL.iter().find(|metric| metric.name == *name);
            if let Some(metric) = known {
                let kind = match metric.kind {
                    MetricType::Counter => "counter",
                    MetricType::Gauge | MetricType::Histogram => "gauge",
                };
                // Writing to a String cannot fail.
                let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help);
            }
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
            text.push('\n');
        }
        text
    }
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{PROCESS_CPU, SESSIONS};

    #[test]
    fn samples_are_grouped_with_their_help_and_labels_are_escaped() {
        let mut samples = Samples::default();
        samples.count(SESSIONS, &[("route", "a\"b\\c\n"), ("stage", "stream")], 3);
        samples.add(PROCESS_CPU, &[], 1.5);
        samples.count(SESSIONS, &[("route", ""), ("stage", "close")], 0);
        let text = samples.render();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[1].ends_with("TYPE process_cpu_seconds_total counter"),
            "{text}"
        );
        assert_eq!(lines[2], "process_cpu_seconds_total 1.5");
        assert!(lines[5].ends_with("TYPE sluice_sessions gauge"), "{text}");
        assert_eq!(
            lines[6..8],
            [
                r#"sluice_sessions{route="a\"b\\c\n",stage="stream"} 3"#,
                r#"sluice_sessions{route="",stage="close"} 0"#,
            ]
        );
    }
}
