//! A new generation of policies, while clients stream.

use jsonwebtoken::Header;
use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::{eventually, token};

const GUEST: &str = include_str!("../../guests/connect.wat");
const ACCEPTS: &str = "(call $drop (local.get 0)) (i32.const 0)";
const TRAPS: &str = "(unreachable)";
const STREAMS: usize = 500;
const CHUNK: usize = 640;

fn guest(body: &str) -> Vec<u8> {
    wat::parse_str(GUEST.replace("BODY", body)).expect("a component")
}

/// The main job with a guest in the gateway's own folder, and an admin
/// listener.
fn config() -> Config {
    let chain = json!(["auth", "guest", "duplicate"]);
    Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("policies.guest", "component", json!("guest.wasm"))
        .set("routes.ingest", "on_connect", chain)
        .set("routes.ingest", "upstream", json!("nowhere"))
        // Hundreds come at once, and the machine may have others to serve.
        .limit("admission_timeout", "5min")
}

fn start(config: &Config) -> Gateway {
    Gateway::start_with_files(config, &[("guest.wasm", &guest(ACCEPTS))])
}

fn stream(gateway: &Gateway, number: usize) -> Raw {
    let mut raw = Raw::connect(gateway.address());
    raw.upgrade(&meeting(&format!("m{number}"), "mic", &token::good()));
    let handshake = json!({"type": "handshake", "sample_rate": 16000, "device_id": "d"});
    raw.write(&raw::text(&handshake.to_string())).unwrap();
    raw
}

fn newcomer(gateway: &Gateway, number: usize) -> Value {
    stream(gateway, STREAMS + number).message()
}

fn metric(gateway: &Gateway, name: &str) -> String {
    let (_, metrics) = gateway.admin("GET /metrics");
    let line = metrics.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit(' ').next())
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn a_swap_under_500_live_streams_loses_no_frame_and_drops_no_socket() {
    let gateway = start(&config());
    let mut streams: Vec<Raw> = (0..STREAMS)
        .map(|number| stream(&gateway, number))
        .collect();
    let sessions: Vec<String> = streams
        .iter_mut()
        .map(|stream| stream.message()["session_id"].as_str().unwrap().to_owned())
        .collect();
    let mut rounds = 0;
    let mut send_to_all = |streams: &mut Vec<Raw>| {
        for (number, stream) in streams.iter_mut().enumerate() {
            // Odd sizes too, so that a frame that is lost cannot be made up for.
            let chunk = vec![rounds; CHUNK + 2 * number];
            stream.write(&raw::binary(&chunk)).unwrap();
        }
        rounds += 1;
    };
    send_to_all(&mut streams);
    // Under way while the swap happens, in each of the three ways.
    gateway.replace("guest.wasm", guest(TRAPS));
    send_to_all(&mut streams);
    gateway.reloaded(2);
    send_to_all(&mut streams);
    let refused = newcomer(&gateway, 1);
    assert_eq!(refused["code"], "policy_failed", "{refused}");
    gateway.replace("guest.wasm", guest(ACCEPTS));
    gateway.reloaded(3);
    gateway.signal(Signal::HUP);
    send_to_all(&mut streams);
    gateway.reloaded(4);
    let (status, answer) = gateway.admin("POST /reload");
    let expected = r#""generation":5,"needs_restart":[]}"#;
    assert!(status == 200 && answer.ends_with(expected), "{answer}");
    send_to_all(&mut streams);
    assert_eq!(newcomer(&gateway, 2)["ok"], true);
    for stream in &mut streams {
        stream.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        let finalized = stream.message();
        assert_eq!(finalized["bytes"], 5 * (CHUNK + 2 * number), "{finalized}");
        let close = stream.frame().expect("a Close");
        assert_eq!(close.close().map(|(code, _)| code), Some(1000));
    }
    assert_eq!(gateway.connection_log(&sessions[0])["generation"], 1);
    let session = refused["session_id"].as_str().unwrap();
    assert_eq!(gateway.connection_log(session)["generation"], 2);
    assert_eq!(metric(&gateway, "sluice_generation"), "5");
    assert_eq!(metric(&gateway, "sluice_connections_dropped_total"), "0");
}

#[test]
fn reloads_leave_no_memory_behind() {
    const FIRST: usize = 10;
    const MORE: usize = 20;
    // Large enough for one that stays behind to show.
    const DATA: usize = 1 << 20;
    let policies = ["a", "b"].map(|letter| {
        let data = format!("(data (i32.const 65536) \"{}\")", letter.repeat(DATA));
        let memory = format!("(memory (export \"memory\") 18) {data}");
        let text = GUEST
            .replace("(memory (export \"memory\") 1)", &memory)
            .replace("BODY", ACCEPTS);
        wat::parse_str(text).expect("a component")
    });
    let config = config().set("server", "watch", json!(false));
    let gateway = Gateway::start_with_files(&config, &[("guest.wasm", &policies[1])]);
    let reload = |round: usize| {
        gateway.replace("guest.wasm", &policies[round % 2]);
        let (status, answer) = gateway.admin("POST /reload");
        assert_eq!(status, 200, "{answer}");
        let answer = newcomer(&gateway, 1);
        assert_eq!(answer["ok"], true, "{answer}");
        // No connection keeps the generation that it began in.
        gateway.connection_log(answer["session_id"].as_str().expect("a session"));
        gateway.memory()
    };
    // What a first time costs is not counted.
    let first: Vec<u64> = (0..FIRST).map(reload).collect();
    let more: Vec<u64> = (FIRST..FIRST + MORE).map(reload).collect();
    let most = first.iter().max().expect("rounds") + (MORE * DATA / 2) as u64;
    assert!(more.last() < Some(&most), "{first:?} bytes, then {more:?}");
}

#[test]
fn a_bad_new_set_changes_nothing_and_says_why() {
    let good = config();
    let gateway = start(&good);
    let mut live = stream(&gateway, 1);
    assert_eq!(live.message()["ok"], true);
    let bad = [
        ("[server\n".to_owned(), guest(ACCEPTS), "sluice.toml:1:"),
        (
            good.to_string(),
            b"no wasm".to_vec(),
            "policy \"guest\" does not load",
        ),
        (
            good.clone()
                .set("policies.guest", "sha256", json!("0".repeat(64)))
                .to_string(),
            guest(ACCEPTS),
            "policy \"guest\" is pinned to another component: the digest of this one is",
        ),
        (
            good.clone()
                .set("policies.sample-rate.config", "rates", json!([0]))
                .to_string(),
            guest(ACCEPTS),
            "rates",
        ),
        (
            good.clone()
                .set("routes.ingest", "on_connect", json!(["aut"]))
                .to_string(),
            guest(ACCEPTS),
            "aut",
        ),
    ];
    for (number, (config, guest, said)) in bad.into_iter().enumerate() {
        gateway.replace("sluice.toml", config);
        gateway.replace("guest.wasm", guest);
        let (status, report) = gateway.admin("POST /reload");
        assert_eq!(status, 422, "{report}");
        assert!(report.contains(said), "{said} in:\n{report}");
        gateway.output().find("the refusal", |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            let message = event["message"].as_str()?;
            (message.contains("nothing has changed") && message.contains(said)).then_some(())
        });
        assert_eq!(newcomer(&gateway, number)["ok"], true);
    }
    assert_eq!(metric(&gateway, "sluice_generation"), "1");
    let refused: u32 = metric(&gateway, "sluice_reloads_total{result=\"refused\"}")
        .parse()
        .unwrap();
    assert!(refused >= 4, "{refused}");
    live.write(&raw::binary(&[0; 640])).unwrap();
    live.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    assert_eq!(live.message()["bytes"], 640);
}

#[test]
fn a_mistake_that_is_put_right_is_taken_up_by_itself() {
    let gateway = start(&config());
    gateway.replace("guest.wasm", "no wasm");
    gateway.output().find("the refusal", |line| {
        line.contains("nothing has changed").then_some(())
    });
    gateway.replace("guest.wasm", guest(TRAPS));
    gateway.reloaded(2);
    assert_eq!(newcomer(&gateway, 1)["code"], "policy_failed");
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_is_taken_up() {
    let gateway = start(&config().set("server", "watch", json!(false)));
    let changed = config()
        .set("server", "watch", json!(false))
        .set("server", "drain_timeout", json!("7s"))
        .set("routes.more", "paths", json!(["/more"]))
        .set("routes.more", "handshake", json!("none"))
        .set("routes.more", "upstream", json!("mirror"));
    gateway.replace("sluice.toml", changed.to_string());
    let (_, answer) = gateway.admin("POST /reload");
    let expected = r#""generation":2,"needs_restart":["drain_timeout"]}"#;
    assert!(answer.ends_with(expected), "{answer}");
    let mut client = Client::connect(Library::Ws, &gateway, "/more");
    client.text("hello");
    assert_eq!(
        client.event(),
        sluice_tests::client::Event::Text("hello".to_owned())
    );
}

#[test]
fn attempts_that_were_used_up_stay_used_up() {
    let limited = config()
        .set("routes.ingest", "rate_attempts", json!(1))
        .set("routes.ingest", "rate_key", json!(["remote"]))
        .set("routes.ingest", "rate_per", json!("1h"));
    let gateway = start(&limited);
    assert_eq!(newcomer(&gateway, 1)["ok"], true);
    gateway.signal(Signal::HUP);
    gateway.reloaded(2);
    assert_eq!(newcomer(&gateway, 2)["code"], "rate_limited");
}

#[test]
fn a_web_page_may_not_ask_for_a_reload() {
    let gateway = start(&config());
    let (status, _) = gateway.admin("POST /reload\r\nOrigin: http://127.0.0.1:9180\r\n");
    assert_eq!(status, 403);
    let (status, _) = gateway.admin("GET /reload");
    assert_eq!(status, 405);
    eventually("a reload that was asked for", || {
        (gateway.admin("POST /reload").0 == 200).then_some(())
    });
    assert_eq!(metric(&gateway, "sluice_generation"), "2");
}

#[test]
fn keys_that_are_taken_away_check_no_token_until_they_are_back() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let file = keys.join("secret");
    let put = || {
        std::fs::create_dir_all(&keys).unwrap();
        std::fs::write(&file, token::SECRET).unwrap();
    };
    put();
    let config = Config::ingest().without("key_sets.main", "secret").set(
        "key_sets.main",
        "secret_file",
        json!(file),
    );
    let gateway = Gateway::start(&config);
    let connect = |token: &str| {
        let path = meeting("m1", "mic", token);
        let mut client = Client::connect(Library::Ws, &gateway, &path);
        client.handshake();
        client
    };
    let streams_again = || {
        eventually("a stream", || {
            let answer = connect(&token::good()).message();
            (answer["type"] == "handshake-ack").then_some(())
        });
    };
    let forged = token::sign_with(&Header::default(), &token::claims(), b"another secret");
    let mut live = connect(&token::good());
    live.expect_ack();

    std::fs::remove_file(&file).unwrap();
    let line = gateway.output().find("the loss in the log", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let message = event["message"].as_str()?;
        message
            .starts_with("the key file is missing or unreadable")
            .then_some(event)
    });
    let line = line.expect("a line");
    assert_eq!(
        (&line["level"], &line["key_set"]),
        (&json!("ERROR"), &json!("main"))
    );
    assert_eq!(line["file"], json!(file));
    assert!(line["error"].to_string().contains("No such file"), "{line}");
    // Nobody knows which of them is good.
    for token in [&token::good(), &forged] {
        let frame = connect(token).expect_refusal(4012, "auth_unavailable");
        assert_eq!(frame["retryable"], true);
    }
    // That there is none is plain all the same.
    connect("").expect_refusal(4001, "auth_failed");
    // Whoever was admitted streams on.
    live.send_audio(&[0; 640]);
    live.finalize(640, 20);

    put();
    streams_again();
    connect(&forged).expect_refusal(4001, "auth_failed");
    // The folder with them: nothing tells of its return.
    std::fs::remove_dir_all(&keys).unwrap();
    eventually("the loss", || {
        let answer = connect(&token::good()).message();
        (answer["code"] == "auth_unavailable").then_some(())
    });
    put();
    streams_again();
    // And what is in it is watched again.
    std::fs::remove_file(&file).unwrap();
    eventually("the loss", || {
        let answer = connect(&token::good()).message();
        (answer["code"] == "auth_unavailable").then_some(())
    });
}

#[test]
fn keys_that_come_back_as_garbage_are_not_said_to_be_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, token::SECRET).unwrap();
    let config = Config::ingest().without("key_sets.main", "secret").set(
        "key_sets.main",
        "secret_file",
        json!(file),
    );
    let gateway = Gateway::start(&config);
    let says = |words: &str| {
        let line = gateway.output().find(words, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            event["message"].as_str()?.contains(words).then_some(event)
        });
        line.expect("the gateway runs")
    };
    std::fs::remove_file(&file).unwrap();
    says("the key file is missing or unreadable");
    std::fs::write(&file, "garbage").unwrap();
    says("tokens are verified with the earlier keys");
    let mut client = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", &token::good()));
    client.handshake();
    client.expect_ack();
    assert!(!gateway.output().text().contains("keys are available again"));
    std::fs::write(&file, token::SECRET).unwrap();
    gateway.reloaded(2);
    std::fs::remove_file(&file).unwrap();
    eventually("the second loss", || {
        let lines = gateway.output().lines();
        let lost = lines
            .iter()
            .filter(|line| line.contains("the key file is missing or unreadable"));
        (lost.count() == 2).then_some(())
    });
    std::fs::write(&file, token::SECRET).unwrap();
    assert_eq!(says("keys are available again")["key_set"], "main");
}

#[test]
fn a_weak_key_beside_a_good_one_locks_nobody_out() {
    let weak = json!({"kty": "RSA", "kid": "weak", "e": "AQAB", "n": "w".repeat(171)});
    let good = json!({"kty": "oct", "kid": "good", "k": base64_url(token::SECRET.as_bytes())});
    let set = |keys: &[&Value]| json!({"keys": keys}).to_string();
    let config = Config::ingest()
        .without("key_sets.main", "secret")
        .set("key_sets.main", "algorithms", json!(["HS256", "RS256"]))
        .set("key_sets.main", "jwks_file", json!("keys.json"));
    let files = [("keys.json", set(&[&good]))];
    let files = files
        .each_ref()
        .map(|(name, keys)| (*name, keys.as_bytes()));
    let gateway = Gateway::start_with_files(&config, &files);
    for (generation, keys) in [
        (2, [&weak, &good]),
        (3, [&good, &weak]),
        (4, [&good, &good]),
    ] {
        gateway.replace("keys.json", set(&keys));
        gateway.reloaded(generation);
        let path = meeting(&format!("m{generation}"), "mic", &token::good());
        let mut client = Client::connect(Library::Ws, &gateway, &path);
        client.handshake();
        client.expect_ack();
    }
    for said in [
        "key set `main`: key 0 (\\\"weak\\\") is not used: the RSA key has 1024 bits",
        "key set `main`: key 1 (\\\"good\\\") is not used: it is a duplicate",
    ] {
        let place = "\"place\":\"";
        let lines = gateway.output().lines();
        let line = lines.iter().find(|line| line.contains(said));
        let line = line.unwrap_or_else(|| panic!("no {said} in {lines:#?}"));
        assert!(
            line.contains(place) && line.contains("sluice.toml:"),
            "{line}"
        );
    }
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
