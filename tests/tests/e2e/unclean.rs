//! An unclean stop, as the next start notices it.

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::Client;
use sluice_tests::config::Config;
use sluice_tests::eventually;
use sluice_tests::gateway::Gateway;

fn config() -> Config {
    Config::ingest().set("server", "admin_listen", json!("127.0.0.1:0"))
}

fn status(gateway: &Gateway) -> Value {
    let (code, body) = gateway.admin("GET /status");
    assert_eq!(code, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

fn file(gateway: &Gateway) -> PathBuf {
    gateway.data().join("gateway.running")
}

fn noted(gateway: &Gateway, session: &str) {
    let file = file(gateway);
    eventually("the session in the file", || {
        let text = std::fs::read_to_string(&file).ok()?;
        text.contains(session).then_some(())
    });
}

#[test]
fn a_start_tells_which_sessions_the_unclean_stop_before_it_has_cut() {
    let mut gateway = Gateway::start(&config());
    assert_eq!(status(&gateway)["unclean_stop"], Value::Null);
    let (_client, session) = Client::stream_of(&gateway, "m1", "u-1");
    noted(&gateway, &session);
    let instance = status(&gateway)["instance"].clone();
    let recording = gateway.recording();
    gateway.kill();
    gateway.start_again();
    let unclean = &status(&gateway)["unclean_stop"];
    assert_eq!(unclean["instance"], instance);
    assert_eq!(unclean["sessions"], 1);
    let cut = &unclean["cut"][0];
    assert_eq!(cut["session"], json!(session));
    assert_eq!(cut["user"], "u-1");
    assert_eq!(cut["meeting"], "m1");
    assert_eq!(cut["route"], "ingest");
    let file_name = recording
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    assert!(
        cut["recording"]
            .as_str()
            .expect("a file")
            .ends_with(&file_name),
        "{cut}"
    );
    for part in [
        "the gateway before this one has not stopped cleanly",
        &session,
    ] {
        let said = gateway
            .output()
            .find("the unclean stop", |line| line.contains(part).then_some(()));
        said.expect("the gateway runs");
    }
    // A clean stop clears it.
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(!file(&gateway).exists());
    gateway.start_again();
    assert_eq!(status(&gateway)["unclean_stop"], Value::Null);
}

#[test]
fn a_gateway_that_is_told_twice_to_stop_has_not_stopped_cleanly() {
    let mut gateway = Gateway::start(&config());
    let (_client, session) = Client::stream_of(&gateway, "m1", "u-1");
    noted(&gateway, &session);
    gateway.signal(Signal::TERM);
    let draining = gateway.output().find("the drain", |line| {
        line.contains("\"draining\"").then_some(())
    });
    draining.expect("the gateway runs");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    gateway.start_again();
    assert_eq!(
        status(&gateway)["unclean_stop"]["cut"][0]["session"],
        json!(session)
    );
}

#[test]
fn a_file_of_the_run_before_that_cannot_be_read_says_so_and_stops_nothing() {
    let mut gateway = Gateway::start(&config());
    gateway.kill();
    std::fs::write(file(&gateway), "{\"instance\":").expect("a file");
    gateway.start_again();
    let unclean = &status(&gateway)["unclean_stop"];
    assert_eq!(unclean["instance"], Value::Null);
    assert_eq!(unclean["sessions"], 0);
}
