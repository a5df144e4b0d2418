//! Who streams now, who was refused and why, and what has changed, as the admin listener tells it.

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use sluice_tests::backend::{Backend, path, relaying};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::proxy::Proxy;
use sluice_tests::raw::{self, Raw};
use sluice_tests::{eventually, token};

fn watched(config: Config) -> Gateway {
    Gateway::start(&config.set("server", "admin_listen", json!("127.0.0.1:0")))
}

/// What the admin listener answers.
fn get(gateway: &Gateway, path: &str) -> Value {
    let (status, body) = gateway.admin(&format!("GET {path}"));
    assert_eq!(status, 200, "{path}: {body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(answer["schema"], 1, "{answer}");
    assert_eq!(answer["instance"].as_str().unwrap().len(), 8, "{answer}");
    answer
}

fn list(gateway: &Gateway, path: &str, of: &str) -> Vec<Value> {
    get(gateway, path)[of].as_array().expect("a list").clone()
}

fn ids(sessions: &[Value]) -> Vec<&str> {
    sessions
        .iter()
        .map(|session| session["id"].as_str().unwrap())
        .collect()
}

/// A connection without policies, which lasts.
fn idle(gateway: &Gateway) -> Raw {
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade("/echo");
    peer
}

#[test]
fn a_stream_is_listed_with_all_that_is_known_of_it_until_it_ends() {
    let gateway = watched(Config::ingest());
    let (mut client, id) = Client::stream_of(&gateway, "m1", "u-1");
    client.send_audio(&[1; 6400]);
    let session = eventually("its audio", || {
        let session = list(&gateway, "/sessions", "sessions").pop()?;
        (session["received_bytes"] == 6400).then_some(session)
    });
    for (field, value) in [
        ("id", json!(id)),
        ("user", json!("u-1")),
        ("tenant", json!("t-1")),
        ("claimed", Value::Null),
        ("meeting", json!("m1")),
        ("source", json!("mic")),
        ("route", json!("ingest")),
        ("generation", json!(1)),
        ("stage", json!("stream")),
        ("sent_bytes", json!(0)),
        ("backend", Value::Null),
    ] {
        assert_eq!(session[field], value, "{field} in {session}");
    }
    assert!(
        session["client"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:"),
        "{session}"
    );
    assert!(
        session["began"].as_str().unwrap().ends_with('Z'),
        "{session}"
    );
    assert!(session["age_ms"].is_u64(), "{session}");
    let recording = session["recording"].as_str().unwrap();
    assert!(std::fs::metadata(recording).is_ok(), "{session}");
    let decisions = session["decisions"].as_array().unwrap();
    let said = decisions.iter().map(|decision| {
        let digest = decision["digest"].as_str().unwrap();
        assert!(digest.starts_with("sha256:"), "{decision}");
        assert!(
            decision["at"].as_str() > session["began"].as_str(),
            "{decision}"
        );
        format!("{} {}", decision["policy"], decision["outcome"]).replace('"', "")
    });
    let said: Vec<_> = said.collect();
    assert_eq!(
        said,
        ["auth accept", "duplicate accept", "sample-rate accept"]
    );
    let one = get(&gateway, &format!("/sessions/{id}"));
    assert_eq!(one["session"]["received_bytes"], 6400, "{one}");
    client.finalize(6400, 200);
    eventually("the end of the session", || {
        list(&gateway, "/sessions", "sessions")
            .is_empty()
            .then_some(())
    });
    assert_eq!(gateway.admin(&format!("GET /sessions/{id}")).0, 404);
    assert!(list(&gateway, "/refusals", "refusals").is_empty());
}

#[test]
fn a_session_is_found_by_its_user_tenant_meeting_route_and_stage() {
    let gateway = watched(Config::ingest());
    let (_first, one) = Client::stream_of(&gateway, "m1", "u-1");
    let (_second, two) = Client::stream_of(&gateway, "m2", "u-2");
    let _echo = idle(&gateway);
    // It is in its handshake, because it says nothing.
    let mut silent = Raw::connect(gateway.address());
    silent.upgrade(&meeting("m3", "mic", &token::of_user("u-3")));
    eventually("all four", || {
        let waits = list(&gateway, "/sessions?stage=handshake", "sessions");
        let all = list(&gateway, "/sessions", "sessions");
        (waits.len() == 1 && all.len() == 4).then_some(())
    });
    for (filter, expected) in [
        ("user=u-1", vec![&one]),
        ("tenant=t-1&stage=stream", vec![&one, &two]),
        ("meeting=m2", vec![&two]),
        ("route=ingest&user=u-2", vec![&two]),
        ("user=u-2&meeting=m1", vec![]),
        ("user=u", vec![]),
    ] {
        let found = list(&gateway, &format!("/sessions?{filter}"), "sessions");
        assert_eq!(ids(&found), expected, "{filter}");
    }
    assert_eq!(list(&gateway, "/sessions?route=echo", "sessions").len(), 1);
}

#[test]
fn many_sessions_come_page_by_page_in_the_order_in_which_they_began() {
    let gateway = watched(Config::open());
    let _peers: Vec<_> = (0..7).map(|_| idle(&gateway)).collect();
    let all = eventually("all of them", || {
        let all = list(&gateway, "/sessions?stage=stream", "sessions");
        (all.len() == 7).then_some(all)
    });
    assert!(ids(&all).is_sorted(), "{all:?}");
    let mut paged = Vec::new();
    let mut after = String::new();
    let mut sizes = Vec::new();
    loop {
        let page = get(&gateway, &format!("/sessions?limit=3&after={after}"));
        let sessions = page["sessions"].as_array().unwrap();
        sizes.push(sessions.len());
        paged.extend(sessions.iter().map(|session| session["id"].clone()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(paged, ids(&all));
}

#[test]
fn a_request_that_is_wrong_is_answered_with_a_sentence_and_not_with_everybody() {
    let gateway = watched(Config::open());
    for path in [
        "/sessions?limit=0",
        "/sessions?limit=1001",
        "/sessions?limit=many",
        "/sessions?stage=streaming",
        "/sessions?usr=u-1",
        "/refusals?tenant=t-1",
    ] {
        let (status, body) = gateway.admin(&format!("GET {path}"));
        assert_eq!(status, 400, "{path}: {body}");
        assert!(body.len() > 20, "{path}: {body}");
    }
    for path in ["/sessions", "/refusals", "/status"] {
        let (status, _) = gateway.admin(&format!("POST {path}"));
        assert_eq!(status, 405, "{path}");
        let plain = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(Raw::connect(gateway.address()).request(&plain).status, 426);
    }
}

#[test]
fn a_refusal_is_kept_with_its_sentence_and_a_claimed_user_is_not_called_verified() {
    let gateway = watched(Config::ingest());
    let (_holder, _) = Client::stream_of(&gateway, "m1", "u-1");
    let forged = token::claims_with(json!({"user_id": "mallory", "tenant_id": "t-9"}));
    let forged = token::sign_with(&Header::new(Algorithm::HS256), &forged, &[7; 32]);
    let other = token::of_user("u-2");
    let mut frames = Vec::new();
    for (token, code, word) in [
        (&forged, 4001, "auth_failed"),
        (&other, 4002, "ingest_exists"),
    ] {
        let path = meeting("m1", "mic", token);
        let mut client = Client::connect(Library::Ws, &gateway, &path);
        frames.push(client.expect_refusal(code, word));
    }
    let refusals = eventually("both refusals", || {
        let refusals = list(&gateway, "/refusals", "refusals");
        (refusals.len() == 2).then_some(refusals)
    });
    // The latest comes first.
    for (refusal, frame) in refusals.iter().zip(frames.iter().rev()) {
        assert_eq!(refusal["session"], frame["session_id"], "{refusal}");
        for field in ["message", "code", "close_code", "retryable"] {
            assert_eq!(refusal[field], frame[field], "{field} in {refusal}");
        }
        for (field, value) in [
            ("cause", "denied"),
            ("stage", "connect"),
            ("route", "ingest"),
            ("meeting", "m1"),
            ("source", "mic"),
            ("delivery", "confirmed"),
        ] {
            assert_eq!(refusal[field], value, "{field} in {refusal}");
        }
    }
    let [held, forgery] = &refusals[..] else {
        panic!("two")
    };
    assert_eq!(held["user"], "u-2", "{held}");
    assert_eq!(
        (&held["tenant"], &held["claimed"]),
        (&json!("t-1"), &Value::Null)
    );
    let last = held["decisions"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["policy"], &last["outcome"]),
        (&json!("duplicate"), &json!("reject"))
    );
    assert_eq!(last["code"], "ingest_exists");
    assert_eq!(last["message"], held["message"]);
    assert_eq!(forgery["user"], Value::Null, "{forgery}");
    let claimed = json!({"user": "mallory", "tenant": "t-9", "verified": false});
    assert_eq!(forgery["claimed"], claimed, "{forgery}");
    let session = forgery["session"].as_str().unwrap();
    for (filter, expected) in [
        ("user=mallory".to_owned(), vec![forgery]),
        ("user=u-2".to_owned(), vec![held]),
        (format!("session={session}"), vec![forgery]),
        ("user=nobody".to_owned(), vec![]),
    ] {
        let found = list(&gateway, &format!("/refusals?{filter}"), "refusals");
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
    let (_, text) = gateway.admin("GET /refusals");
    for token in [&forged, &other] {
        for part in token.split('.').skip(1) {
            assert!(!text.contains(part), "a part of a token is in {text}");
        }
    }
}

#[test]
fn a_stream_whose_client_is_away_is_parked_and_goes_on_under_the_next_session() {
    let backend = Backend::start(Library::Ws);
    let config = relaying(backend.address())
        .set("upstreams.recordings", "receipts", json!("confirmed"))
        .limit("resume_grace", "10min");
    let gateway = watched(config);
    let mut hello = handshake();
    hello["features"] = json!(["ack", "resume"]);
    let begin = |resume: &str| {
        let mut peer = Raw::connect(gateway.address());
        peer.upgrade(&format!("{}{resume}", path("confirm")));
        peer.write(&raw::text(&hello.to_string())).unwrap();
        let ack = peer.message();
        assert_eq!(ack["status"], "ready", "{ack}");
        (peer, ack)
    };
    let (mut peer, ack) = begin("");
    peer.write(&raw::binary(&[1; 640])).unwrap();
    while peer.message()["bytes"] != 640 {}
    let first = ack["session_id"].as_str().unwrap();
    let address = backend.address().to_string();
    let shown = |stage: &str, id: &str| {
        eventually(stage, || {
            let sessions = list(&gateway, "/sessions", "sessions");
            let [session] = &sessions[..] else {
                return None;
            };
            let is_it = session["stage"] == stage && session["id"] == id;
            let numbers = gateway.metric("sluice_connections_live");
            let expected = if stage == "parked" { 0.0 } else { 1.0 };
            (is_it && numbers == expected).then(|| session.clone())
        })
    };
    let session = shown("stream", first);
    assert_eq!(session["acknowledged_bytes"], 640, "{session}");
    assert_eq!(
        session["backend"],
        json!({"address": address, "state": "here"})
    );
    peer.reset();
    let session = shown("parked", first);
    assert_eq!(session["received_bytes"], 640, "{session}");
    assert_eq!(get(&gateway, "/status")["connections"]["parked"], 1);
    let token = ack["resume_token"].as_str().unwrap();
    let (_peer, ack) = begin(&format!("&resume={token}"));
    let session = shown("stream", ack["session_id"].as_str().unwrap());
    // The stream is the same.
    assert_eq!(session["acknowledged_bytes"], 640, "{session}");
    assert_eq!(session["backend"]["address"], address, "{session}");
    let (_, text) = gateway.admin("GET /sessions");
    assert!(!text.contains(token), "{text}");
}

#[test]
fn a_backend_that_is_away_is_shown_as_away_and_an_address_says_what_it_has() {
    let backend = Backend::start(Library::Ws);
    let proxy = Proxy::start(backend.address());
    let config = relaying(proxy.address())
        .set("upstreams.recordings", "on_loss", json!("hold"))
        .set("upstreams.recordings", "replay", json!("at-most-once"));
    let gateway = watched(config);
    let mut client = Client::connect(Library::Ws, &gateway, &path(""));
    client.handshake();
    let id = client.expect_ack();
    let address = proxy.address().to_string();
    let upstreams = list(&gateway, "/upstreams", "upstreams");
    let relay = upstreams
        .iter()
        .find(|upstream| upstream["name"] == "recordings");
    let expected = json!({
        "name": "recordings", "kind": "websocket",
        "addresses": [{"address": address, "streams": 1, "state": "in-use"}],
    });
    assert_eq!(relay, Some(&expected), "{upstreams:?}");
    proxy.lead_to(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
    proxy.reset_all();
    assert_eq!(client.message()["status"], "upstream_lost");
    let session = get(&gateway, &format!("/sessions/{id}"));
    assert_eq!(session["session"]["backend"]["state"], "away", "{session}");
    proxy.lead_to(backend.address());
    assert_eq!(client.message()["status"], "upstream_restored");
    let session = get(&gateway, &format!("/sessions/{id}"));
    let expected = json!({"address": address, "state": "here"});
    assert_eq!(session["session"]["backend"], expected, "{session}");
}

#[test]
fn policies_are_listed_with_the_digests_that_decide() {
    let gateway = watched(Config::ingest());
    let policies = list(&gateway, "/policies", "policies");
    let names: Vec<_> = policies
        .iter()
        .map(|policy| policy["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["auth", "duplicate", "sample-rate"]);
    let (_client, id) = Client::stream_of(&gateway, "m1", "u-1");
    let session = get(&gateway, &format!("/sessions/{id}"));
    assert_eq!(
        session["session"]["decisions"][0]["digest"],
        policies[0]["digest"]
    );
    for (field, value) in [
        ("hooks", json!(["on-connect"])),
        ("grants", json!(["jwt"])),
        ("on_failure", json!("closed")),
        ("state", json!("in-use")),
    ] {
        assert_eq!(policies[0][field], value, "{}", policies[0]);
    }
}

#[test]
fn what_changed_is_told_with_its_files_whether_it_was_taken_or_refused() {
    let config = Config::open().set("server", "admin_listen", json!("127.0.0.1:0"));
    let gateway = Gateway::start(&config.clone().set("server", "watch", json!(false)));
    let start = list(&gateway, "/generations", "generations");
    assert_eq!(start.len(), 1);
    assert_eq!(
        (&start[0]["trigger"], &start[0]["generation"]),
        (&json!("start"), &json!(1))
    );
    assert_eq!(start[0]["file_sha256"].as_str().unwrap().len(), 64);
    let config = config.set("server", "watch", json!(false));
    let config = config.set("routes.echo", "paths", json!(["/echo", "/other"]));
    let config = config.set("server", "max_parked", json!(7));
    gateway.replace("sluice.toml", config.to_string().into_bytes());
    assert_eq!(gateway.admin("POST /reload").0, 200);
    gateway.replace("sluice.toml", b"[server]\nlisten = 5\n");
    assert_eq!(gateway.admin("POST /reload").0, 422);
    let told = list(&gateway, "/generations", "generations");
    let [refused, swapped, first] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(first, &start[0]);
    for (change, result) in [(refused, "refused"), (swapped, "swapped")] {
        assert_eq!(change["result"], result, "{change}");
        assert_eq!(
            (&change["generation"], &change["trigger"]),
            (&json!(2), &json!("request"))
        );
        let files = change["changed_files"].as_array().unwrap();
        let [file] = &files[..] else {
            panic!("{change}")
        };
        assert!(file.as_str().unwrap().ends_with("sluice.toml"), "{change}");
        assert_ne!(change["file_sha256"], first["file_sha256"], "{change}");
    }
    assert_eq!(swapped["needs_restart"], json!(["max_parked"]), "{swapped}");
    assert_eq!(swapped["report"], Value::Null);
    assert_eq!(
        swapped["changed"],
        json!(["[routes.echo] paths"]),
        "{swapped}"
    );
    assert_eq!(
        swapped["added"],
        json!(["[server] max_parked"]),
        "{swapped}"
    );
    for (change, field) in [(swapped, "removed"), (refused, "changed"), (first, "added")] {
        assert_eq!(change[field], json!([]), "{change}");
    }
    assert!(
        refused["report"].as_str().unwrap().contains("listen"),
        "{refused}"
    );
    let status = get(&gateway, "/status");
    assert_eq!(status["needs_restart"], json!(["max_parked"]), "{status}");
    assert_eq!(status["last_reload"], *refused, "{status}");
    assert_eq!(
        (&status["generation"], &status["missing_keys"]),
        (&json!(2), &json!([]))
    );
}

#[test]
fn the_status_and_the_list_and_the_metrics_show_the_same_figures() {
    let gateway = watched(Config::ingest());
    let (_one, _) = Client::stream_of(&gateway, "m1", "u-1");
    let (_two, _) = Client::stream_of(&gateway, "m2", "u-2");
    let _echo = idle(&gateway);
    Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", "nonsense"))
        .expect_refusal(4001, "auth_failed");
    let status = eventually("three streams and no other connection", || {
        let status = get(&gateway, "/status");
        let expected = json!({"live": 3, "streaming": 3, "parked": 0});
        (status["connections"] == expected).then_some(status)
    });
    assert_eq!(list(&gateway, "/sessions", "sessions").len(), 3);
    for (figure, metric) in [
        (&status["connections"]["live"], "sluice_connections_live"),
        (&status["claims"], "sluice_claims"),
        (&status["generation"], "sluice_generation"),
        (
            &status["refusals_kept"],
            "sluice_policy_decisions_total{policy=\"auth\",outcome=\"reject\"}",
        ),
    ] {
        assert_eq!(
            figure.as_f64().unwrap(),
            gateway.metric(metric),
            "{metric} in {status}"
        );
    }
    assert_eq!(status["refusals_kept"], 1, "{status}");
    assert_eq!(
        (&status["draining"], &status["version"]),
        (&json!(false), &json!(env!("CARGO_PKG_VERSION")))
    );
}

/// Token of those who may end sessions.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A gateway where whoever has the token may end sessions.
fn operated(config: Config) -> Gateway {
    let config = config
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "admin_token_file", json!("admin-token"));
    let file = format!("{TOKEN}\n");
    Gateway::start_with_files(&config, &[("admin-token", file.as_bytes())])
}

/// Asks for the end of sessions. Returns the status and the number of sessions that end.
fn close(gateway: &Gateway, token: &str, what: &str) -> (u16, Value) {
    let request = format!("POST {what}\r\nAuthorization: Bearer {token}");
    let (status, body) = gateway.admin(&request);
    let answer = serde_json::from_str::<Value>(&body).unwrap_or_default();
    (status, answer["closed"].clone())
}

#[test]
fn an_operator_ends_a_session_and_its_client_is_told_why() {
    let gateway = operated(Config::ingest());
    let (mut client, id) = Client::stream_of(&gateway, "m1", "u-1");
    let path = format!("/sessions/{id}/close?reason=moved+to+another+room");
    assert_eq!(gateway.admin("POST /reload").0, 401);
    assert_eq!(close(&gateway, "wrong", &path).0, 401);
    assert_eq!(close(&gateway, TOKEN, &path), (200, json!(1)));
    let reason = "moved to another room";
    client.expect_refusal_saying(4003, "ended_by_operator", reason);
    let audited = gateway.output().find("the audit", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["target"] == "sluice::audit").then_some(event)
    });
    let audited = audited.expect("the gateway runs");
    assert_eq!(audited["to"], format!("session {id}"), "{audited}");
    assert_eq!(audited["reason"], reason, "{audited}");
    assert_eq!(audited["action"], "close", "{audited}");
    let by = audited["by"].as_str().unwrap();
    assert!(by.starts_with("127.0.0.1:"), "{audited}");
    assert_eq!(gateway.connection_log(&id)["cause"], "ended_by_operator");
    assert_eq!(close(&gateway, TOKEN, &path).0, 404);
}

#[test]
fn an_operator_ends_all_sessions_of_a_user_and_nobody_elses() {
    let gateway = operated(Config::ingest());
    let mut theirs = ["m1", "m2"].map(|name| Client::stream_of(&gateway, name, "u-1").0);
    let (_other, id) = Client::stream_of(&gateway, "m3", "u-2");
    assert_eq!(close(&gateway, TOKEN, "/sessions/close").0, 400);
    let of = |whom: &str| close(&gateway, TOKEN, &format!("/sessions/close?{whom}"));
    assert_eq!(of("user=nobody"), (200, json!(0)));
    assert_eq!(of("user=u-1"), (200, json!(2)));
    for client in &mut theirs {
        let told = "an operator ended this session";
        client.expect_refusal_saying(4003, "ended_by_operator", told);
    }
    eventually("one session", || {
        let left = list(&gateway, "/sessions", "sessions");
        (ids(&left) == [&*id]).then_some(())
    });
    assert_eq!(of("tenant=t-1"), (200, json!(1)));
}

#[test]
fn a_stream_that_an_operator_ends_is_not_resumed() {
    let gateway = operated(Config::ingest().limit("resume_grace", "10min"));
    let path = meeting("m1", "mic", &token::of_user("u-1"));
    let mut client = Client::connect(Library::Ws, &gateway, &path);
    let mut greeting = handshake();
    greeting["features"] = json!(["ack", "resume"]);
    client.json(&greeting);
    let ack = client.message();
    let id = ack["session_id"].as_str().expect("an ack").to_owned();
    client.vanish();
    let parked = || {
        let sessions = list(&gateway, "/sessions?stage=parked", "sessions");
        (ids(&sessions) == [&*id]).then_some(())
    };
    eventually("a parked stream", parked);
    let path = format!("/sessions/{id}/close");
    assert_eq!(close(&gateway, TOKEN, &path), (200, json!(1)));
    eventually("its end", || {
        list(&gateway, "/sessions", "sessions")
            .is_empty()
            .then_some(())
    });
    let ended = gateway.output().find("its last line", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["message"] == "a parked stream ended").then_some(event)
    });
    assert_eq!(ended.unwrap()["why"], "an operator ended it");
}

#[test]
fn a_status_tells_what_the_gateway_can_take_and_what_it_has_taken() {
    let gateway = watched(Config::ingest().set("server", "max_connections", json!(50)));
    let (_client, _) = Client::stream_of(&gateway, "m1", "u-1");
    let status = get(&gateway, "/status");
    let capacity = &status["capacity"];
    for (figure, metric) in [
        ("connections_limit", "sluice_connections_limit"),
        ("parked_limit", "sluice_parked_limit"),
        ("memory_limit_bytes", "sluice_memory_limit_bytes"),
        ("descriptors_limit", "process_max_fds"),
    ] {
        let figure = capacity[figure].as_f64().unwrap();
        assert_eq!(figure, gateway.metric(metric), "{metric} in {status}");
    }
    assert_eq!(capacity["connections_limit"], 50, "{status}");
    assert!(capacity["open_descriptors"].as_u64() > Some(8), "{status}");
    assert_eq!(status["certificates"], json!([]));
    let off = json!({"state": "off", "error": null, "unrecorded": 0});
    assert_eq!(status["decision_record"], off);
}

#[test]
fn a_record_of_decisions_that_cannot_be_written_is_said_to_fail_until_it_is_written_again() {
    let config = Config::ingest().set("decisions", "file", json!("decisions.jsonl"));
    let gateway = watched(config);
    let file = gateway.data().join("decisions.jsonl");
    let is = |state: &str| {
        eventually(state, || {
            // Each refusal is a decision.
            let path = meeting("m1", "mic", "nonsense");
            Client::connect(Library::Ws, &gateway, &path).expect_refusal(4001, "auth_failed");
            let status = get(&gateway, "/status");
            let record = status["decision_record"].clone();
            (record["state"] == state).then_some(record)
        })
    };
    assert_eq!(is("written")["error"], Value::Null);
    // A folder is in its place.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    gateway.signal(rustix::process::Signal::USR1);
    let failing = is("failing");
    assert!(failing["error"].as_str().unwrap().len() > 5, "{failing}");
    let unrecorded = gateway.metric("sluice_decisions_unrecorded_total{reason=\"disk\"}");
    assert!(unrecorded >= 1.0, "{unrecorded}");
    assert!(
        failing["unrecorded"].as_f64() <= Some(unrecorded),
        "{failing}"
    );
    std::fs::remove_dir(&file).unwrap();
    assert_eq!(is("written")["error"], Value::Null);
}

#[test]
fn only_tokens_that_the_issuer_has_signed_tell_of_its_clock() {
    let gateway = watched(Config::ingest());
    let clock = || get(&gateway, "/status")["key_sets"][0]["clock"].clone();
    let nothing = json!({
        "tokens": 0, "ahead_ms": 0, "youngest_ms": null, "expired": 0, "not_yet_valid": 0,
    });
    assert_eq!(clock(), nothing);
    let refused = |token: &str| {
        let path = meeting("m1", "mic", token);
        Client::connect(Library::Ws, &gateway, &path).expect_refusal(4001, "auth_failed");
    };
    let ahead = token::now() + 9000;
    let with = |claims: Value| token::claims_with(claims);
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    // Whoever is no issuer says nothing, and neither does a token for somebody else.
    refused(&token::sign_with(
        &header,
        &with(json!({"iat": ahead})),
        b"nobody's secret",
    ));
    refused(&token::sign(&with(json!({"iat": ahead, "aud": "others"}))));
    refused(&token::sign(&with(json!({"iat": ahead, "iss": "others"}))));
    assert_eq!(clock(), nothing);
    // Times that differ the other way, and then the newest of all.
    refused(&token::sign(&with(
        json!({"iat": token::now() - 7200, "exp": token::now() - 60}),
    )));
    let (_client, _) = Client::stream_of(&gateway, "m1", "u-1");
    let known = clock();
    assert_eq!(
        (&known["tokens"], &known["expired"]),
        (&json!(2), &json!(1)),
        "{known}"
    );
    assert_eq!(known["ahead_ms"], 0, "{known}");
    assert!(known["youngest_ms"].as_u64() < Some(60_000), "{known}");
    let metric = "sluice_token_clock_ahead_seconds{key_set=\"main\"}";
    assert_eq!(gateway.metric(metric), 0.0);
    let (_other, _) = {
        let token = token::sign(&with(json!({"user_id": "u-2", "iat": token::now() + 600})));
        let mut client = Client::connect(Library::Ws, &gateway, &meeting("m2", "mic", &token));
        client.handshake();
        let id = client.expect_ack();
        (client, id)
    };
    let known = clock();
    let told = known["ahead_ms"].as_u64().unwrap();
    assert!((500_000..=600_000).contains(&told), "{known}");
    assert_eq!(known["youngest_ms"], 0, "{known}");
    assert_eq!(
        gateway.metric(metric) * 1000.0,
        known["ahead_ms"].as_f64().unwrap()
    );
}
