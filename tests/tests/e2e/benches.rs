//! The load generator runs in each of its modes against the gateway as it is. What it measures here
//! says nothing: that takes a release build and a quiet machine.

use std::process::Command;

use sluice_tests::command;

/// Runs a mode, and returns its report.
fn report(arguments: &str) -> String {
    let mut load = Command::new(command::load());
    let output = load.args(arguments.split(' ')).output().unwrap();
    let (report, said) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{arguments}: {report}\n{said}");
    report
}

/// The value of a row of the report.
fn row<'a>(report: &'a str, name: &str) -> &'a str {
    let cells = report.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        Some((cells.next()?, cells.next()?))
    });
    let mut values = cells.filter(|(named, _)| *named == name);
    let found = values.next();
    found
        .unwrap_or_else(|| panic!("no row `{name}`:\n{report}"))
        .1
}

#[test]
fn streams_in_real_time_are_measured() {
    let report = report("stream --streams 4 --seconds 1");
    assert_eq!(row(&report, "streams admitted"), "4");
}

#[test]
fn idle_connections_are_measured() {
    let report = report("idle --at 2,6");
    assert_eq!(row(&report, "connections dropped"), "0");
}

#[test]
fn connections_that_come_and_go_are_measured() {
    let report = report("churn --cycles 16 --workers 4 --warm-up 4");
    assert_eq!(row(&report, "cycles that went otherwise"), "0");
}

#[test]
fn an_echo_is_measured() {
    report("echo --connections 2 --seconds 1");
}

#[test]
fn neighbours_of_an_attack_are_measured() {
    report("attack --neighbours 2 --attackers 1 --seconds 1");
}

#[test]
fn a_start_is_measured() {
    report("start --starts 1");
}

#[test]
fn a_relay_is_measured() {
    report("relay --streams 2 --connections 2 --idle 1,2 --seconds 1");
}

#[test]
fn admissions_are_measured_beside_the_floor_and_a_peer() {
    let python = command::root().join("tests/.venv/bin/python");
    let report = report(&format!(
        "admission --clients 2 --cycles 16 --python {}",
        python.display()
    ));
    assert_eq!(row(&report, "connections that went otherwise"), "0");
    for server in ["floor", "Sluice", "FastAPI"] {
        row(&report, &format!("{server}, 2 at once: an admission"));
    }
}
