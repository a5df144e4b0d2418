//! Another token for a stream that runs.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};
use sluice_tests::client::{Client, handshake, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::output::Output;
use sluice_tests::raw::{self, Raw};
use sluice_tests::{eventually, token, with_both_clients};

fn config() -> Config {
    Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        // Every client that asks is told at once.
        .limit("token_notice", "24h")
}

/// The handshake of a client that wants to be told before its token expires.
fn asking() -> Value {
    let mut handshake = handshake();
    handshake["features"] = json!(["renew"]);
    handshake
}

fn until(seconds: u64) -> String {
    token::sign(&token::claims_with(json!({"exp": token::now() + seconds})))
}

fn auth(token: &str) -> Value {
    json!({"type": "auth", "token": token})
}

/// Streams with this token. The client asked, and was told.
fn stream(gateway: &Gateway, token: &str) -> (Raw, String) {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting("m1", "mic", token));
    peer.write(&raw::text(&asking().to_string())).unwrap();
    let ack = peer.message();
    assert_eq!(ack["features"], json!(["renew"]), "{ack}");
    let notice = peer.message();
    assert_eq!(notice["type"], "token_expiring", "{notice}");
    (peer, ack["session_id"].as_str().unwrap().to_owned())
}

/// The answer to a token.
fn renew(peer: &mut Raw, token: &str) -> Value {
    peer.write(&raw::text(&auth(token).to_string())).unwrap();
    let answer = peer.message();
    assert_eq!(answer["type"], "status", "{answer}");
    answer
}

fn finalize(peer: &mut Raw, bytes: u64) {
    peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    let finalized = peer.message();
    assert_eq!(finalized["bytes"], bytes, "{finalized}");
}

with_both_clients! {
    fn a_stream_whose_token_is_renewed_outlives_the_first_one(library) {
        let gateway = Gateway::start(&config());
        let first = until(10);
        let mut client = Client::connect(library, &gateway, &meeting("m1", "mic", &first));
        client.json(&asking());
        assert_eq!(client.message()["features"], json!(["renew"]));
        let notice = client.message();
        assert_eq!(notice["type"], "token_expiring");
        let left = notice["expires_in_ms"].as_u64().unwrap();
        assert!(left <= 10_000, "{left}");
        client.audio(&[1; 640]);
        let second = until(3600);
        client.json(&auth(&second));
        let renewed = client.message();
        assert_eq!(renewed["status"], "renewed", "{renewed}");
        let left = renewed["expires_in_ms"].as_u64().unwrap();
        assert!((3_000_000..=3_600_000).contains(&left), "{left}");
        // The new one has its own notice.
        assert_eq!(client.message()["type"], "token_expiring");
        let over = token::now() + 11;
        eventually("the end of the first token", || (token::now() > over).then_some(()));
        client.send_audio(&[2; 640]);
        client.finalize(1280, 40);
        let renewals = "sluice_token_renewals_total{result=\"renewed\"}";
        assert_eq!(gateway.metric(renewals), 1.0);
        let text = gateway.output().text();
        assert!(!text.contains(&first) && !text.contains(&second), "{text}");
    }
}

#[test]
fn a_client_that_does_not_renew_or_does_not_ask_sees_nothing_new() {
    let gateway = Gateway::start(&config());
    // As the deployed client does.
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting("m1", "mic", &until(3600)));
    peer.write(&raw::text(&handshake().to_string())).unwrap();
    assert_eq!(peer.message().get("features"), None);
    peer.write(&raw::text(r#"{"type":"ping"}"#)).unwrap();
    assert_eq!(peer.message(), json!({"type": "pong"}));
    finalize(&mut peer, 0);
    let (mut peer, _) = stream(&gateway, &until(5));
    let error = peer.message();
    assert_eq!(error["code"], "token_expired", "{error}");
    assert_eq!(error["close_code"], 4010, "{error}");
}

#[test]
fn the_deadline_is_that_of_the_latest_token() {
    let gateway = Gateway::start(&config());
    let (mut peer, _) = stream(&gateway, &until(3600));
    let renewed = renew(&mut peer, &until(10));
    assert_eq!(renewed["status"], "renewed", "{renewed}");
    assert_eq!(peer.message()["type"], "token_expiring");
    let error = peer.message();
    assert_eq!(error["code"], "token_expired", "{error}");
}

#[test]
fn a_token_that_is_refused_ends_nothing_and_the_client_is_told_why() {
    let config = config().set("decisions", "file", json!("decisions.jsonl"));
    let gateway = Gateway::start(&config);
    let (mut peer, session) = stream(&gateway, &until(3600));
    let other_tenant = token::sign(&token::claims_with(json!({"tenant_id": "t-2"})));
    let no_tenant = token::sign(&token::claims_with(json!({"tenant_id": null})));
    let mut tokens = Vec::new();
    for (token, said) in [
        (token::of_user("u-2"), "the token is of another user"),
        (other_tenant, "the token is of another user"),
        (no_tenant, "missing claim tenant_id"),
        (until(0), "token expired"),
        (
            token::forged(&json!({"alg": "HS256"}), b"nobody"),
            "signature",
        ),
        ("nonsense".to_owned(), "malformed"),
        (String::new(), "missing"),
    ] {
        let refused = renew(&mut peer, &token);
        assert_eq!(refused["status"], "renewal_refused", "{refused}");
        assert_eq!(refused["code"], "auth_failed", "{refused}");
        assert!(
            refused["message"].as_str().unwrap().contains(said),
            "{refused}"
        );
        if token.contains('.') {
            tokens.push(token);
        }
    }
    // The session is still whose it was.
    let (_, known) = gateway.admin(&format!("GET /sessions/{session}"));
    let known: Value = serde_json::from_str(&known).unwrap();
    let known = &known["session"];
    assert_eq!(
        (&known["user"], &known["tenant"]),
        (&json!("u-1"), &json!("t-1")),
        "{known}"
    );
    peer.write(&raw::binary(&[1; 640])).unwrap();
    // It holds its claim, and nobody else has it.
    let renewed = renew(&mut peer, &until(7200));
    assert_eq!(renewed["status"], "renewed", "{renewed}");
    assert_eq!(peer.message()["type"], "token_expiring");
    finalize(&mut peer, 640);
    gateway.connection_log(&session);
    let record = std::fs::read_to_string(gateway.data().join("decisions.jsonl")).unwrap();
    let text = gateway.output().text();
    for token in tokens {
        assert!(
            !text.contains(&token) && !record.contains(&token),
            "{token}"
        );
    }
    assert_eq!(
        gateway.metric("sluice_token_renewals_total{result=\"refused\"}"),
        7.0
    );
}

#[test]
fn a_client_cannot_have_tokens_checked_all_the_time() {
    let gateway = Gateway::start(&config());
    let (mut peer, _) = stream(&gateway, &until(3600));
    let answers: Vec<_> = (0..11).map(|_| renew(&mut peer, "a.b.c")).collect();
    assert_eq!(answers[10]["message"], "too many tokens were sent");
    assert!(
        answers[9]["message"]
            .as_str()
            .unwrap()
            .contains("malformed")
    );
    finalize(&mut peer, 0);
}

#[test]
fn a_token_goes_neither_to_a_backend_nor_to_a_route_that_asks_for_none() {
    let config = Config::open().set("routes.ingest", "upstream", json!("mirror"));
    let gateway = Gateway::start(&config);
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade("/ingest/m1");
    peer.write(&raw::text(&asking().to_string())).unwrap();
    assert_eq!(peer.message().get("features"), None);
    for auth in [
        auth("a.b.c"),
        json!({"type": "auth"}),
        json!({"type": "auth", "token": [1]}),
    ] {
        peer.write(&raw::text(&auth.to_string())).unwrap();
        let answer = peer.message();
        assert_eq!(answer["status"], "renewal_refused", "{answer}");
        assert_eq!(answer["message"], "tokens of this route cannot be renewed");
    }
    // What it knows nothing of goes there and comes back.
    let other = json!({"type": "dance"});
    peer.write(&raw::text(&other.to_string())).unwrap();
    assert_eq!(peer.message(), other);
}

#[test]
fn the_command_streams_on_with_the_token_that_its_file_gets_in_time() {
    let gateway = Gateway::start(&config());
    let (first, second) = (until(12), until(3600));
    let over = token::now() + 13;
    gateway.replace("token", &first);
    let mut command = command::sluice(&["stream", "-", "--url"]);
    command
        .arg(format!("ws://{}/ws/ingest/meetings/m1", gateway.address()))
        .arg("--token-file")
        .arg(gateway.folder().join("token"))
        .stdin(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let (stdout, stderr) = (Output::default(), Output::default());
    stdout.follow(child.stdout.take().expect("piped"));
    stderr.follow(child.stderr.take().expect("piped"));
    let mut audio = child.stdin.take().expect("piped");
    let mut sample = std::fs::read(command::root().join("tests/speech/sample.wav")).unwrap();
    // The size of the audio in its head.
    sample[40..44].copy_from_slice(&12_800u32.to_le_bytes());
    audio
        .write_all(&sample[..44 + 6400])
        .expect("the command reads");
    stderr.find("the notice", |line| {
        line.contains("the token expires in").then_some(())
    });
    gateway.replace("token", &second);
    stderr.find("the renewal", |line| {
        line.contains("the token was renewed").then_some(())
    });
    let renewed = "sluice_token_renewals_total{result=\"renewed\"}";
    assert_eq!(gateway.metric(renewed), 1.0);
    eventually("the end of the first token", || {
        (token::now() > over).then_some(())
    });
    audio
        .write_all(&sample[44 + 6400..44 + 12_800])
        .expect("the command reads");
    drop(audio);
    let told = stdout.wait_for_end();
    assert_eq!(
        child.wait().expect("a status").code(),
        Some(0),
        "{}",
        stderr.text()
    );
    assert!(told.contains("finalized: 12800 bytes"), "{told}");
    let log = gateway.output().text();
    assert!(!log.contains(&first) && !log.contains(&second), "{log}");
}
