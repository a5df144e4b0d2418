//! One ingest for a meeting and source: who stays, and who may come back.

use serde_json::json;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::speech::{self, read_wav};
use sluice_tests::{token, with_both_clients};

fn streaming(library: Library, gateway: &Gateway, path: &str) -> Client {
    let mut client = Client::connect(library, gateway, path);
    client.json(&json!({"type": "handshake", "sample_rate": 16000, "device_id": "d"}));
    client.expect_ack();
    client
}

with_both_clients! {
    fn a_second_ingest_is_refused_and_the_first_goes_on(library) {
        let gateway = Gateway::start(&Config::ingest());
        let path = meeting("m1", "mic", &token::good());
        let clip = speech::clip();
        let mut first = streaming(library, &gateway, &path);
        let mut second = Client::connect(library, &gateway, &path);
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
        let mut again = Client::connect(library, &gateway, &meeting("m1", "system", &token));
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
        let gateway = Gateway::start(&Config::ingest().set("policies.duplicate.config", "same_user", json!("takeover")));
        let mine = meeting("m1", "mic", &token::of_user("u-1"));
        let mut dead = streaming(library, &gateway, &mine);
        let mut stranger = Client::connect(library, &gateway, &meeting("m1", "mic", &token::of_user("u-2")));
        stranger.expect_refusal_saying(4002, "ingest_exists", "Ingest already active");
        let mut back = streaming(library, &gateway, &mine);
        dead.expect_refusal(4003, "superseded");
        back.finalize(0, 0);
    }
}

#[test]
fn of_many_newcomers_at_once_exactly_one_gets_in() {
    let gateway = Gateway::start(&Config::ingest());
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
