//! The tables of the README are what the code says.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

use std::collections::BTreeSet;
use std::path::Path;

use base::metrics::{ALL, Kind};

const README: &str = include_str!("../../../README.md");
const SAMPLE_RATE: &str = include_str!("../../../plugins/sample-rate/src/lib.rs");
const EXAMPLE: &str = include_str!("../../sluice.example.toml");

/// The lines of a table under a heading, without its head.
fn table(heading: &str) -> Vec<&'static str> {
    let (_, section) = README.split_once(heading).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section
        .lines()
        .skip_while(|line| !line.starts_with("| --- "))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect()
}

fn ticked(line: &str) -> Vec<String> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_stands_in_the_readme_as_it_is() {
    let rows: Vec<String> = ALL
        .iter()
        .map(|metric| {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            let labels: Vec<_> = metric
                .labels
                .iter()
                .map(|label| format!("`{label}`"))
                .collect();
            format!(
                "| `{}` | {kind} | {} | {} |",
                metric.name,
                labels.join(", "),
                metric.help
            )
            .replace("|  |", "| |")
        })
        .collect();
    assert_eq!(table("## Metrics"), rows);
}

#[test]
fn every_option_stands_in_the_readme_and_no_other() {
    let mut options = BTreeSet::new();
    let mut section = "";
    for line in EXAMPLE.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        if line.starts_with('[') {
            section = line;
        } else if let Some((key, _)) = bare.split_once(" = ")
            && key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && !section.ends_with(".config]")
        {
            options.insert(key.to_owned());
        }
    }
    // A section of its own in the example.
    options.insert("config".to_owned());
    let shown: BTreeSet<String> = table("## Configuration")
        .iter()
        .flat_map(|line| {
            let (_, listed) = line[1..].split_once('|').unwrap();
            ticked(listed)
        })
        .filter(|word| !matches!(word.as_str(), "wav" | "websocket" | "echo" | "discard"))
        .collect();
    assert_eq!(shown, options);
}

#[test]
fn the_policy_that_is_quoted_is_the_real_one() {
    let (_, section) = README.split_once("## Write a policy").unwrap();
    let (_, quoted) = section.split_once("```rust\n").unwrap();
    let (quoted, _) = quoted.split_once("```").unwrap();
    assert!(quoted.lines().count() > 10, "{quoted}");
    assert!(SAMPLE_RATE.contains(quoted), "{quoted}");
    // The whole of it, but for what it uses.
    let (_, whole) = SAMPLE_RATE.split_once("\n\nstruct ").unwrap();
    assert_eq!(format!("struct {whole}"), quoted);
}

/// A promise is worth what its test is worth, and a test that has gone holds none.
#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let page = include_str!("../../../.github/SECURITY.md");
    let (_, promises) = page.split_once("## Promises").unwrap();
    let (promises, _) = promises.split_once("\n## ").unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tests/e2e");
    let mut sources = String::new();
    for entry in std::fs::read_dir(tests).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            sources += &std::fs::read_to_string(path).unwrap();
        }
    }
    let rows = promises
        .lines()
        .filter(|line| line.starts_with("| "))
        .skip(2);
    let named: Vec<String> = rows.flat_map(ticked).collect();
    assert!(named.len() > 15, "{named:?}");
    for test in named {
        assert!(
            sources.contains(&format!("fn {test}(")),
            "there is no test {test}"
        );
    }
}
