//! The command line, as a new user meets it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command::{self, Done, run};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::speech::{self, read_wav};
use sluice_tests::{eventually, token};
use tempfile::TempDir;

/// `sluice serve` with nothing but a data folder: what a new user starts.
fn first_start(data: &Path) -> Gateway {
    let mut serve = command::sluice(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
    serve.arg(data);
    Gateway::launch(serve, TempDir::new().unwrap())
}

/// The token that a banner prints.
fn banner_token(gateway: &Gateway) -> String {
    let token = gateway.output().find("a token", |line| {
        let mut words = line.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
        words
            .find(|word| word.starts_with("eyJ") && word.matches('.').count() == 2)
            .map(str::to_owned)
    });
    token.expect("the gateway runs")
}

fn admitted(gateway: &Gateway, meeting_id: &str, token: &str) {
    let mut client = Client::connect(Library::Ws, gateway, &meeting(meeting_id, "mic", token));
    client.handshake();
    client.expect_ack();
}

#[test]
fn the_first_start_prints_where_it_listens_a_token_and_a_line_to_copy() {
    let data = TempDir::new().unwrap();
    let gateway = first_start(data.path());
    let token = banner_token(&gateway);
    admitted(&gateway, "m1", &token);
    let output = gateway.output();
    let address = gateway.address().to_string();
    eventually("the address", || {
        output.text().contains(&address).then_some(())
    });
    let line = output.find("a line to copy", |line| {
        line.contains("sample.wav").then(|| line.trim().to_owned())
    });
    let line = line.expect("the gateway runs");
    assert!(line.contains("stream") && line.contains(&token), "{line}");
}

/// Runs the line that a banner says to copy, in a shell, as fast as it goes.
fn run_the_line(gateway: &Gateway) -> Done {
    let line = gateway.output().find("a line to copy", |line| {
        line.contains("sample.wav").then(|| line.trim().to_owned())
    });
    let line = line.expect("the gateway runs");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{line} --fast")])
        .current_dir(command::root())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    run(&mut shell)
}

#[test]
fn the_line_of_the_banner_streams_the_sample() {
    let data = TempDir::new().unwrap();
    let gateway = first_start(data.path());
    let done = run_the_line(&gateway);
    assert_eq!(done.status, Some(0), "{done:?}");
    let found = recordings(data.path());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(read_wav(&found[0]).1 == speech::sample().pcm);
}

fn recordings(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = walk(folder);
    found.retain(|path| path.extension().is_some_and(|extension| extension == "wav"));
    found
}

/// The main job with keys that the gateway makes itself.
fn with_generated_keys() -> Config {
    Config::ingest()
        .without("key_sets.main", "secret")
        .set("key_sets.main", "generate", json!(true))
        // Of no route.
        .set("key_sets.alone", "generate", json!(true))
}

/// What a token that the banner's command makes comes to, on a configuration of one's own.
fn with_the_token_of_the_banner(config: &Config) -> Done {
    let (_folder, gateway) = serve(&config.to_string());
    let command = gateway.output().find("how a token is made", |line| {
        line.contains(" token --config ").then(|| line.to_owned())
    });
    let command = command.expect("the gateway runs");
    let printed = gateway.output().text();
    assert!(!printed.contains("sample.wav"), "{printed}");
    assert!(!printed.contains("eyJ"), "{printed}");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &command])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let done = run(&mut shell);
    assert_eq!(done.status, Some(0), "{command}: {done:?}");
    stream(
        &gateway,
        "/ws/ingest/meetings/m1",
        done.stdout.trim(),
        &["--fast"],
    )
}

#[test]
fn with_a_configuration_of_ones_own_the_banner_says_how_a_token_is_made() {
    let done = with_the_token_of_the_banner(&with_generated_keys());
    assert_eq!(done.status, Some(0), "{done:?}");
    let asking = json!(["licence"]);
    let config = with_generated_keys().set("policies.auth.config", "required_claims", asking);
    let refused = with_the_token_of_the_banner(&config);
    assert!(
        refused.stderr.contains("missing claim licence"),
        "{refused:?}"
    );
}

/// A gateway that is told where to listen by its file alone.
fn serve(config: &str) -> (TempDir, Gateway) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, config).unwrap();
    let mut serve = command::sluice(&["serve", "--config"]);
    serve
        .arg(file)
        .arg("--data-dir")
        .arg(folder.path().join("data"));
    if !config.contains("listen = ") {
        serve.args(["--listen", "127.0.0.1:0"]);
    }
    let gateway = Gateway::launch(serve, TempDir::new().unwrap());
    (folder, gateway)
}

#[test]
fn every_listener_serves_alike() {
    let config = Config::open().set(
        "server",
        "listen",
        json!(["127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"]),
    );
    let (_folder, gateway) = serve(&config.to_string());
    let mut addresses = Vec::new();
    gateway.output().find("three listeners", |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let address = (event["message"] == "listening").then(|| event["address"].as_str())??;
        addresses.push(address.to_owned());
        (addresses.len() == 3).then_some(())
    });
    assert!(addresses[2].starts_with("127.0.0.2:"), "{addresses:?}");
    let mut client = Client::idle(Library::Ws);
    for address in addresses {
        client.open_url(&format!("ws://{address}/ingest/m1"), &[]);
        client.handshake();
        client.expect_ack();
        client.finalize(0, 0);
    }
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path))
        } else {
            found.push(path)
        }
    }
    found
}

#[test]
fn the_dev_key_is_made_once_and_for_its_owner_only() {
    let data = TempDir::new().unwrap();
    let first = first_start(data.path());
    let token = banner_token(&first);
    drop(first);
    let second = first_start(data.path());
    admitted(&second, "m1", &token);
    admitted(&second, "m2", &banner_token(&second));
    let files = walk(data.path());
    let keys: Vec<_> = files
        .iter()
        .filter(|path| path.extension().is_none_or(|e| e != "wav"))
        .collect();
    assert!(!keys.is_empty(), "{files:?}");
    for key in keys {
        let mode = key.metadata().unwrap().permissions().mode();
        assert_eq!(
            mode & 0o077,
            0,
            "{} is open to others: {mode:o}",
            key.display()
        );
    }
    let elsewhere = TempDir::new().unwrap();
    let other = first_start(elsewhere.path());
    Client::connect(Library::Ws, &other, &meeting("m1", "mic", &token))
        .expect_refusal(4001, "auth_failed");
}

#[test]
fn two_first_commands_at_once_agree_on_one_key() {
    let data = TempDir::new().unwrap();
    let make = || run(command::sluice(&["token", "--data-dir"]).arg(data.path()));
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(make), scope.spawn(make));
        (one.join().unwrap(), two.join().unwrap())
    });
    let gateway = first_start(data.path());
    admitted(&gateway, "m1", one.stdout.trim());
    admitted(&gateway, "m2", two.stdout.trim());
}

#[test]
fn a_minted_token_is_good_for_what_it_says() {
    let data = TempDir::new().unwrap();
    let gateway = first_start(data.path());
    let done = run(command::sluice(&["token", "--data-dir"]).arg(data.path()));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert_eq!(
        done.stdout.trim().lines().count(),
        1,
        "standard output is the token alone: {done:?}"
    );
    admitted(&gateway, "m1", done.stdout.trim());
}

fn stream(gateway: &Gateway, path: &str, token: &str, more: &[&str]) -> Done {
    let sample = command::root().join("tests/speech/sample.wav");
    let mut command = command::sluice(&["stream"]);
    command
        .arg(sample)
        .args(["--url", &gateway.url(path), "--token", token])
        .args(more);
    run(&mut command)
}

#[test]
fn stream_sends_a_recording_and_names_its_session() {
    let gateway = Gateway::start(&Config::ingest());
    let token = token::good();
    let done = stream(
        &gateway,
        "/ws/ingest/meetings/m1?source=mic",
        &token,
        &["--fast"],
    );
    assert_eq!(done.status, Some(0), "{done:?}");
    let session = gateway.output().find("the end", |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let ended = event["message"] == "connection ended";
        let spans = event["span"].clone();
        ended.then(|| spans["session_id"].as_str().map(str::to_owned))?
    });
    let session = session.expect("the gateway runs");
    assert!(
        format!("{}{}", done.stdout, done.stderr).contains(&session),
        "{session} in {done:?}"
    );
    assert!(read_wav(&gateway.recording()).1 == speech::sample().pcm);
    assert!(!done.stdout.contains(&token) && !done.stderr.contains(&token));
}

/// As ffmpeg and sox write what they cannot know the length of.
#[test]
fn stream_takes_what_another_program_writes_into_a_pipe() {
    let gateway = Gateway::start(&Config::ingest());
    let folder = TempDir::new().unwrap();
    let sample = std::fs::read(command::root().join("tests/speech/sample.wav")).unwrap();
    for (open, riff) in [(u32::MAX, u32::MAX), (0x7fff_f000, 0x7fff_f024), (0, 0)] {
        let mut wav = sample.clone();
        wav[4..8].copy_from_slice(&riff.to_le_bytes());
        wav[40..44].copy_from_slice(&open.to_le_bytes());
        std::fs::write(folder.path().join("open.wav"), &wav).unwrap();
        for (n, line) in [
            "cat open.wav | \"$0\" stream - \"$@\"",
            "\"$0\" stream - \"$@\" < open.wav",
            "\"$0\" stream open.wav \"$@\"",
            "rm -f fifo; mkfifo fifo; cat open.wav > fifo & \"$0\" stream fifo \"$@\"",
        ]
        .into_iter()
        .enumerate()
        {
            let url = gateway.url(&format!("/ws/ingest/meetings/m{n}-{open}"));
            let mut shell = Command::new("sh");
            shell
                .args(["-c", line])
                .arg(command::binary())
                .args(["--fast", "--url", &url, "--token", &token::good()])
                .current_dir(folder.path())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            let done = run(&mut shell);
            assert_eq!(done.status, Some(0), "{line}: {done:?}");
        }
    }
    let recordings = gateway.recordings();
    assert_eq!(recordings.len(), 12);
    for recording in recordings {
        assert!(
            read_wav(&recording).1 == sample[44..],
            "{}",
            recording.display()
        );
    }
}

#[test]
fn stream_prints_the_refusal_and_exits_with_a_status_of_its_own() {
    let gateway = Gateway::start(&Config::ingest());
    for (path, token, code, word) in [
        ("/ws/ingest/meetings/m1", "nonsense", "4001", "auth_failed"),
        ("/nowhere", &token::good(), "4004", "not_found"),
    ] {
        let done = stream(&gateway, path, token, &["--fast"]);
        assert_eq!(done.status, Some(3), "{done:?}");
        let printed = format!("{}{}", done.stdout, done.stderr);
        for part in [code, word, "retryable", "session_id"] {
            assert!(printed.contains(part), "{part} in {printed}");
        }
    }
}

#[test]
fn stream_says_what_is_wrong_when_there_is_no_gateway() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let sample = command::root().join("tests/speech/sample.wav");
    let mut command = command::sluice(&["stream"]);
    let url = format!("ws://{gone}/ws/ingest/meetings/m1");
    let done = run(command.arg(sample).args(["--url", &url, "--token", "t"]));
    assert!(
        done.status.is_some_and(|status| status != 0 && status != 3),
        "{done:?}"
    );
    assert!(done.stderr.contains(&gone.to_string()), "{done:?}");
}

#[test]
fn stream_does_not_take_what_is_no_recording() {
    let gateway = Gateway::start(&Config::ingest());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "no recording").unwrap();
    let mut command = command::sluice(&["stream"]);
    let url = gateway.url("/ws/ingest/meetings/m1");
    let done = run(command
        .arg(file.path())
        .args(["--url", &url, "--token", "t"]));
    assert!(
        done.status.is_some_and(|status| status != 0 && status != 3),
        "{done:?}"
    );
    assert!(
        done.stderr.contains(&file.path().display().to_string()),
        "{done:?}"
    );
}

#[test]
fn the_help_names_every_command_and_the_version_is_there() {
    let done = run(&mut command::sluice(&["--help"]));
    assert_eq!(done.status, Some(0));
    for word in ["serve", "check", "token", "stream"] {
        assert!(done.stdout.contains(word), "{word} in {}", done.stdout);
        let help = run(&mut command::sluice(&[word, "--help"]));
        assert_eq!(help.status, Some(0), "{word}");
        assert!(help.stdout.lines().count() > 5, "{}", help.stdout);
    }
    let done = run(&mut command::sluice(&["--version"]));
    assert_eq!(
        done.stdout.trim(),
        format!("sluice {}", env!("CARGO_PKG_VERSION"))
    );
}
