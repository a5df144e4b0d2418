//! Exclusive claims of several gateways that share their streams by NATS.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Event, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::nats::{Nats, keeping};
use sluice_tests::raw::{self, Raw};
use sluice_tests::{eventually, token};

/// Gateways that share claims and record to their own disks.
fn sharing(nats: &Nats) -> Config {
    Config::ingest().set("cluster", "servers", json!([nats.url()]))
}

fn two(config: &Config) -> [Gateway; 2] {
    [Gateway::start(config), Gateway::start(config)]
}

fn greet(gateway: &Gateway, path: &str) -> Client {
    let mut client = Client::connect(Library::Ws, gateway, path);
    let mut handshake = handshake();
    handshake["features"] = json!(["ack", "resume"]);
    // The URL says which.
    handshake
        .as_object_mut()
        .expect("an object")
        .remove("source");
    client.json(&handshake);
    client
}

/// A stream that runs.
fn streaming(gateway: &Gateway, path: &str) -> (Client, Value) {
    let mut client = greet(gateway, path);
    let ack = client.message();
    assert_eq!(ack["status"], "ready", "{ack}");
    (client, ack)
}

/// A stream that runs, once the gateway lets it in.
fn eventually_streaming(gateway: &Gateway, path: &str) -> (Client, Value) {
    eventually("the gateway lets it in", || {
        let mut client = greet(gateway, path);
        match client.event() {
            Event::Text(ack) => {
                let ack: Value = serde_json::from_str(&ack).expect("JSON");
                (ack["status"] == "ready").then_some((client, ack))
            }
            _ => None,
        }
    })
}

fn finalize(client: &mut Client) {
    client.json(&json!({"type": "finalize"}));
    let status = client.message();
    assert_eq!(status["status"], "finalized", "{status}");
}

#[test]
fn a_meeting_and_source_has_one_ingest_at_all_gateways_until_that_ends() {
    let nats = Nats::start();
    let [first, second] = two(&sharing(&nats));
    let (mut client, _) = streaming(&first, &meeting("m1", "mic", &token::good()));
    let other = meeting("m1", "mic", &token::of_user("u-2"));
    let mut refused = greet(&second, &other);
    let frame = refused.expect_refusal_saying(4002, "ingest_exists", "Ingest already active");
    assert_eq!(frame["retryable"], true);
    // The policy was asked twice, and the log says so once.
    let log = second.connection_log(frame["session_id"].as_str().expect("a text"));
    let decisions = log["decisions"].to_string();
    assert_eq!(decisions.matches("duplicate=").count(), 1, "{log}");
    // Nobody else is kept out.
    let _sys = streaming(&second, &meeting("m1", "sys", &token::of_user("u-2")));
    finalize(&mut client);
    let (mut next, _) = eventually_streaming(&second, &other);
    finalize(&mut next);
}

#[test]
fn the_same_user_takes_over_from_another_gateway_and_the_old_stream_is_sealed_before() {
    let nats = Nats::start();
    let [first, second] = two(&sharing(&nats));
    let mine = meeting("m1", "mic", &token::good());
    let (mut old, _) = streaming(&first, &mine);
    old.binary(&[1; 3200]);
    assert_eq!(old.message()["bytes"], 3200);
    let (mut new, _) = streaming(&second, &mine);
    let recording = sluice_tests::speech::read_wav(&first.recording()).1;
    assert_eq!(recording, [1; 3200]);
    let frame = old.expect_refusal(4003, "superseded");
    assert_eq!(frame["message"], "superseded by a newer connection");
    // And back.
    let (mut again, _) = streaming(&first, &mine);
    new.expect_refusal(4003, "superseded");
    finalize(&mut again);
}

#[test]
fn a_gateway_that_was_killed_keeps_its_meetings_until_its_lease_ends() {
    let nats = Nats::start();
    let [mut first, second] = two(&sharing(&nats));
    let (_client, _) = streaming(&first, &meeting("m1", "mic", &token::good()));
    first.kill();
    let other = meeting("m1", "mic", &token::of_user("u-2"));
    let mut refused = greet(&second, &other);
    refused.expect_refusal(4002, "ingest_exists");
    let (mut client, _) = eventually_streaming(&second, &other);
    finalize(&mut client);
}

#[test]
fn a_gateway_that_stood_still_ends_what_was_taken_and_keeps_the_rest() {
    let nats = Nats::start();
    let config = sharing(&nats).set("server", "admin_listen", json!("127.0.0.1:0"));
    let [first, second] = two(&config);
    let (mut taken, _) = streaming(&first, &meeting("m1", "mic", &token::good()));
    let (mut kept, _) = streaming(&first, &meeting("m2", "mic", &token::good()));
    let still = first.stand_still();
    let other = meeting("m1", "mic", &token::of_user("u-2"));
    let (mut client, _) = eventually_streaming(&second, &other);
    drop(still);
    let frame = taken.expect_refusal(4003, "superseded");
    assert_eq!(frame["retryable"], false, "{frame}");
    assert_eq!(first.metric("sluice_cluster_leases_lost_total"), 1.0);
    eventually("its other meeting is its own again", || {
        let other = meeting("m2", "mic", &token::of_user("u-2"));
        let mut refused = greet(&second, &other);
        match refused.event() {
            Event::Text(frame) => frame.contains("ingest_exists").then_some(()),
            _ => None,
        }
    });
    finalize(&mut kept);
    finalize(&mut client);
}

#[test]
fn without_nats_streams_go_on_and_who_claims_nothing_is_let_in_and_no_policy_is_blamed() {
    let mut nats = Nats::start();
    let config = sharing(&nats).set("server", "admin_listen", json!("127.0.0.1:0"));
    let gateway = Gateway::start(&config);
    let path = meeting("m1", "mic", &token::good());
    let (mut live, _) = streaming(&gateway, &path);
    nats.kill();
    for source in ["mic", "sys"] {
        let other = meeting("m2", source, &token::good());
        let frame = greet(&gateway, &other).expect_refusal(1013, "unavailable");
        assert_eq!(frame["retryable"], true, "{frame}");
        assert!(frame["retry_after_ms"].as_u64() >= Some(1000), "{frame}");
    }
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    echo.text("hello");
    assert_eq!(echo.event(), Event::Text("hello".to_owned()));
    for outcome in ["trap", "timeout"] {
        let failed =
            format!(r#"sluice_policy_decisions_total{{policy="duplicate",outcome="{outcome}"}}"#);
        assert_eq!(gateway.metric(&failed), 0.0);
    }
    live.binary(&[1; 3200]);
    assert_eq!(live.message()["bytes"], 3200);
    nats.start_again();
    let (mut client, _) = eventually_streaming(&gateway, &meeting("m2", "mic", &token::good()));
    finalize(&mut client);
    live.json(&json!({"type": "finalize"}));
}

#[test]
fn a_client_that_resumes_at_another_gateway_takes_its_meeting_there() {
    let nats = Nats::start();
    let config = keeping(&[nats.url()]).set("server", "admin_listen", json!("127.0.0.1:0"));
    let [first, second] = two(&config);
    let mine = meeting("m1", "mic", &token::good());
    let (mut left, ack) = streaming(&first, &mine);
    left.binary(&[1; 3200]);
    assert_eq!(left.message()["bytes"], 3200);
    let token = ack["resume_token"].as_str().expect("a text");
    let (mut back, ack) = streaming(&second, &format!("{mine}&resume={token}"));
    assert_eq!(ack["from_bytes"], 3200, "{ack}");
    // The first gateway lets go at once.
    left.expect_refusal(4003, "superseded");
    eventually("the first gateway holds no key", || {
        (first.metric("sluice_claims") == 0.0).then_some(())
    });
    for gateway in [&first, &second] {
        let other = meeting("m1", "mic", &token::of_user("u-2"));
        greet(gateway, &other).expect_refusal(4002, "ingest_exists");
    }
    finalize(&mut back);
    let (mut next, _) = eventually_streaming(&first, &meeting("m1", "mic", &token::of_user("u-2")));
    finalize(&mut next);
}

#[test]
fn a_gateway_that_was_killed_starts_again_with_the_meetings_of_its_streams() {
    let nats = Nats::start();
    let [mut first, second] = two(&keeping(&[nats.url()]));
    let mine = meeting("m1", "mic", &token::good());
    let (mut client, ack) = streaming(&first, &mine);
    client.binary(&[1; 3200]);
    assert_eq!(client.message()["bytes"], 3200);
    first.kill();
    first.start_again();
    let token = ack["resume_token"].as_str().expect("a text");
    let (mut back, _) = eventually_streaming(&first, &format!("{mine}&resume={token}"));
    let other = meeting("m1", "mic", &token::of_user("u-2"));
    greet(&second, &other).expect_refusal(4002, "ingest_exists");
    finalize(&mut back);
    let (mut next, _) = eventually_streaming(&second, &other);
    finalize(&mut next);
}

#[test]
fn a_gateway_that_stops_leaves_its_meetings_to_others_at_once() {
    let nats = Nats::start();
    let [mut first, second] = two(&sharing(&nats));
    let (_client, _) = streaming(&first, &meeting("m1", "mic", &token::good()));
    first.signal(rustix::process::Signal::INT);
    first.wait();
    let (mut next, _) = streaming(&second, &meeting("m1", "mic", &token::of_user("u-2")));
    finalize(&mut next);
}

#[test]
fn of_clients_that_race_for_a_meeting_at_two_gateways_one_wins_each_time() {
    const ROUNDS: usize = 200;
    let nats = Nats::start();
    let gateways = two(&sharing(&nats));
    std::thread::scope(|scope| {
        let workers = (0..8).map(|worker| {
            let gateways = &gateways;
            scope.spawn(move || {
                for round in (worker..ROUNDS).step_by(8) {
                    race(gateways, round);
                }
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.join().expect("one wins each time");
        }
    });
}

/// Two users race for one meeting at two gateways. One of them wins, and the other is refused.
fn race(gateways: &[Gateway; 2], round: usize) {
    let name = format!("race-{round}");
    let mut racers = [0, 1].map(|n| {
        let user = token::of_user(&format!("u-{n}"));
        (
            Raw::connect(gateways[n].address()),
            meeting(&name, "mic", &user),
        )
    });
    for (racer, path) in &mut racers {
        let request = raw::upgrade_request(path);
        let handshake = raw::text(&handshake().to_string());
        let both = [request.as_bytes(), &handshake].concat();
        racer.write(&both).expect("the gateway reads");
    }
    let answers = racers.each_mut().map(|(racer, _)| {
        assert_eq!(racer.response().status, 101);
        racer.message()
    });
    let won = answers.iter().filter(|answer| answer["status"] == "ready");
    let refused = answers
        .iter()
        .filter(|answer| answer["code"] == "ingest_exists");
    assert_eq!((won.count(), refused.count()), (1, 1), "{answers:?}");
}
