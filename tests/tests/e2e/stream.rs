//! Audio on its way, and the messages beside it.

use serde_json::json;
use sluice_tests::client::{Client, Event, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, Clip, read_wav};
use sluice_tests::{token, with_both_clients};
use tungstenite::protocol::frame::coding::{Control, OpCode};

fn start(library: Library, gateway: &Gateway, path: &str) -> Client {
    let mut client = Client::connect(library, gateway, path);
    client.json(&json!({"type": "handshake", "sample_rate": 16000, "device_id": "d"}));
    client.expect_ack();
    client
}

fn mic() -> String {
    meeting("m1", "mic", &token::good())
}

/// Milliseconds of 16 kHz mono 16-bit audio.
fn milliseconds(pcm: &[u8]) -> usize {
    pcm.len() / 32
}

fn assert_recorded(gateway: &Gateway, clip: &Clip) {
    let (spec, pcm) = read_wav(&gateway.recording());
    assert_eq!(
        (spec.channels, spec.sample_rate, spec.bits_per_sample),
        (1, clip.rate, 16)
    );
    assert!(
        pcm == clip.pcm,
        "{} arrived changed: {} of {} bytes",
        clip.path.display(),
        pcm.len(),
        clip.pcm.len()
    );
}

with_both_clients! {
    fn speech_arrives_byte_for_byte(library) {
        let gateway = Gateway::start(&Config::ingest());
        // The sizes of the deployed clients' chunks, one that cuts samples in
        // two, and one near the largest message.
        let chunks = [640, 3200, 4096, 333, 200_000];
        for (number, clip) in speech::clips(16).iter().enumerate() {
            let meeting_id = format!("clip-{number:03}");
            let mut client = start(library, &gateway, &meeting(&meeting_id, "mic", &token::good()));
            client.stream(clip, chunks[number % chunks.len()]);
            client.finalize(clip.pcm.len(), milliseconds(&clip.pcm));
            let paths = gateway.recordings();
            let path = paths.iter().find(|path| path.to_string_lossy().contains(&meeting_id));
            let (_, pcm) = read_wav(path.unwrap_or_else(|| panic!("no {meeting_id} in {paths:?}")));
            assert!(pcm == clip.pcm, "{} arrived changed", clip.path.display());
        }
    }

    fn speech_at_48_khz_arrives_where_it_is_let_in(library) {
        let gateway = Gateway::start(&Config::ingest().set("policies.sample-rate.config", "rates", json!([16000, 48000])));
        let clip = speech::clips(48).remove(0);
        let mut client = Client::connect(library, &gateway, &mic());
        client.json(&json!({"type": "handshake", "sample_rate": 48000, "device_id": "d"}));
        client.expect_ack();
        client.stream(&clip, 4096);
        client.finalize(clip.pcm.len(), clip.pcm.len() / 96);
        assert_recorded(&gateway, &clip);
    }

    fn both_sources_of_a_meeting_stream_at_once(library) {
        let gateway = Gateway::start(&Config::ingest());
        let clips = speech::clips(16);
        let (mic_clip, sys_clip) = (&clips[0], &clips[1]);
        let mut mic = start(library, &gateway, &mic());
        let mut sys = start(library, &gateway, &meeting("m1", "sys", &token::good()));
        mic.stream(mic_clip, 640);
        sys.stream(sys_clip, 640);
        sys.finalize(sys_clip.pcm.len(), milliseconds(&sys_clip.pcm));
        mic.finalize(mic_clip.pcm.len(), milliseconds(&mic_clip.pcm));
        for (source, clip) in [("mic", mic_clip), ("sys", sys_clip)] {
            let recordings = gateway.recordings();
            let named = |path: &&std::path::PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains(source));
            let path = recordings.iter().find(named).unwrap_or_else(|| panic!("no {source} in {recordings:?}"));
            assert!(read_wav(path).1 == clip.pcm, "{source}");
        }
    }

    fn the_deployed_apps_sequence_loses_no_byte(library) {
        let gateway = Gateway::start(&Config::ingest());
        let clip = speech::long_clip();
        let chunk = 3200;
        assert!(clip.pcm.len() > 50 * chunk, "the clip is long enough for 50 chunks");
        let mut client = Client::connect(library, &gateway, &mic());
        client.handshake();
        for chunk in clip.pcm.chunks(chunk).take(50) {
            client.binary(chunk);
        }
        client.expect_ack();
        client.json(&json!({"type": "ping"}));
        assert_eq!(client.message(), json!({"type": "pong"}));
        for chunk in clip.pcm.chunks(chunk).skip(50) {
            client.binary(chunk);
        }
        client.json(&json!({"type": "finalize"}));
        client.close(1001, "");
        // It may be told that the stream is finalized before the Close is echoed.
        let end = loop {
            match client.event() {
                Event::Text(_) => {}
                other => break other,
            }
        };
        assert!(matches!(end, Event::Close(1000 | 1001, _)), "{end:?}");
        assert_recorded(&gateway, &clip);
    }

    fn the_controls_of_a_stream_are_answered(library) {
        let gateway = Gateway::start(&Config::ingest());
        let clip = speech::clip();
        let (before, rest) = clip.pcm.split_at(6400);
        let (during, after) = rest.split_at(6400);
        let mut client = start(library, &gateway, &mic());
        client.binary(before);
        client.json(&json!({"type": "pause"}));
        assert_eq!(client.message(), json!({"type": "status", "status": "paused"}));
        client.binary(during);
        client.json(&json!({"type": "ping"}));
        assert_eq!(client.message(), json!({"type": "pong"}));
        client.json(&json!({"type": "resume"}));
        assert_eq!(client.message(), json!({"type": "status", "status": "resumed"}));
        for chunk in after.chunks(3200) {
            client.binary(chunk);
        }
        client.finalize(clip.pcm.len(), milliseconds(&clip.pcm));
        assert_recorded(&gateway, &clip);
    }

    fn messages_of_an_unknown_kind_change_nothing(library) {
        let gateway = Gateway::start(&Config::ingest());
        let mut client = start(library, &gateway, &mic());
        client.json(&json!({"type": "pong"}));
        client.json(&json!({"type": "from-the-future", "data": [1, 2, 3]}));
        client.binary(&[]);
        client.binary(&[1, 2, 3, 4]);
        client.finalize(4, 0);
        assert_eq!(read_wav(&gateway.recording()).1, [1, 2, 3, 4]);
    }

    fn close_is_a_finalize_without_the_message(library) {
        let gateway = Gateway::start(&Config::ingest());
        let mut client = start(library, &gateway, &mic());
        client.binary(&[1, 2, 3, 4]);
        client.json(&json!({"type": "close"}));
        assert!(matches!(client.event(), Event::Close(1000, _)));
        assert_eq!(read_wav(&gateway.recording()).1, [1, 2, 3, 4]);
    }

    fn a_client_that_says_nothing_is_told_so(library) {
        let config = Config::ingest().limit("idle_timeout", "400ms").limit("ping_interval", "60s");
        let gateway = Gateway::start(&config);
        let mut client = start(library, &gateway, &mic());
        let frame = client.expect_refusal(4008, "idle_timeout");
        assert_eq!(frame["retryable"], true);
    }

    fn a_client_that_answers_pings_is_not_idle(library) {
        // Nothing but the library's own pongs keeps this stream alive.
        let config = Config::ingest().limit("idle_timeout", "1500ms").limit("ping_interval", "100ms");
        let gateway = Gateway::start(&config.echo_limit("idle_timeout", "3s").echo_limit("ping_interval", "60s"));
        let mut client = start(library, &gateway, &mic());
        // A silent stream on a route that ends after twice the time is the clock.
        let mut clock = Client::connect(library, &gateway, "/echo");
        clock.expect_refusal(4008, "idle_timeout");
        client.finalize(0, 0);
    }
}

/// A stream of a peer that needs no time to start, with a token that runs out
/// after two or three seconds.
fn short_lived(gateway: &Gateway) -> Raw {
    let token = token::sign(&token::claims_with(json!({"exp": token::now() + 3})));
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&meeting("m1", "mic", &token));
    peer.write(&raw::text(&handshake().to_string())).unwrap();
    assert_eq!(peer.message()["status"], "ready");
    peer
}

#[test]
fn a_token_that_runs_out_ends_the_stream_and_keeps_the_audio() {
    let gateway = Gateway::start(&Config::ingest());
    let clip = speech::clip();
    let mut peer = short_lived(&gateway);
    for chunk in clip.pcm.chunks(3200) {
        peer.write(&raw::binary(chunk)).unwrap();
    }
    let frame = peer.message();
    assert_eq!(
        (&frame["code"], &frame["retryable"]),
        (&json!("token_expired"), &json!(false))
    );
    let close = peer.frame().expect("a Close");
    assert_eq!(
        close.close(),
        Some((4010, frame["message"].as_str().unwrap()))
    );
    assert_recorded(&gateway, &clip);
}

#[test]
fn a_token_that_is_let_in_by_the_leeway_streams_until_that_is_over() {
    let config = Config::ingest().set("key_sets.main", "leeway", json!("30s"));
    let gateway = Gateway::start(&config);
    let token = token::sign(&token::claims_with(json!({"exp": token::now() - 5})));
    let clip = speech::clip();
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token));
    client.handshake();
    client.expect_ack();
    client.send_audio(&clip.pcm);
    client.finalize(clip.pcm.len(), clip.pcm.len() / 32);
    // It ends with the leeway, and not later.
    let token = token::sign(&token::claims_with(json!({"exp": token::now() - 27})));
    client.open(&gateway, &meeting("m2", "mic", &token), &[]);
    client.handshake();
    client.expect_ack();
    client.expect_refusal(4010, "token_expired");
}

#[test]
fn a_token_that_runs_out_may_be_for_admission_only() {
    let config = Config::ingest().limit("token_expiry", "ignore");
    let config = config
        .echo_limit("idle_timeout", "4s")
        .echo_limit("ping_interval", "60s");
    let gateway = Gateway::start(&config);
    let mut peer = short_lived(&gateway);
    // The clock: it ends after the token did.
    Client::connect(Library::Ws, &gateway, "/echo").expect_refusal(4008, "idle_timeout");
    peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    assert_eq!(peer.message()["status"], "finalized");
}

#[test]
fn a_ping_of_the_protocol_is_answered_with_its_payload() {
    let gateway = Gateway::start(&Config::ingest());
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade(&mic());
    for payload in [&b""[..], b"now", &[7; 125]] {
        peer.send(OpCode::Control(Control::Ping), payload);
        let pong = peer.frame().expect("a pong");
        assert_eq!(
            (pong.opcode, &pong.payload[..]),
            (OpCode::Control(Control::Pong), payload)
        );
    }
}

#[test]
fn audio_in_one_write_with_the_handshake_waits_for_the_ack() {
    let gateway = Gateway::start(&Config::ingest());
    let clip = speech::clip();
    let mut peer = Raw::connect(gateway.address());
    let mut all = raw::upgrade_request(&mic()).into_bytes();
    all.extend(raw::text(&handshake().to_string()));
    for chunk in clip.pcm.chunks(640) {
        all.extend(raw::binary(chunk));
    }
    all.extend(raw::text(r#"{"type":"finalize"}"#));
    let writing = std::thread::spawn({
        let mut writer = peer.writer();
        move || std::io::Write::write_all(&mut writer, &all)
    });
    assert_eq!(peer.response().status, 101);
    assert_eq!(peer.message()["status"], "ready");
    assert_eq!(peer.message()["bytes"], clip.pcm.len());
    assert_eq!(
        peer.frame().expect("a Close").close().map(|(code, _)| code),
        Some(1000)
    );
    writing.join().unwrap().expect("all of it is read");
    assert_recorded(&gateway, &clip);
}
