//! Streams that are kept in NATS: real servers, and readers that know nothing of the gateway.

use std::process::Command;
use std::time::Duration;

use cluster::Place;
use cluster::chain::{Chain, ChainError};
use cluster::record::Fin;
use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::{Client, Event, Library, handshake, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::nats::{self, Nats, keeping, place};
use sluice_tests::tls::Authority;
use sluice_tests::{eventually, speech, token, with_both_clients};

fn watched(nats: &Nats) -> Config {
    keeping(&[nats.url()]).set("server", "admin_listen", json!("127.0.0.1:0"))
}

/// Opens a stream, or goes on with one. Gives what the gateway answers.
fn open(client: &mut Client, gateway: &Gateway, resume: Option<&str>) -> Value {
    let mut path = meeting("m1", "mic", &token::good());
    if let Some(token) = resume {
        path = format!("{path}&resume={token}");
    }
    client.open_url(&gateway.url(&path), &[]);
    let mut handshake = handshake();
    handshake["features"] = json!(["ack", "resume"]);
    client.json(&handshake);
    let ack = client.message();
    assert_eq!(ack["status"], "ready", "{ack}");
    ack
}

fn text(ack: &Value, name: &str) -> String {
    ack[name].as_str().expect("a text").to_owned()
}

/// Sends audio, and waits until all of it is safe.
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

/// Waits for a status, past acks.
fn status(client: &mut Client, wanted: &str) -> Value {
    loop {
        let message = client.message();
        if message["type"] != "ack" {
            assert_eq!(message["status"], wanted, "{message}");
            return message;
        }
    }
}

fn finalize(client: &mut Client, bytes: usize) {
    client.json(&json!({"type": "finalize"}));
    let finalized = status(client, "finalized");
    assert_eq!(finalized["bytes"], bytes, "{finalized}");
}

/// Reads up to the end, and gives its code.
fn closed(client: &mut Client) -> u16 {
    loop {
        if let Event::Close(code, _) = client.event() {
            return code;
        }
    }
}

/// What the reader in Python makes of a stream.
fn read_in_python(nats: &Nats, place: &Place) -> Vec<u8> {
    let root = command::root();
    let read = Command::new(root.join("tests/.venv/bin/python"))
        .arg(root.join("host/cluster/readers/read.py"))
        .args([&nats.url(), &place.space, &place.subject])
        .output()
        .expect("python runs");
    let said = String::from_utf8_lossy(&read.stderr);
    assert!(read.status.success(), "{said}");
    read.stdout
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

with_both_clients! {
    fn what_a_client_streams_is_what_readers_get(library) {
        let nats = Nats::start();
        let gateway = Gateway::start(&keeping(&[nats.url()]));
        let clip = speech::long_clip();
        let mut client = Client::idle(library);
        let ack = open(&mut client, &gateway, None);
        send(&mut client, &clip.pcm, clip.pcm.len());
        finalize(&mut client, clip.pcm.len());
        assert_eq!(closed(&mut client), 1000);
        let session = text(&ack, "session_id");
        let place = place("m1", &session);
        let found = nats::read(&[nats.url()], &place, None);
        assert!(found.audio == clip.pcm, "{} bytes", found.audio.len());
        assert_eq!((found.writers, found.fin), (1, Some(Fin::Complete)));
        let about = json!({
            "session_id": session, "route": "ingest", "params": {"meeting_id": "m1"}, "source": "mic",
            "codec": "pcm_s16le", "sample_rate": 16_000, "channels": 1,
        });
        assert_eq!(found.about, about);
        assert!(read_in_python(&nats, &place) == clip.pcm);
    }
}

#[test]
fn a_client_that_vanishes_leaves_a_stream_with_an_end() {
    let nats = Nats::start();
    let gateway = Gateway::start(&keeping(&[nats.url()]));
    let path = meeting("m1", "mic", &token::good());
    let mut client = Client::connect(Library::Ws, &gateway, &path);
    client.handshake();
    let session = client.expect_ack();
    client.binary(&[7; 6400]);
    client.close(1001, "");
    let found = nats::read(&[nats.url()], &place("m1", &session), None);
    assert_eq!((found.audio, found.fin), (vec![7; 6400], Some(Fin::Cut)));
}

#[test]
fn a_stream_outlives_its_server_and_a_message_whose_fate_was_unknown_is_there_once() {
    let mut nats = Nats::start();
    let gateway = Gateway::start(&watched(&nats));
    let clip = speech::long_clip();
    let (first, rest) = clip.pcm.split_at(64_000);
    let mut client = Client::idle(Library::Ws);
    let ack = open(&mut client, &gateway, None);
    send(&mut client, first, first.len());
    // What the gateway sends waits in the server's sockets, and is stored after all.
    let still = nats.stand_still();
    client.binary(&rest[..3200]);
    assert_eq!(status(&mut client, "upstream_lost")["type"], "status");
    drop(still);
    status(&mut client, "upstream_restored");
    nats.kill();
    client.binary(&rest[3200..6400]);
    status(&mut client, "upstream_lost");
    nats.start_again();
    status(&mut client, "upstream_restored");
    for chunk in rest[6400..].chunks(3200) {
        client.binary(chunk);
    }
    finalize(&mut client, clip.pcm.len());
    let place = place("m1", &text(&ack, "session_id"));
    let found = nats::read(&[nats.url()], &place, None);
    assert!(found.audio == clip.pcm, "{} bytes", found.audio.len());
    let lost = gateway.metric(r#"sluice_cluster_writes_total{result="lost"}"#);
    assert!(
        lost >= 1.0,
        "no message was found to have been stored: {lost}"
    );
    assert!(gateway.metric("sluice_cluster_connected") == 1.0);
}

#[test]
fn a_stream_whose_server_stays_away_ends_and_newcomers_are_served_once_it_is_back() {
    let mut nats = Nats::start();
    let config = watched(&nats).set("upstreams.audio", "hold_timeout", json!("3s"));
    let gateway = Gateway::start(&config);
    let mut client = Client::idle(Library::Ws);
    let ack = open(&mut client, &gateway, None);
    send(&mut client, &[1; 6400], 6400);
    nats.kill();
    client.binary(&[2; 3200]);
    status(&mut client, "upstream_lost");
    client.expect_refusal(4006, "upstream_unavailable");
    let path = meeting("m2", "mic", &token::good());
    let mut newcomer = Client::connect(Library::Ws, &gateway, &path);
    newcomer.handshake();
    newcomer.expect_refusal(1013, "unavailable");
    assert!(gateway.metric("sluice_cluster_connected") == 0.0);
    assert_eq!(gateway.admin("GET /livez").0, 200);
    eventually("it is not ready", || {
        let (status, why) = gateway.admin("GET /readyz");
        (status == 503 && why.contains("NATS")).then_some(())
    });
    nats.start_again();
    eventually("newcomers are served", || {
        let mut newcomer = Client::connect(Library::Ws, &gateway, &path);
        newcomer.handshake();
        let answer = newcomer.message();
        (answer["status"] == "ready").then_some(())
    });
    // What was acknowledged is there.
    let place = place("m1", &text(&ack, "session_id"));
    let found = nats::read(&[nats.url()], &place, Some(6400));
    assert_eq!(found.audio[..6400], [1; 6400]);
}

#[test]
fn a_gateway_starts_and_serves_other_routes_while_its_server_is_away() {
    let mut nats = Nats::start();
    nats.kill();
    let gateway = Gateway::start(&watched(&nats));
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    echo.echoes("hello");
    nats.start_again();
    eventually("it is connected", || {
        (gateway.metric("sluice_cluster_connected") == 1.0).then_some(())
    });
    let mut client = Client::idle(Library::Ws);
    open(&mut client, &gateway, None);
    send(&mut client, &[1; 3200], 3200);
}

#[test]
fn a_stream_goes_on_in_its_subject_however_its_gateway_ended() {
    let nats = Nats::start();
    let config = keeping(&[nats.url()]).set("server", "drain_timeout", json!("0s"));
    let mut gateway = Gateway::start(&config);
    let clip = speech::long_clip();
    let mut client = Client::idle(Library::Ws);
    let mut ack = open(&mut client, &gateway, None);
    let place = place("m1", &text(&ack, "session_id"));
    let mut from = 0;
    for end in ["killed", "stopped"] {
        send(&mut client, &clip.pcm[from..][..64_000], from + 64_000);
        from += 64_000;
        if end == "killed" {
            gateway.kill();
            assert_eq!(closed(&mut client), 1006);
        } else {
            gateway.signal(Signal::TERM);
            assert_eq!(closed(&mut client), 1001);
            gateway.wait();
        }
        gateway.start_again();
        ack = open(&mut client, &gateway, Some(&text(&ack, "resume_token")));
        assert_eq!(ack["from_bytes"], from, "{ack}");
    }
    for chunk in clip.pcm[from..].chunks(3200) {
        client.binary(chunk);
    }
    finalize(&mut client, clip.pcm.len());
    let found = nats::read(&[nats.url()], &place, None);
    assert!(found.audio == clip.pcm, "{} bytes", found.audio.len());
    assert_eq!((found.writers, found.fin), (3, Some(Fin::Complete)));
}

#[test]
fn whoever_takes_a_stream_over_gets_it_whole_and_the_gateway_before_tells_its_client() {
    let nats = Nats::start();
    let gateway = Gateway::start(&keeping(&[nats.url()]));
    let mut client = Client::idle(Library::Ws);
    let ack = open(&mut client, &gateway, None);
    send(&mut client, &[1; 6400], 6400);
    let place = place("m1", &text(&ack, "session_id"));
    run(async {
        let cluster = nats::client(&[nats.url()]);
        let mut taken = Chain::take(cluster, place.clone(), "{}".to_owned())
            .await
            .unwrap();
        assert_eq!(taken.bytes(), 6400);
        taken.append(vec![2; 100].into()).await.unwrap();
    });
    client.binary(&[3; 3200]);
    client.expect_refusal(4003, "superseded");
    run(async {
        // The connection was made in another runtime.
        let taken = Chain::take(nats::client(&[nats.url()]), place.clone(), "{}".to_owned())
            .await
            .unwrap();
        taken.finish(Fin::Complete).await.unwrap();
    });
    let found = nats::read(&[nats.url()], &place, None);
    assert_eq!(found.audio, [vec![1; 6400], vec![2; 100]].concat());
    assert_eq!((found.writers, found.fin), (3, Some(Fin::Complete)));
}

#[test]
fn a_client_that_finalizes_what_another_gateway_has_is_not_asked_to_send_it_again() {
    let nats = Nats::start();
    let gateway = Gateway::start(&keeping(&[nats.url()]));
    let mut client = Client::idle(Library::Ws);
    let ack = open(&mut client, &gateway, None);
    send(&mut client, &[1; 6400], 6400);
    let place = place("m1", &text(&ack, "session_id"));
    run(async {
        let cluster = nats::client(&[nats.url()]);
        let taken = Chain::take(cluster, place.clone(), "{}".to_owned()).await;
        assert_eq!(taken.unwrap().bytes(), 6400);
    });
    client.json(&json!({"type": "finalize"}));
    let refusal = client.expect_refusal(4003, "superseded");
    assert_eq!(refusal["retryable"], false, "{refusal}");
}

#[test]
fn a_stream_that_was_restored_twice_waits_for_its_client_also_while_the_servers_are_away() {
    let mut nats = Nats::start();
    let mut gateway = Gateway::start(&watched(&nats));
    let mut client = Client::idle(Library::Ws);
    let ack = open(&mut client, &gateway, None);
    send(&mut client, &[1; 6400], 6400);
    let restored = r#"sluice_restored_streams_total{result="restored"}"#;
    gateway.kill();
    assert_eq!(closed(&mut client), 1006);
    gateway.start_again();
    eventually("it is restored", || {
        (gateway.metric(restored) == 1.0).then_some(())
    });
    gateway.kill();
    nats.kill();
    gateway.start_again();
    let mut echo = Client::connect(Library::Ws, &gateway, "/echo");
    echo.echoes("hello");
    nats.start_again();
    eventually("it is restored again", || {
        (gateway.metric(restored) == 1.0).then_some(())
    });
    let ack = open(&mut client, &gateway, Some(&text(&ack, "resume_token")));
    assert_eq!(ack["from_bytes"], 6400, "{ack}");
    finalize(&mut client, 6400);
}

#[test]
fn a_newcomer_who_claims_nothing_is_told_to_come_back_while_the_servers_are_away() {
    let mut nats = Nats::start();
    let config = watched(&nats).set("routes.ingest", "on_connect", json!(["auth"]));
    let gateway = Gateway::start(&config);
    eventually("it is connected", || {
        (gateway.metric("sluice_cluster_connected") == 1.0).then_some(())
    });
    nats.kill();
    let path = meeting("m1", "mic", &token::good());
    let mut newcomer = Client::connect(Library::Ws, &gateway, &path);
    newcomer.handshake();
    let frame = newcomer.expect_refusal(1013, "unavailable");
    assert!(frame["retry_after_ms"].as_u64() >= Some(1000), "{frame}");
}

#[test]
fn a_full_stream_says_that_it_is_full_to_whoever_runs_the_gateway() {
    let nats = Nats::start();
    let config = watched(&nats)
        .set("upstreams.audio", "max_bytes", json!("96KiB"))
        .set("upstreams.audio", "hold_timeout", json!("4s"));
    let gateway = Gateway::start(&config);
    let mut client = Client::idle(Library::Ws);
    open(&mut client, &gateway, None);
    for _ in 0..64 {
        client.binary(&[1; 3200]);
    }
    status(&mut client, "upstream_lost");
    eventually("it is not ready", || {
        let (status, why) = gateway.admin("GET /readyz");
        (status == 503 && why.contains("maximum bytes exceeded")).then_some(())
    });
    client.expect_refusal(4006, "upstream_unavailable");
    let said = gateway.output().find("the reason is logged", |line| {
        let is_it = line.contains("NATS took nothing") && line.contains("maximum bytes exceeded");
        is_it.then_some(())
    });
    assert!(said.is_some());
    // A server that answers keeps its connection.
    assert!(!gateway.output().text().contains("answers nothing"));
}

#[test]
fn a_backlog_goes_in_messages_that_the_server_takes() {
    let mut nats = Nats::start_with("max_payload: 8192\n");
    let gateway = Gateway::start(&watched(&nats));
    let mut client = Client::idle(Library::Ws);
    let ack = open(&mut client, &gateway, None);
    send(&mut client, &[1; 3200], 3200);
    nats.kill();
    for _ in 0..10 {
        client.binary(&[2; 3200]);
    }
    status(&mut client, "upstream_lost");
    nats.start_again();
    status(&mut client, "upstream_restored");
    finalize(&mut client, 35_200);
    let place = place("m1", &text(&ack, "session_id"));
    let found = nats::read(&[nats.url()], &place, None);
    assert_eq!(found.audio, [vec![1; 3200], vec![2; 32_000]].concat());
}

#[test]
fn of_two_writers_only_the_later_one_writes_and_an_ended_chain_has_none() {
    let nats = Nats::start();
    run(async {
        let cluster = nats::client(&[nats.url()]);
        cluster.start().await.unwrap();
        let place = Place {
            space: "TEST".to_owned(),
            subject: "test.chain".to_owned(),
        };
        let space = cluster::space::Space {
            kind: cluster::space::Kind::Chains,
            name: place.space.clone(),
            subjects: "test.>".to_owned(),
            max_bytes: 1 << 20,
            max_age: Duration::from_secs(60),
        };
        while cluster.ensure(&space).await.is_err() {
            tokio::task::yield_now().await;
        }
        let about = || "{}".to_owned();
        let take = || Chain::take(cluster.clone(), place.clone(), about());
        assert!(matches!(take().await, Err(ChainError::Gone(_))));
        let place_of = |name: &str| Place {
            subject: format!("test.{name}"),
            ..place.clone()
        };
        let place = place_of("two");
        let take = || Chain::take(cluster.clone(), place.clone(), about());
        let mut one = Chain::begin(cluster.clone(), place.clone(), about())
            .await
            .unwrap();
        one.append("one".into()).await.unwrap();
        let again = Chain::begin(cluster.clone(), place.clone(), about()).await;
        assert_eq!(again.unwrap_err(), ChainError::TakenOver);
        let mut two = take().await.unwrap();
        assert_eq!(one.append("stale".into()).await, Err(ChainError::TakenOver));
        two.append("two".into()).await.unwrap();
        // Of several who want it, each gets it from the one before, or is too late.
        let (three, four) = tokio::join!(take(), take());
        assert_eq!(two.append("stale".into()).await, Err(ChainError::TakenOver));
        let mut last = None;
        for chain in [three, four] {
            match chain {
                Ok(mut chain) => {
                    if chain.append("end".into()).await.is_ok() {
                        assert!(last.replace(chain).is_none(), "two writers");
                    }
                }
                Err(error) => assert_eq!(error, ChainError::TakenOver),
            }
        }
        assert_eq!(last.unwrap().finish(Fin::Complete).await, Ok(9));
        assert_eq!(take().await.unwrap_err(), ChainError::Ended(9));
        assert_eq!(one.append("stale".into()).await, Err(ChainError::TakenOver));
    });
    let place = Place {
        space: "TEST".to_owned(),
        subject: "test.two".to_owned(),
    };
    assert_eq!(nats::read(&[nats.url()], &place, None).audio, b"onetwoend");
}

#[test]
fn a_gateway_logs_in_by_password_or_certificate_and_says_neither() {
    const PASSWORD: &str = "correct horse";
    let guarded = format!("authorization {{ user: sluice, password: \"{PASSWORD}\" }}\n");
    let nats = Nats::start_with(&guarded);
    let config = watched(&nats).set("cluster", "user", json!("sluice")).set(
        "cluster",
        "password_file",
        json!("password"),
    );
    let gateway = Gateway::start_with_files(&config, &[("password", PASSWORD.as_bytes())]);
    let mut client = Client::idle(Library::Ws);
    open(&mut client, &gateway, None);
    let wrong = Gateway::start_with_files(&config, &[("password", b"hunter2")]);
    eventually("the log says that NATS refuses it", || {
        let lines = wrong.output().lines();
        let said = lines
            .iter()
            .any(|line| line.contains("authorization violation"));
        said.then_some(())
    });
    assert_eq!(wrong.metric("sluice_cluster_connected").to_string(), "0");
    for (gateway, secret) in [(&gateway, PASSWORD), (&wrong, "hunter2")] {
        assert!(!gateway.output().text().contains(secret));
    }
    let authority = Authority::new();
    let tls = format!(
        "tls {{ cert_file: {}, key_file: {}, ca_file: {}, verify: true }}\n",
        json!(authority.certificate()),
        json!(authority.key()),
        json!(authority.ca())
    );
    let nats = Nats::start_with(&tls);
    let config = watched(&nats)
        .set(
            "cluster",
            "servers",
            json!([format!("tls://127.0.0.1:{}", nats.address().port())]),
        )
        .set("cluster", "ca_file", json!(authority.ca()))
        .set("cluster", "tls_certificate", json!(authority.certificate()))
        .set("cluster", "tls_key", json!(authority.key()));
    let gateway = Gateway::start(&config);
    let mut client = Client::idle(Library::Ws);
    open(&mut client, &gateway, None);
}

#[test]
fn a_stream_outlives_the_leader_of_three_servers_by_the_second() {
    let mut servers = Nats::start_three();
    let urls = servers.each_ref().map(Nats::url);
    let config = keeping(&urls).set("cluster", "replicas", json!(3));
    let gateway = Gateway::start(&config);
    let clip = speech::long_clip();
    // The servers elect a leader first.
    let (mut client, ack) = eventually("a stream begins", || {
        let mut client =
            Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
        let mut handshake = handshake();
        handshake["features"] = json!(["ack"]);
        client.json(&handshake);
        let ack = client.message();
        (ack["status"] == "ready").then_some((client, ack))
    });
    let place = place("m1", &text(&ack, "session_id"));
    let (first, rest) = clip.pcm.split_at(64_000);
    send(&mut client, first, first.len());
    let leader = servers.iter_mut().find(|server| server.leads(&place.space));
    leader.expect("a leader").kill();
    for chunk in rest.chunks(3200) {
        client.binary(chunk);
    }
    client.json(&json!({"type": "finalize"}));
    let finalized = loop {
        let message = client.message();
        if message["status"] == "finalized" {
            break message;
        }
        assert_ne!(message["type"], "error", "{message}");
    };
    assert_eq!(finalized["bytes"], clip.pcm.len());
    let found = nats::read(&urls, &place, None);
    assert!(found.audio == clip.pcm, "{} bytes", found.audio.len());
}
