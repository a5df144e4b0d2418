//! Which components are loaded, and that they are compiled once.

use std::path::Path;

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::token;

fn check(config: &Config) -> command::Done {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, config.to_string()).unwrap();
    command::check(&file)
}

fn compiled(data: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(data.join("components")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "cwasm")
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_component_that_is_not_the_pinned_one_is_named_with_the_line_to_write() {
    let wrong = "0".repeat(64);
    let config = Config::ingest().set("policies.auth", "sha256", json!(wrong));
    let done = check(&config);
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(
        done.stderr
            .contains("policy \"auth\" is pinned to another component"),
        "{done:?}"
    );
    // The report is folded to a width.
    let report: String = done.stderr.split_whitespace().collect();
    let line = report.split("sha256=\"").nth(2).expect("the line to write");
    let digest = &line[..64];
    let config = Config::ingest().set("policies.auth", "sha256", json!(digest));
    assert_eq!(check(&config).status, Some(0));
    let config = config.set("policies.auth", "sha256", json!(format!("sha256:{digest}")));
    assert_eq!(check(&config).status, Some(0));
    let done = check(&config.set("policies.auth", "sha256", json!("abc")));
    assert!(done.stderr.contains("is not a SHA-256 digest"), "{done:?}");
}

#[test]
fn a_second_start_compiles_nothing_and_what_was_tampered_with_is_compiled_again() {
    let config = Config::ingest();
    let mut gateway = Gateway::start(&config);
    let files = compiled(&gateway.data());
    assert_eq!(files.len(), 3, "{files:?}");
    gateway.signal(Signal::TERM);
    gateway.wait();
    let kept: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();

    // What is there is used: it is neither made anew nor complained about.
    let inode =
        |file: &Path| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(file).unwrap());
    let before: Vec<_> = files.iter().map(|file| inode(file)).collect();
    gateway.start_again();
    assert_eq!(
        files.iter().map(|file| inode(file)).collect::<Vec<_>>(),
        before
    );
    gateway.signal(Signal::TERM);
    gateway.wait();

    let mut bad = kept[0].clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&files[0], &bad).unwrap();
    gateway.start_again();
    gateway.output().find("the warning", |line| {
        line.contains("is invalid, and is removed").then_some(())
    });
    assert_ne!(std::fs::read(&files[0]).unwrap(), bad);
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
    client.handshake();
    client.expect_ack();
}
