//! The pages are true: their tables are what the code says, and their links and paths lead somewhere.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use base::metrics::{ALL, MetricType};
use clap::{Command, CommandFactory as _};
use serde::{Deserialize, Serialize};
use sluice::cli::Cli;
use sluice::schema;

const README: &str = include_str!("../../../README.md");
const OPERATE: &str = include_str!("../../docs/operate.md");
const SAMPLE_RATE: &str = include_str!("../../../plugins/sample-rate/src/lib.rs");
const EXAMPLE: &str = include_str!("../../sluice.example.toml");

/// The lines of the first table under a heading of the operator's page, without its head.
fn table(heading: &str) -> Vec<&'static str> {
    let (_, section) = OPERATE.split_once(&format!("\n{heading}\n")).unwrap();
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
fn every_metric_stands_in_the_operators_page_as_it_is() {
    let rows: Vec<String> = ALL
        .iter()
        .map(|metric| {
            let kind = match metric.kind {
                MetricType::Counter => "counter",
                MetricType::Gauge => "gauge",
                MetricType::Histogram => "histogram",
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
    assert_eq!(table("### Metrics"), rows);
}

/// Names of the fields of an object, in their order.
fn fields<T: Serialize + Default>() -> Vec<String> {
    let json = serde_json::to_string(&T::default()).unwrap();
    let members = serde_json::from_str::<Members>(&json).unwrap();
    members.0
}

/// Names of an object's members, in their order.
struct Members(Vec<String>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self(Vec::new()))
    }
}

impl<'de> serde::de::Visitor<'de> for Members {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((name, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
            self.0.push(name);
        }
        Ok(self)
    }
}

#[test]
fn every_field_of_the_admin_listeners_answers_stands_in_the_operators_page() {
    let objects = [
        ("status", fields::<schema::Status>()),
        ("unclean", fields::<schema::UncleanStop>()),
        ("cut", fields::<schema::CutSession>()),
        ("check", fields::<schema::Check>()),
        ("key_set", fields::<schema::KeySet>()),
        ("clock", fields::<schema::Clock>()),
        ("connections", fields::<schema::Connections>()),
        ("capacity", fields::<schema::Capacity>()),
        ("certificate", fields::<schema::Certificate>()),
        ("decision_record", fields::<schema::DecisionRecord>()),
        ("cluster", fields::<schema::ClusterStatus>()),
        ("gateway", fields::<schema::ClusterGateway>()),
        ("session", fields::<schema::Session>()),
        ("closed", fields::<schema::Closed>()),
        ("revocation", fields::<schema::Revocation>()),
        ("lifted", fields::<schema::Lifted>()),
        ("policy-changed", fields::<schema::PolicyChanged>()),
        ("draining", fields::<schema::Draining>()),
        ("config-diff", fields::<schema::ConfigDiff>()),
        ("reloaded", fields::<schema::Reloaded>()),
        ("claimed", fields::<schema::Claimed>()),
        ("backend", fields::<schema::Backend>()),
        ("decision", fields::<schema::Decision>()),
        ("refusal", fields::<schema::Refusal>()),
        ("policy", fields::<schema::Policy>()),
        ("upstream", fields::<schema::Upstream>()),
        ("address", fields::<schema::Address>()),
        ("generation", fields::<schema::Generation>()),
        ("recorded", fields::<schema::RecordedDecisions>()),
        ("recordings", fields::<schema::Recordings>()),
        ("recording", fields::<schema::Recording>()),
        ("recording_deleted", fields::<schema::RecordingDeleted>()),
    ];
    let objects = objects.iter().flat_map(|(object, fields)| {
        fields
            .iter()
            .map(move |field| format!("| `{object}` | `{field}` | "))
    });
    let rows = table("### State as JSON");
    let expected: Vec<_> = objects.collect();
    assert_eq!(rows.len(), expected.len(), "{rows:#?}");
    for (row, expected) in rows.iter().zip(expected) {
        let said = row.strip_prefix(&expected);
        assert!(
            said.is_some_and(|said| said.len() > 10),
            "{row}, and not {expected}"
        );
    }
    assert_eq!(schema::SCHEMA, 1, "say it in the page");
}

#[test]
fn every_option_stands_in_the_operators_page_and_no_other() {
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
    // Sections of their own in the example.
    options.extend(["config", "tenants"].map(str::to_owned));
    let shown: BTreeSet<String> = table("### Options")
        .iter()
        .flat_map(|line| {
            let (_, listed) = line[1..].split_once('|').unwrap();
            ticked(listed)
        })
        .filter(|word| {
            !matches!(
                word.as_str(),
                "wav" | "websocket" | "jetstream" | "echo" | "discard"
            )
        })
        .collect();
    assert_eq!(shown, options);
}

#[test]
fn the_policy_that_is_quoted_is_the_real_one() {
    let (_, section) = README.split_once("## A policy").unwrap();
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

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every page, with its path from the root.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = vec![
        PathBuf::from("README.md"),
        PathBuf::from("plugins/README.md"),
    ];
    for folder in ["host/docs", "wit", ".github"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            if path.extension().is_some_and(|end| end == "md") {
                paths.push(path);
            }
        }
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// A page without its blocks of code.
fn prose(page: &str) -> String {
    let mut in_block = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            prose += line;
            prose.push('\n');
        }
    }
    assert!(!in_block, "a block of code has no end");
    prose
}

/// The targets of a page's links.
fn links(prose: &str) -> Vec<&str> {
    let targets = prose.split("](").skip(1);
    targets.filter_map(|rest| rest.split(')').next()).collect()
}

/// What GitHub calls a heading in an address.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c.to_ascii_lowercase()),
        _ => None,
    });
    kept.collect()
}

fn has_heading(page: &str, wanted: &str) -> bool {
    let page = prose(page);
    let mut headings = page.lines().filter(|line| line.starts_with('#'));
    headings.any(|heading| anchor(heading.trim_start_matches('#')) == wanted)
}

#[test]
fn the_readme_is_short() {
    let lines = README.lines().count();
    assert!(
        lines < 200,
        "{lines} lines: what is more belongs into another page"
    );
}

#[test]
fn every_page_is_named_in_the_readme() {
    let linked: Vec<_> = links(README)
        .into_iter()
        .map(|link| link.split('#').next().unwrap_or_default())
        .collect();
    for (path, _) in pages() {
        let name = path.to_str().unwrap();
        assert!(
            name == "README.md" || linked.contains(&name),
            "{name} is not linked"
        );
    }
}

#[test]
fn every_page_says_first_what_you_can_do_after_reading_it() {
    for (path, page) in pages() {
        // The heading, an empty line, and the first lines of prose.
        let beginning: Vec<_> = page.lines().skip(2).take(2).collect();
        let beginning = beginning.join(" ");
        assert!(
            beginning.to_lowercase().contains("after reading this page"),
            "{}: {beginning}",
            path.display()
        );
    }
}

#[test]
fn every_link_leads_to_what_is_there() {
    let mut followed = 0;
    for (path, page) in pages() {
        let page = prose(&page);
        for link in links(&page) {
            if link.contains("://") {
                continue;
            }
            followed += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&path),
                file => root().join(path.parent().unwrap()).join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                assert!(
                    has_heading(&text, heading),
                    "{}: there is no heading for {link}",
                    path.display()
                );
            }
        }
    }
    assert!(followed > 30, "{followed} links");
}

/// Whether a word is the path of something in the tree, as it stands there.
fn is_path(word: &str) -> bool {
    let folders = ["host/", "plugins/", "wit/", "tests/", ".github/", ".ci/"];
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    folders.iter().any(|folder| word.starts_with(folder)) && word.chars().all(is_plain)
}

#[test]
fn every_path_that_is_named_is_there() {
    let mut named = 0;
    for (path, page) in pages() {
        let page = prose(&page);
        let spans = page.split('`').skip(1).step_by(2);
        for word in spans
            .flat_map(str::split_whitespace)
            .filter(|word| is_path(word))
        {
            named += 1;
            assert!(
                root().join(word).exists(),
                "{}: there is no {word}",
                path.display()
            );
        }
    }
    assert!(named > 40, "{named} paths");
}

/// What is wrong with the usage of a command as a page writes it.
fn mistake(usage: &str) -> Option<String> {
    let bare = usage.replace(['[', ']', '…'], " ").replace("\\|", "|");
    let mut words = bare.split_whitespace().peekable();
    if words.next() != Some("sluice") {
        return Some("it is no command of sluice".to_owned());
    }
    let mut command = Cli::command();
    command.build();
    let mut command = &command;
    while let Some(inner) = words.peek().and_then(|word| command.find_subcommand(word)) {
        command = inner;
        words.next();
    }
    if command.has_subcommands() {
        return Some(format!("`{}` needs a subcommand", command.get_name()));
    }
    while let Some(word) = words.next() {
        let names_value = |argument: &&clap::Arg| {
            let names = argument.get_value_names().unwrap_or_default();
            names.iter().any(|name| name.as_str() == word)
        };
        let Some(long) = word.strip_prefix("--") else {
            if command
                .get_positionals()
                .any(|argument| names_value(&argument))
            {
                continue;
            }
            return Some(format!("it takes no {word}"));
        };
        let mut arguments = command.get_arguments();
        let Some(option) = arguments.find(|argument| argument.get_long() == Some(long)) else {
            return Some(format!("it has no option {word}"));
        };
        if !option.get_action().takes_values() {
            continue;
        }
        let values = option.get_possible_values();
        let value = words.next().unwrap_or_default();
        let is_value = if values.is_empty() {
            let names = option.get_value_names().unwrap_or_default();
            names.iter().any(|name| name.as_str() == value)
        } else {
            values
                .iter()
                .map(clap::builder::PossibleValue::get_name)
                .eq(value.split('|'))
        };
        if !is_value {
            return Some(format!("{word} does not take {value}"));
        }
    }
    None
}

/// The commands of a table, as they are written.
fn usages(rows: &[&str]) -> Vec<String> {
    let first = |row: &&str| ticked(row).into_iter().next().unwrap();
    rows.iter().map(first).collect()
}

/// Every command that does something, as one has to type it.
fn commands(command: &Command, name: &str, found: &mut Vec<String>) {
    for inner in command.get_subcommands() {
        let name = format!("{name} {}", inner.get_name());
        if inner.has_subcommands() {
            commands(inner, &name, found);
        } else if !inner.is_hide_set() {
            found.push(name);
        }
    }
}

#[test]
fn every_command_of_the_table_is_there_with_these_options_and_no_other_is() {
    let usages = usages(&table("### Commands"));
    for usage in &usages {
        assert_eq!(mistake(usage), None, "{usage}");
    }
    let mut all = Vec::new();
    commands(&Cli::command(), "sluice", &mut all);
    for command in all {
        let is_shown = |usage: &String| {
            let rest = usage.strip_prefix(&command);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        assert!(usages.iter().any(is_shown), "{command} is not in the table");
    }
}

#[test]
fn every_command_of_the_kits_table_is_there_with_these_options() {
    let guide = include_str!("../../../plugins/README.md");
    let rows: Vec<_> = guide
        .lines()
        .filter(|line| line.starts_with("| `sluice "))
        .collect();
    assert!(rows.len() > 5, "{rows:?}");
    for usage in usages(&rows) {
        assert_eq!(mistake(&usage), None, "{usage}");
    }
}

#[test]
fn a_usage_that_is_wrong_is_seen() {
    for wrong in [
        "sluice serv",
        "sluice policy",
        "sluice serve --confg FILE",
        "sluice serve --config DIR",
        "sluice serve FILE",
        "sluice stream FILE.wav --fast URL",
        "sluice policy new NAME --lang rust|js",
    ] {
        assert!(mistake(wrong).is_some(), "{wrong}");
    }
}
