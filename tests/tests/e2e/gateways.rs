//! Several gateways that share their streams by NATS.

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::{Client, Event, Library, handshake, meeting};
use sluice_tests::gateway::Gateway;
use sluice_tests::nats::{self, Nats, keeping, place};
use sluice_tests::{eventually, speech, token};

/// Opens a stream, or goes on with one.
fn greet(gateway: &Gateway, user: &str, resume: Option<&str>) -> Client {
    let mut path = meeting("m1", "mic", user);
    if let Some(token) = resume {
        path = format!("{path}&resume={token}");
    }
    let mut client = Client::connect(Library::Ws, gateway, &path);
    let mut handshake = handshake();
    handshake["features"] = json!(["ack", "resume"]);
    client.json(&handshake);
    client
}

/// Opens a stream, or goes on with one. Gives what the gateway answers.
fn open(gateway: &Gateway, resume: Option<&str>) -> (Client, Value) {
    let mut client = greet(gateway, &token::good(), resume);
    let ack = client.message();
    assert_eq!(ack["status"], "ready", "{ack}");
    assert_eq!(ack["features"], json!(["ack", "resume"]), "{ack}");
    (client, ack)
}

fn text<'a>(ack: &'a Value, name: &str) -> &'a str {
    ack[name].as_str().expect("a text")
}

/// Sends audio, and waits until the stream has this many safe bytes.
fn send(client: &mut Client, audio: &[u8], bytes: usize) {
    for chunk in audio.chunks(3200) {
        client.binary(chunk);
    }
    loop {
        let ack = client.message();
        assert_eq!(ack["type"], "ack", "{ack}");
        if ack["bytes"] == bytes {
            return;
        }
    }
}

fn finalize(client: &mut Client, bytes: usize) {
    client.json(&json!({"type": "finalize"}));
    loop {
        let message = client.message();
        if message["type"] != "ack" {
            assert_eq!(
                (&message["status"], &message["bytes"]),
                (&json!("finalized"), &json!(bytes))
            );
            return;
        }
    }
}

#[test]
fn a_client_whose_gateway_was_killed_goes_on_at_another_and_the_first_does_not_take_it_back() {
    let nats = Nats::start();
    let config = keeping(&[nats.url()]);
    let (mut first, second) = (Gateway::start(&config), Gateway::start(&config));
    let clip = speech::long_clip();
    let (mut client, ack) = open(&first, None);
    let place = place("m1", text(&ack, "session_id"));
    send(&mut client, &clip.pcm[..64_000], 64_000);
    first.kill();
    let (mut client, ack) = open(&second, Some(text(&ack, "resume_token")));
    assert_eq!(ack["from_bytes"], 64_000, "{ack}");
    send(&mut client, &clip.pcm[64_000..128_000], 128_000);
    // The first one finds in its own store that it had the stream.
    first.start_again();
    let lost = "a stream of the earlier process is lost";
    let log = first.output().find("it looks at the stream", |line| {
        line.contains(lost).then_some(())
    });
    assert!(log.is_some());
    for chunk in clip.pcm[128_000..].chunks(3200) {
        client.binary(chunk);
    }
    finalize(&mut client, clip.pcm.len());
    let found = nats::read(&[nats.url()], &place, None);
    assert!(found.audio == clip.pcm, "{} bytes", found.audio.len());
    assert_eq!(found.writers, 2);
}

#[test]
fn a_client_may_change_gateways_and_change_back_while_all_of_them_live() {
    let nats = Nats::start();
    let config = keeping(&[nats.url()]);
    let (first, second) = (Gateway::start(&config), Gateway::start(&config));
    let clip = speech::long_clip();
    let (mut left, ack) = open(&first, None);
    let place = place("m1", text(&ack, "session_id"));
    send(&mut left, &clip.pcm[..64_000], 64_000);
    let (mut client, ack) = open(&second, Some(text(&ack, "resume_token")));
    assert_eq!(ack["from_bytes"], 64_000, "{ack}");
    send(&mut client, &clip.pcm[64_000..128_000], 128_000);
    // What still comes over the connection that the client gave up is not taken.
    left.binary(&[9; 3200]);
    left.expect_refusal(4003, "superseded");
    let (mut back, ack) = open(&first, Some(text(&ack, "resume_token")));
    assert_eq!(ack["from_bytes"], 128_000, "{ack}");
    client.binary(&[9; 3200]);
    client.expect_refusal(4003, "superseded");
    for chunk in clip.pcm[128_000..].chunks(3200) {
        back.binary(chunk);
    }
    finalize(&mut back, clip.pcm.len());
    let found = nats::read(&[nats.url()], &place, None);
    assert!(found.audio == clip.pcm, "{} bytes", found.audio.len());
    assert_eq!(found.writers, 3);
}

#[test]
fn a_client_whose_ack_was_lost_gets_its_stream_back_where_nobody_knows_that_it_had_left() {
    let nats = Nats::start();
    let config = keeping(&[nats.url()]);
    let (first, second) = (Gateway::start(&config), Gateway::start(&config));
    let clip = speech::long_clip();
    let (mut left, ack) = open(&first, None);
    let token = text(&ack, "resume_token");
    let place = place("m1", text(&ack, "session_id"));
    send(&mut left, &clip.pcm[..64_000], 64_000);
    // It never learns the token of the second gateway.
    let (lost, _) = open(&second, Some(token));
    let (mut back, ack) = open(&first, Some(token));
    assert_eq!(ack["from_bytes"], 64_000, "{ack}");
    for chunk in clip.pcm[64_000..].chunks(3200) {
        back.binary(chunk);
    }
    finalize(&mut back, clip.pcm.len());
    let found = nats::read(&[nats.url()], &place, None);
    assert!(found.audio == clip.pcm, "{} bytes", found.audio.len());
    assert_eq!(found.writers, 3);
    drop((left, lost));
}

#[test]
fn what_a_gateway_had_of_a_stream_does_not_end_what_it_has_of_it_since_the_client_is_back() {
    let nats = Nats::start();
    let config = keeping(&[nats.url()]).set("server", "admin_listen", json!("127.0.0.1:0"));
    let (mut first, second) = (Gateway::start(&config), Gateway::start(&config));
    let (mut left, ack) = open(&first, None);
    send(&mut left, &[1; 6400], 6400);
    let (mut client, ack) = open(&second, Some(text(&ack, "resume_token")));
    send(&mut client, &[2; 3200], 9600);
    // The first gateway does not know yet that the stream was away.
    let (mut back, ack) = open(&first, Some(text(&ack, "resume_token")));
    send(&mut back, &[3; 3200], 12_800);
    left.binary(&[9; 3200]);
    left.expect_refusal(4003, "superseded");
    first.kill();
    first.start_again();
    eventually("its own store leads to the stream", || {
        let restored = r#"sluice_restored_streams_total{result="restored"}"#;
        (first.metric(restored) == 1.0).then_some(())
    });
    let (mut client, ack) = open(&first, Some(text(&ack, "resume_token")));
    assert_eq!(ack["from_bytes"], 12_800, "{ack}");
    finalize(&mut client, 12_800);
}

#[test]
fn who_has_a_token_and_is_another_user_gets_nothing_and_disturbs_nobody() {
    let nats = Nats::start();
    let config = keeping(&[nats.url()]);
    let (first, second) = (Gateway::start(&config), Gateway::start(&config));
    let (mut client, ack) = open(&first, None);
    let place = place("m1", text(&ack, "session_id"));
    send(&mut client, &[1; 6400], 6400);
    let mut thief = greet(
        &second,
        &token::of_user("u-2"),
        Some(text(&ack, "resume_token")),
    );
    thief.expect_refusal(4011, "resume_refused");
    let unknown = format!("{}A", text(&ack, "resume_token"));
    let mut guess = greet(&second, &token::good(), Some(&unknown));
    guess.expect_refusal(4011, "resume_refused");
    send(&mut client, &[2; 6400], 12_800);
    finalize(&mut client, 12_800);
    let found = nats::read(&[nats.url()], &place, None);
    assert_eq!(found.audio, [[1; 6400], [2; 6400]].concat());
    assert_eq!(found.writers, 1);
}

#[test]
fn a_client_that_comes_back_while_the_servers_are_away_may_come_again() {
    let mut nats = Nats::start();
    let config = keeping(&[nats.url()]);
    let (mut first, second) = (Gateway::start(&config), Gateway::start(&config));
    let (mut client, ack) = open(&first, None);
    send(&mut client, &[1; 6400], 6400);
    first.signal(Signal::KILL);
    first.wait();
    nats.kill();
    let resume = text(&ack, "resume_token");
    let mut early = greet(&second, &token::good(), Some(resume));
    let refusal = early.expect_refusal(4006, "upstream_unavailable");
    assert_eq!(refusal["retryable"], true, "{refusal}");
    nats.start_again();
    let (mut client, ack) = eventually("it goes on", || {
        let mut client = greet(&second, &token::good(), Some(resume));
        match client.event() {
            Event::Text(ack) => {
                let ack: Value = serde_json::from_str(&ack).expect("JSON");
                (ack["status"] == "ready").then_some((client, ack))
            }
            _ => None,
        }
    });
    assert_eq!(ack["from_bytes"], 6400, "{ack}");
    send(&mut client, &[2; 3200], 9600);
    finalize(&mut client, 9600);
}
