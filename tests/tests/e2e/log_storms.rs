//! Logs that nobody reads, and more lines than anybody would.

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::{Client, Event, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::Raw;
use sluice_tests::{eventually, token};

fn config() -> Config {
    Config::ingest().set("server", "admin_listen", json!("127.0.0.1:0"))
}

/// A gateway that says whatever it can.
fn talkative(config: &Config) -> Gateway {
    Gateway::start_as(config, |mut command| {
        command.env("RUST_LOG", "trace");
        command
    })
}

/// Is refused, and reads why.
fn refused(gateway: &Gateway, meeting_id: &str) {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting(meeting_id, "mic", "nonsense"));
    assert_eq!(peer.message()["code"], "auth_failed");
    let close = peer.frame().expect("a Close");
    assert_eq!(close.close().map(|(code, _)| code), Some(4001));
}

/// Visits that each leave a line, because they got as far as to stream.
fn many_lines(gateway: &Gateway) {
    let visits = (0..50).map(|_| {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade("/echo");
        peer
    });
    drop(visits.collect::<Vec<_>>());
}

/// Lines of the log, as JSON.
fn events(gateway: &Gateway) -> Vec<Value> {
    let lines = gateway.output().lines();
    let events = lines.iter().map(|line| serde_json::from_str(line));
    events.map(|event| event.expect("a whole line")).collect()
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_streams_nor_refusals_nor_the_end() {
    let mut gateway = talkative(&config());
    let mut stream = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
    stream.handshake();
    stream.expect_ack();
    stream.binary(&[1; 3200]);
    let mut echo = Client::connect(Library::Websockets, &gateway, "/echo");
    gateway.output().pause();
    // Enough for a log that is written by whoever has something to say.
    for n in 0..150 {
        refused(&gateway, &format!("m{n}"));
    }
    (0..12).for_each(|_| many_lines(&gateway));
    echo.text("still here");
    assert_eq!(echo.event(), Event::Text("still here".to_owned()));
    stream.binary(&[2; 3200]);
    stream.finalize(6400, 200);
    assert_eq!(gateway.admin("GET /livez").0, 200);
    echo.close(1000, "");
    gateway.signal(Signal::TERM);
    // It has ended before anything is read again.
    assert_eq!(gateway.wait().code(), Some(0));
    let text = gateway.output().text();
    let is_lost = !text.contains("\"message\":\"stopped\"");
    assert!(is_lost, "{} bytes did not fill the pipe", text.len());
}

#[test]
fn lines_that_are_lost_are_counted_and_said_once_the_log_flows_again() {
    let lost = r#"sluice_log_lines_dropped_total{reason="queue-full"}"#;
    let mut gateway = talkative(&config());
    gateway.output().pause();
    eventually("a queue that is full", || {
        many_lines(&gateway);
        (gateway.metric(lost) > 0.0).then_some(())
    });
    gateway.output().go_on();
    let said = gateway.output().find("what was lost", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let lost = "log lines were lost, because standard error was blocked";
        (event["message"] == lost).then(|| event["lines"].as_u64())?
    });
    assert!(said.expect("the gateway runs") > 0);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    // Nothing was written by halves.
    let all = events(&gateway);
    assert!(all.iter().any(|event| event["message"] == "stopped"));
}

#[test]
fn a_log_whose_reader_has_gone_ends_nothing() {
    let mut gateway = Gateway::start_as(&config(), |command| {
        // The gateway's own standard error is a pipe to a reader that goes as soon as it listens.
        let mut within = sluice_tests::command::quiet(std::path::Path::new("sh"), &["-c"]);
        within
            .arg(
                "exec 3>&2; mkfifo \"$FIFO\"; \
                 { sed -u '/\"message\":\"listening\"/q' <\"$FIFO\" >&3; } & exec \"$0\" \"$@\" 2>\"$FIFO\" 3>&-",
            )
            .arg(command.get_program())
            .args(command.get_args());
        let data = command.get_args().last().expect("the data folder");
        within.env("FIFO", std::path::Path::new(data).with_extension("log"));
        within
    });
    for n in 0..50 {
        refused(&gateway, &format!("m{n}"));
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_storm_of_refusals_is_a_few_lines_and_the_number_of_the_others() {
    let mut gateway = Gateway::start(&config());
    let visits = 400;
    let mut storm: Vec<_> = (0..visits)
        .map(|n| {
            let mut peer = Raw::connect(gateway.address());
            peer.upgrade(&meeting(&format!("m{n}"), "mic", "nonsense"));
            peer
        })
        .collect();
    for peer in &mut storm {
        assert_eq!(peer.message()["code"], "auth_failed");
        peer.frame().expect("a Close");
    }
    // A line of another kind is there all the same.
    let mut lost = Raw::connect(gateway.address());
    lost.upgrade("/nowhere");
    assert_eq!(lost.message()["code"], "not_found");
    drop((lost, storm));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    let all = events(&gateway);
    let of = |message: &str, code: u16| -> Vec<&Value> {
        let of = |event: &&Value| event["message"] == message && event["close_code"] == code;
        all.iter().filter(of).collect()
    };
    let told = of("connection ended", 4001).len();
    let left_out = of("repeated lines of one kind were left out", 4001);
    let lines = left_out.iter().filter_map(|event| event["lines"].as_u64());
    let lines = usize::try_from(lines.sum::<u64>()).expect("a number of lines");
    assert_eq!(told + lines, visits);
    assert!(told >= 100 && lines > 0, "{told} lines");
    assert_eq!(left_out[0]["of"], "connection ended");
    assert_eq!(of("connection ended", 4004).len(), 1);
}
