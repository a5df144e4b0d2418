//! One ingest for a meeting and source: who stays, and who may come back.

use serde_json::json;
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::speech::{self, read_wav};
use sluice_tests::{eventually, token, with_both_clients};

fn streaming(library: Library, gateway: &Gateway, path: &str) -> Client {
    let mut client = Client::connect(library, gateway, path);
    client.json(&json!({"type": "handshake", "sample_rate": 16000, "device_id": "d"}));
    client.expect_ack();
    client
}

with_both_clients! {
    fn another_user_s_ingest_is_refused_and_the_first_goes_on(library) {
        let gateway = Gateway::start(&Config::ingest());
        let path = meeting("m1", "mic", &token::good());
        let clip = speech::clip();
        let mut first = streaming(library, &gateway, &path);
        let other = meeting("m1", "mic", &token::of_user("u-2"));
        let mut second = Client::connect(library, &gateway, &other);
        let frame = second.expect_refusal_saying(4002, "ingest_exists", "Ingest already active");
        assert_eq!(frame["retryable"], true);
        first.stream(&clip, 3200);
        first.finalize(clip.pcm.len(), clip.pcm.len() / 32);
        assert_eq!(read_wav(&gateway.recording()).1, clip.pcm);
    }

    fn whoever_sees_the_close_can_come_back_at_once(library) {
        let gateway = Gateway::start(&Config::ingest());
        let path = meeting("m1", "mic", &token::good());
        let mut client = Client::idle(library);
        for _ in 0..20 {
            client.open(&gateway, &path, &[]);
            client.handshake();
            client.expect_ack();
            client.finalize(0, 0);
        }
    }

    fn two_sources_or_two_meetings_do_not_collide(library) {
        let gateway = Gateway::start(&Config::ingest());
        let token = token::good();
        let _mic = streaming(library, &gateway, &meeting("m1", "mic", &token));
        let _sys = streaming(library, &gateway, &meeting("m1", "sys", &token));
        let _other = streaming(library, &gateway, &meeting("m2", "mic", &token));
        let theirs = token::sign(&token::claims_with(json!({"tenant_id": "t-2"})));
        let _theirs = streaming(library, &gateway, &meeting("m1", "mic", &theirs));
        let other = meeting("m1", "system", &token::of_user("u-2"));
        let mut again = Client::connect(library, &gateway, &other);
        again.expect_refusal(4002, "ingest_exists");
    }

    fn a_takeover_seals_the_old_recording_and_lets_the_newcomer_stream(library) {
        let gateway = Gateway::start(&Config::ingest().set("policies.duplicate.config", "mode", json!("takeover")));
        let path = meeting("m1", "mic", &token::good());
        let (old_clip, new_clip) = (speech::clips(16).remove(0), speech::clips(16).remove(1));
        let mut old = streaming(library, &gateway, &path);
        old.stream(&old_clip, 3200);
        // The pong says that everything before it was taken.
        old.json(&json!({"type": "ping"}));
        assert_eq!(old.message(), json!({"type": "pong"}));
        let mut new = streaming(library, &gateway, &meeting("m1", "mic", &token::of_user("u-2")));
        let sealed = gateway.recordings().iter().any(|path| read_wav(path).1 == old_clip.pcm);
        assert!(sealed, "the old recording is sealed before the newcomer streams");
        let frame = old.expect_refusal(4003, "superseded");
        assert_eq!(frame["retryable"], false);
        new.stream(&new_clip, 3200);
        new.finalize(new_clip.pcm.len(), new_clip.pcm.len() / 32);
        let recordings: Vec<_> = gateway.recordings().iter().map(|path| read_wav(path).1).collect();
        assert_eq!(recordings.len(), 2);
        assert!(recordings.contains(&old_clip.pcm) && recordings.contains(&new_clip.pcm));
    }

    fn an_owner_takes_over_from_a_dead_connection_and_a_stranger_does_not(library) {
        let gateway = Gateway::start(&Config::ingest());
        let mine = meeting("m1", "mic", &token::of_user("u-1"));
        let mut dead = streaming(library, &gateway, &mine);
        let mut stranger = Client::connect(library, &gateway, &meeting("m1", "mic", &token::of_user("u-2")));
        stranger.expect_refusal_saying(4002, "ingest_exists", "Ingest already active");
        let mut back = streaming(library, &gateway, &mine);
        dead.expect_refusal(4003, "superseded");
        back.finalize(0, 0);
    }
}

/// Its socket is there, and it is not: it neither reads nor says anything, in the
/// middle of a message.
#[test]
fn a_client_that_vanished_does_not_keep_its_user_out_and_gets_its_notice() {
    let gateway = Gateway::start(&Config::ingest());
    let mine = meeting("m1", "mic", &token::good());
    let mut vanished = Raw::connect_with_small_window(gateway.address());
    vanished.upgrade(&mine);
    vanished
        .write(&raw::text(&handshake().to_string()))
        .unwrap();
    assert_eq!(vanished.message()["type"], "handshake-ack");
    vanished.write(&raw::binary(&[7; 3200])).unwrap();
    vanished.write(&raw::binary(&[8; 3200])[..1000]).unwrap();
    let clip = speech::clip();
    let mut back = streaming(Library::Ws, &gateway, &mine);
    back.stream(&clip, 3200);
    back.finalize(clip.pcm.len(), clip.pcm.len() / 32);
    let frame = vanished.message();
    assert_eq!(
        (&frame["code"], &frame["retryable"]),
        (&json!("superseded"), &json!(false))
    );
    let close = vanished.frame().expect("a Close");
    assert_eq!(
        close.close(),
        Some((4003, "superseded by a newer connection"))
    );
    let recordings: Vec<_> = gateway
        .recordings()
        .iter()
        .map(|path| read_wav(path).1)
        .collect();
    assert_eq!(recordings.len(), 2);
    assert!(recordings.contains(&clip.pcm) && recordings.contains(&vec![7; 3200]));
}

/// They would otherwise send each other away for ever.
#[test]
fn of_two_devices_of_one_user_the_older_one_stays_away() {
    let config = Config::ingest().set("server", "admin_listen", json!("127.0.0.1:0"));
    let gateway = Gateway::start(&config);
    let clip = speech::long_clip();
    let url = gateway.url("/ws/ingest/meetings/m1?source=mic");
    let mut older = command::sluice(&["stream", "--url", &url]);
    older.arg(&clip.path).env("SLUICE_TOKEN", token::good());
    let done = std::thread::scope(|scope| {
        let older = scope.spawn(|| command::run(&mut older));
        eventually("the older device's claim", || {
            let (_, metrics) = gateway.admin("GET /metrics");
            metrics.contains("sluice_claims 1").then_some(())
        });
        let mut newer = streaming(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
        let done = older.join().unwrap();
        newer.finalize(0, 0);
        done
    });
    assert_eq!(done.status, Some(3), "{done:?}");
    assert!(
        done.stderr.contains("4003") && done.stderr.contains("superseded"),
        "{done:?}"
    );
    assert!(!done.stderr.contains("trying again"), "{done:?}");
}

#[test]
fn of_many_newcomers_at_once_exactly_one_gets_in() {
    // They are all one user.
    let one = json!("reject");
    let gateway =
        Gateway::start(&Config::ingest().set("policies.duplicate.config", "same_user", one));
    let path = meeting("m1", "mic", &token::good());
    let outcomes = std::thread::scope(|scope| {
        let newcomers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::connect(Library::Ws, &gateway, &path);
                    client.handshake();
                    let outcome = client.message()["type"].as_str().unwrap().to_owned();
                    (client, outcome)
                })
            })
            .collect();
        newcomers
            .into_iter()
            .map(|newcomer| newcomer.join().unwrap())
            .collect::<Vec<_>>()
    });
    let admitted = outcomes
        .iter()
        .filter(|(_, outcome)| outcome == "handshake-ack")
        .count();
    let refused = outcomes
        .iter()
        .filter(|(_, outcome)| outcome == "error")
        .count();
    assert_eq!((admitted, refused), (1, 7));
}

#[test]
fn a_refusal_by_a_later_policy_gives_the_claim_back() {
    let gateway = Gateway::start(&Config::ingest());
    let path = meeting("m1", "mic", &token::good());
    let mut wrong = Client::connect(Library::Ws, &gateway, &path);
    wrong.json(&json!({"type": "handshake", "sample_rate": 44100, "device_id": "d"}));
    wrong.expect_refusal(4000, "invalid_sample_rate");
    let _right = streaming(Library::Ws, &gateway, &path);
}
