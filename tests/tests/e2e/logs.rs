//! What the operator reads, and what nobody may read.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::output::Output;
use sluice_tests::raw::{self, Raw};
use sluice_tests::token::{self, SECRET};
use sluice_tests::{command, eventually, speech, with_both_clients};

fn traced(config: &Config) -> Gateway {
    Gateway::start_as(config, |mut command| {
        command.env("RUST_LOG", "trace");
        command
    })
}

with_both_clients! {
    fn no_token_and_no_secret_is_ever_printed(library) {
        let mut gateway = traced(&Config::ingest());
        // Parts of it would be as bad as the whole: the signature alone is looked for as well.
        let good = token::good();
        let expired = token::sign(&token::claims_with(json!({"exp": token::now() - 600})));
        let canary = "canary-token-9b7f2e61";
        let bearer = format!("Bearer {good}");
        let mut client = Client::connect(library, &gateway, &meeting("m1", "mic", &good));
        client.handshake();
        client.expect_ack();
        client.finalize(0, 0);
        client.open(&gateway, &meeting("m1", "mic", canary), &[("Authorization", &bearer)]);
        client.handshake();
        client.expect_ack();
        client.finalize(0, 0);
        for token in [canary, &expired, &format!("{good}x"), &format!("%0A{canary}")] {
            client.open(&gateway, &meeting("m1", "mic", token), &[]);
            client.expect_refusal(4001, "auth_failed");
        }
        client.open(&gateway, &format!("/nowhere?token={good}"), &[]);
        client.expect_refusal(4004, "not_found");
        let requests = [
            format!("GET /ws/ingest/meetings/m1?token={canary} HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n\r\n"),
            format!("GET /ws/ingest/meetings/m1?token={canary} HTTP/9.9\r\n\r\n"),
            format!("GET /?token={canary}\u{1} HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: token={canary}\r\nProxy-Authorization: Basic {canary}\r\n\r\n"),
        ];
        for request in requests {
            let mut peer = Raw::connect(gateway.address());
            peer.write(request.as_bytes()).unwrap();
            peer.writer().shutdown(std::net::Shutdown::Write).unwrap();
            peer.wait_for_end();
        }
        gateway.signal(rustix::process::Signal::TERM);
        gateway.wait();
        let output = gateway.output().text();
        assert!(output.contains("connection ended"), "there is something to look through");
        let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
        let payload = good.split('.').nth(1).unwrap().to_owned();
        for secret in [SECRET, canary, &good, &expired, &payload, &signature(&good), &signature(&expired)] {
            let line = output.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} was printed: {line:?}");
        }
    }

    fn one_line_at_the_end_says_all_about_a_connection(library) {
        let gateway = Gateway::start(&Config::ingest());
        let clip = speech::clip();
        let mut client = Client::connect(library, &gateway, &meeting("m1", "mic", &token::good()));
        client.handshake();
        let session = client.expect_ack();
        client.stream(&clip, 3200);
        client.finalize(clip.pcm.len(), clip.pcm.len() / 32);
        let entry = gateway.connection_log(&session);
        assert_eq!(entry["close_code"], 1000, "{entry}");
        assert_eq!(entry["bytes_up"], clip.pcm.len(), "{entry}");
        assert_eq!(entry["closed_by"], "client", "{entry}");
        assert_eq!(entry["told"], "finalized", "{entry}");
        let address = entry["address"].as_str().unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{entry}");
        let recording = entry["recording"].as_str().unwrap();
        let recorded = std::fs::metadata(recording).unwrap();
        assert!(recorded.len() as usize > clip.pcm.len(), "{entry}");
        let began = gateway.output().find("its first line", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            (event["message"] == "stream began").then_some(event)
        });
        let began = began.expect("the gateway runs");
        assert_eq!(began["span"]["session_id"], session, "{began}");
        for field in ["address", "recording", "instance"] {
            assert_eq!(began[field], entry[field], "{began}");
        }
        let text = entry.to_string();
        for part in ["connect=", "handshake=", "stream=", "auth=accept", "duplicate=accept", "sample-rate=accept"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        for (what, value) in [("route", "ingest"), ("meeting", "m1"), ("user", "u-1")] {
            assert!(text.contains(&format!(":\"{value}\"")), "{what} in {text}");
        }
    }

    fn the_log_entry_of_a_refusal_names_the_policy(library) {
        let gateway = Gateway::start(&Config::ingest());
        let mut client = Client::connect(library, &gateway, &meeting("m1", "mic", "nonsense"));
        let frame = client.expect_refusal(4001, "auth_failed");
        let entry = gateway.connection_log(frame["session_id"].as_str().unwrap());
        assert_eq!(entry["close_code"], 4001, "{entry}");
        assert_eq!(entry["closed_by"], "gateway", "{entry}");
        assert!(entry["decisions"].as_str().unwrap().contains("auth=reject(auth_failed)"), "{entry}");
    }
}

/// The main job, with two policies behind auth that break: one that is passed
/// over, and one that is only watched.
fn with_broken_policies() -> (Config, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.wasm");
    let guest = include_str!("../../guests/connect.wat");
    let guest = guest.replace("BODY", "(unreachable)");
    std::fs::write(&file, wat::parse_str(guest).unwrap()).unwrap();
    let mut config = Config::ingest().set(
        "routes.ingest",
        "on_connect",
        json!(["auth", "broken", "watched", "duplicate"]),
    );
    for policy in ["policies.broken", "policies.watched"] {
        // Which is said at the first failure.
        config =
            config
                .set(policy, "component", json!(file))
                .set(policy, "quarantine_after", json!(1));
    }
    let config = config
        .set("policies.broken", "on_failure", json!("open"))
        .set("policies.watched", "shadow", json!(true));
    (config, folder)
}

/// One connection of which much is logged, in its own task and beside it, and
/// nothing else between `listening` and `draining`. All of that must be said to
/// be about it, and have these words in it.
fn assert_all_lines_are_about_a_connection(wanted: &str, words: &[&str]) {
    let (config, _folder) = with_broken_policies();
    let mut gateway = Gateway::start_as(&config, |mut command| {
        command.env("RUST_LOG", wanted);
        command
    });
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
    client.handshake();
    let session = client.expect_ack();
    client.json(&json!({"type": "pause"}));
    client.message();
    // It is empty and would be removed, which is found out beside the connection.
    std::fs::remove_file(gateway.recording()).unwrap();
    client.finalize(0, 0);
    for word in words {
        let line = gateway
            .output()
            .find(word, |line| line.contains(word).then_some(()));
        line.expect("the gateway runs");
    }
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let lines = gateway.output().lines();
    let between = lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .skip_while(|event: &Value| event["message"] != "listening")
        .skip(1)
        .take_while(|event| event["message"] != "draining");
    let mut count = 0;
    for event in between {
        let span = &event["span"];
        let said = ["session_id", "route", "meeting", "user"].map(|field| span[field].as_str());
        let whose = [&*session, "ingest", "m1", "u-1"].map(Some);
        assert_eq!(said, whose, "{event}");
        count += 1;
    }
    assert!(count >= words.len(), "{lines:?}");
}

#[test]
fn every_line_of_a_connection_says_whose_it_is() {
    let broken = r#""policy":"broken""#;
    let watched = r#""policy":"watched""#;
    let recording = "cannot remove an empty recording";
    let entry = "connection ended";
    assert_all_lines_are_about_a_connection("sluice=trace", &[broken, watched, recording, entry]);
    // Whoever asks for little gets whole lines too.
    let few = "sluice=warn,sluice::serve=info";
    assert_all_lines_are_about_a_connection(few, &[broken, watched, recording]);
}

#[test]
fn the_line_of_a_refused_client_says_what_it_was_told() {
    let gateway = Gateway::start(&Config::ingest());
    let mut first = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
    first.handshake();
    first.expect_ack();
    for (token, code, word) in [
        (token::of_user("u-2"), 4002, "ingest_exists"),
        ("nonsense".to_owned(), 4001, "auth_failed"),
    ] {
        let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token));
        let frame = client.expect_refusal(code, word);
        let entry = gateway.connection_log(frame["session_id"].as_str().unwrap());
        assert_eq!(entry["told"], frame["message"], "{entry}");
        let address = entry["address"].as_str().unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{entry}");
        assert!(entry.get("recording").is_none(), "{entry}");
    }
    let began = |line: &String| line.contains("stream began");
    assert_eq!(
        gateway
            .output()
            .lines()
            .iter()
            .filter(|line| began(line))
            .count(),
        1
    );
}

#[test]
fn a_log_line_a_record_and_the_metrics_name_the_run_that_wrote_them() {
    let config = Config::ingest()
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("server", "admin_listen", json!("127.0.0.1:0"));
    let mut gateway = Gateway::start(&config);
    let run = |gateway: &mut Gateway| {
        let path = meeting("m1", "mic", "nonsense");
        Client::connect(Library::Ws, gateway, &path).expect_refusal(4001, "auth_failed");
        let (_, metrics) = gateway.admin("GET /metrics");
        let info = metrics
            .lines()
            .find(|line| line.starts_with("sluice_build_info{"));
        let info = info.unwrap().to_owned();
        gateway.signal(rustix::process::Signal::TERM);
        gateway.wait();
        let record = std::fs::read_to_string(gateway.data().join("decisions.jsonl")).unwrap();
        let record: Value = serde_json::from_str(record.lines().last().unwrap()).unwrap();
        let instance = record["instance"].as_str().unwrap().to_owned();
        assert!(info.contains(&format!("instance=\"{instance}\"")), "{info}");
        assert!(
            info.contains(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))),
            "{info}"
        );
        for line in gateway.output().lines() {
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(event["instance"], *instance, "{line}");
        }
        instance
    };
    let first = run(&mut gateway);
    gateway.start_again();
    assert_ne!(run(&mut gateway), first);
}

#[test]
fn what_a_peer_sends_cannot_forge_a_line() {
    let mut gateway = traced(&Config::ingest());
    let forged = "{\"level\":\"ERROR\",\"message\":\"forged\"}";
    let id = format!("x%0A{}%0A", forged.replace('"', "%22"));
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&format!(
        "/ws/ingest/meetings/{id}?token={}&source=mic",
        token::good()
    ));
    let mut hello = handshake();
    hello["device_id"] = json!(format!("\n{forged}\n\u{1b}[31m"));
    hello["language"] = json!("\r\n\u{7}");
    hello["client"] = json!(format!("\n{forged}\n"));
    peer.write(&raw::text(&hello.to_string())).unwrap();
    peer.frame().expect("an answer");
    peer.write(&raw::text(&format!("\n{forged}\n"))).unwrap();
    peer.write(&raw::text(
        &json!({"type": format!("\n{forged}\n")}).to_string(),
    ))
    .unwrap();
    peer.write(&raw::text("{\"type\":\"finalize\"}")).unwrap();
    while peer.frame().is_some_and(|frame| frame.close().is_none()) {}
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    for line in gateway.output().lines() {
        let event: Option<Value> = serde_json::from_str(&line).ok();
        assert!(
            event.is_none_or(|event| event["message"] != "forged"),
            "{line}"
        );
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

#[test]
fn a_configuration_is_reported_without_its_secrets() {
    let config = Config::ingest().set(
        "key_sets.main",
        "sekret",
        json!("another-canary-in-a-misspelt-key"),
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, config.to_string()).unwrap();
    let done = command::run(
        command::sluice(&["check", "--config"])
            .arg(&file)
            .env("RUST_LOG", "trace"),
    );
    assert_ne!(done.status, Some(0));
    for secret in [SECRET, "another-canary-in-a-misspelt-key"] {
        assert!(
            !done.stdout.contains(secret) && !done.stderr.contains(secret),
            "{done:?}"
        );
    }
}

/// Without what colours it.
fn plain(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}

#[test]
fn on_a_terminal_the_lines_are_for_people() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, Config::ingest().to_string()).unwrap();
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut terminal = command::quiet(std::path::Path::new("python3"), &[]);
    let mut terminal = terminal
        .arg(tests.join("clients/terminal.py"))
        .arg(command::binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(file)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let shown = Output::default();
    shown.follow(terminal.stdout.take().unwrap());
    shown.follow(terminal.stderr.take().unwrap());
    let address = shown.find("where it listens", |line| {
        let line = plain(line);
        let (_, address) = line.split_once("listening address=")?;
        Some(address.split(' ').next()?.to_owned())
    });
    let address = address.expect("the gateway starts");
    let path = meeting("m1%1b[31m", "mic", &token::good());
    let mut client = Client::idle(Library::Ws);
    client.open_url(&format!("ws://{address}{path}"), &[]);
    client.handshake();
    let session = client.expect_ack();
    client.finalize(0, 0);
    let entry = shown.find("the log entry", |line| {
        line.contains("connection ended").then(|| line.to_owned())
    });
    drop(terminal.stdin.take());
    let status = eventually("the end of the gateway", || terminal.try_wait().unwrap());
    assert!(status.success(), "{}", shown.text());
    let entry = entry.expect("the gateway runs");
    assert!(entry.contains("\u{1b}["), "it is coloured: {entry}");
    let entry = plain(&entry);
    for part in [
        " INFO ",
        &format!("session_id=\"{session}\""),
        "route=\"ingest\"",
        "user=\"u-1\"",
        "close_code=1000",
        "decisions=auth=accept in ",
    ] {
        assert!(entry.contains(part), "{part} in {entry}");
    }
    assert!(
        !entry.starts_with('{') && !entry.contains("sluice::"),
        "{entry}"
    );
    for line in shown.lines() {
        // What a client calls its meeting does not colour the terminal.
        assert!(!line.contains("m1\u{1b}"), "{line:?}");
    }
}

#[test]
fn what_keeps_a_gateway_from_starting_is_json_where_its_log_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    let mistaken = Config::open()
        .set("server", "header_timout", json!("5s"))
        .set("routes.echo", "upstream", json!("nobody"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (config, listen, said) in [
        (
            mistaken,
            "127.0.0.1:0",
            &["nobody", "header_timout", "does not start"][..],
        ),
        (Config::open(), &*taken, &["cannot listen on"]),
    ] {
        std::fs::write(&file, config.to_string()).unwrap();
        let mut serve = command::sluice(&["serve", "--listen", listen, "--config"]);
        serve
            .arg(&file)
            .arg("--data-dir")
            .arg(folder.path().join("data"));
        let done = command::run(&mut serve);
        assert_eq!(done.status, Some(1), "{done:?}");
        let lines: Vec<Value> = done
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let errors = lines.iter().filter(|line| line["level"] == "ERROR");
        let errors: Vec<_> = errors.collect();
        assert_eq!(errors.len(), said.len(), "{done:?}");
        for (error, said) in errors.iter().zip(said) {
            assert!(error.to_string().contains(said), "{said} in {error}");
        }
        if let [first, .., last] = &*errors {
            let place = first["place"].as_str().unwrap();
            assert!(place.contains("sluice.toml:"), "{first}");
            assert!(first["help"].as_str().unwrap().len() > 5, "{first}");
            assert_eq!(last["mistakes"], 2, "{last}");
        }
    }
}
