//! Signals beyond those that stop, and one data folder for one gateway.

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::client::{Client, Event, Library, meeting};
use sluice_tests::command::{self, run};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::Raw;
use sluice_tests::token;

fn refused(gateway: &Gateway) -> serde_json::Value {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting("m1", "mic", "nonsense"));
    peer.message()["session_id"].take()
}

#[test]
fn a_record_that_was_put_aside_goes_on_in_a_new_file() {
    let config = Config::ingest().set("decisions", "file", json!("decisions.jsonl"));
    let mut gateway = Gateway::start(&config);
    let (file, aside) = (
        gateway.data().join("decisions.jsonl"),
        gateway.data().join("decisions.old"),
    );
    let lines = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    let before = refused(&gateway);
    let before = before.as_str().expect("a session");
    sluice_tests::eventually("a line", || lines(&file).contains(before).then_some(()));
    // As logrotate does.
    std::fs::rename(&file, &aside).unwrap();
    gateway.signal(Signal::USR1);
    // Though nothing is written to it yet.
    sluice_tests::eventually("a new file", || file.exists().then_some(()));
    let after = refused(&gateway);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(lines(&file).contains(after.as_str().expect("a session")));
    assert!(!lines(&file).contains(before));
    assert!(lines(&aside).contains(before));
}

#[test]
fn signals_that_mean_nothing_end_nothing() {
    let mut gateway = Gateway::start(&Config::ingest());
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    for signal in [
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::XFSZ,
        Signal::PIPE,
    ] {
        gateway.signal(signal);
        echo.text("still here");
        assert_eq!(echo.event(), Event::Text("still here".to_owned()));
    }
    let said = gateway.output().find("what there is", |line| {
        line.contains("the gateway ignores SIGUSR2").then_some(())
    });
    said.expect("the gateway runs");
    // As container runtimes stop nginx.
    gateway.signal(Signal::QUIT);
    echo.close(1000, "");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_second_gateway_on_a_data_folder_does_not_start_and_commands_go_on_working() {
    let mut gateway = Gateway::start(&Config::ingest());
    let config = gateway.folder().join("sluice.toml");
    let second = || {
        let mut second = command::sluice(&["serve", "--listen", "127.0.0.1:0", "--config"]);
        run(second.arg(&config).arg("--data-dir").arg(gateway.data()))
    };
    let refused = second();
    assert_eq!(refused.status, Some(1), "{refused:?}");
    for part in [
        format!("another gateway (process {})", gateway.id()),
        gateway.data().display().to_string(),
        "--data-dir".to_owned(),
    ] {
        assert!(refused.stderr.contains(&part), "{part} in {refused:?}");
    }
    let check = command::check(&config);
    assert_eq!(check.status, Some(0), "{check:?}");
    let token = run(command::sluice(&["token", "--data-dir"]).arg(gateway.data()));
    assert_eq!(token.status, Some(0), "{token:?}");
    // One that is killed leaves no lock.
    gateway.kill();
    gateway.start_again();
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
    client.handshake();
    client.expect_ack();
}
