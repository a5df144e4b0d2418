//! Several gateways that share NATS, as an operator sees and steers them.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::nats::Nats;
use sluice_tests::{eventually, token};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn operated(nats: &Nats) -> Gateway {
    let config = Config::ingest()
        .set("cluster", "servers", json!([nats.url()]))
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "admin_token_file", json!("admin-token"));
    let gateway = Gateway::start_with_files(&config, &[("admin-token", TOKEN.as_bytes())]);
    eventually("it shares", || {
        (get(&gateway, "/status")["cluster"]["lease"] == "held").then_some(())
    });
    gateway
}

/// The other gateways are told of an order, or will be: the stream may have to be created first.
fn is_told(answer: &Value) {
    let told = &answer["other_gateways"];
    assert!(*told == "told" || *told == "told-later", "{answer}");
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| json!(body))
}

fn post(gateway: &Gateway, path: &str) -> Value {
    let (status, body) = gateway.admin(&format!("POST {path}\r\nAuthorization: Bearer {TOKEN}"));
    assert_eq!(status, 200, "{path}: {body}");
    parsed(&body)
}

fn get(gateway: &Gateway, path: &str) -> Value {
    let (status, body) = gateway.admin(&format!("GET {path}"));
    assert_eq!(status, 200, "{path}: {body}");
    parsed(&body)
}

/// Code with which somebody is refused; the status of the ack if nobody is.
fn answer(gateway: &Gateway, meeting_id: &str, user: &str) -> Value {
    let path = meeting(meeting_id, "mic", &token::of_user(user));
    let mut client = Client::connect(Library::Ws, gateway, &path);
    client.json(&handshake());
    let frame = client.message();
    match &frame["code"] {
        Value::Null => frame["status"].clone(),
        code => code.clone(),
    }
}

fn revoked(gateway: &Gateway) -> Vec<Value> {
    let answer = get(gateway, "/revocations");
    let all = answer["revocations"].as_array().expect("a list");
    all.iter().map(|it| it["user"].clone()).collect()
}

fn instance(gateway: &Gateway) -> String {
    let status = get(gateway, "/status");
    status["instance"].as_str().expect("a text").to_owned()
}

/// Audit lines of what was done at another gateway: that gateway, the action, the object, the result.
fn audit(gateway: &Gateway) -> Vec<[String; 4]> {
    let lines = gateway.output().lines();
    let events = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["target"] == "sluice::audit" && event["gateway"].is_string());
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    events
        .map(|event| ["gateway", "action", "to", "result"].map(|name| text(&event, name)))
        .collect()
}

#[test]
fn whoever_is_revoked_at_one_gateway_is_at_all_and_at_one_that_starts_later() {
    let nats = Nats::start();
    let [first, second] = [operated(&nats), operated(&nats)];
    let (mut theirs, _) = Client::stream_of(&second, "m1", "u-1");
    let (mut other, _) = Client::stream_of(&second, "m2", "u-2");
    let path = "/sessions/close?user=u-1&until=2999-01-01T00:00:00Z&reason=your+laptop+is+lost";
    let closed = post(&first, path);
    assert_eq!(closed["closed"], 0);
    is_told(&closed);
    theirs.expect_refusal_saying(4003, "ended_by_operator", "your laptop is lost");
    for gateway in [&first, &second] {
        assert_eq!(answer(gateway, "m1", "u-1"), "ended_by_operator");
    }
    let by = instance(&first);
    let done = "1 sessions told to end, new ones refused";
    let expected = [&by, "close", "user u-1", done].map(str::to_owned);
    eventually("its audit says so", || {
        (audit(&second) == [expected.clone()]).then_some(())
    });
    assert_eq!(audit(&first), [[""; 4]; 0]);
    let third = operated(&nats);
    eventually("a gateway that starts later knows it", || {
        (revoked(&third) == ["u-1"]).then_some(())
    });
    assert_eq!(answer(&third, "m1", "u-1"), "ended_by_operator");
    // Any of them may lift it.
    let lifted = post(&third, "/revocations/lift?user=u-1");
    is_told(&lifted);
    for gateway in [&first, &second] {
        eventually("it is lifted here", || {
            revoked(gateway).is_empty().then_some(())
        });
    }
    assert_eq!(answer(&first, "m1", "u-1"), "ready");
    let fourth = operated(&nats);
    eventually("one that starts after that has read all", || {
        (audit(&fourth).len() == 1).then_some(())
    });
    assert_eq!(revoked(&fourth), [Value::Null; 0]);
    other.finalize(0, 0);
}

#[test]
fn an_order_while_nats_is_away_holds_here_at_once_and_elsewhere_once_it_is_back() {
    let mut nats = Nats::start();
    let [first, second] = [operated(&nats), operated(&nats)];
    let (mut here, _) = Client::stream_of(&first, "m1", "u-1");
    let (mut there, _) = Client::stream_of(&second, "m2", "u-1");
    nats.kill();
    let closed = post(
        &first,
        "/sessions/close?user=u-1&until=2999-01-01T00:00:00Z",
    );
    assert_eq!(
        (&closed["closed"], &closed["other_gateways"]),
        (&json!(1), &json!("told-later"))
    );
    here.expect_refusal(4003, "ended_by_operator");
    assert_eq!(revoked(&first), ["u-1"]);
    assert_eq!(revoked(&second), [Value::Null; 0]);
    let pending = &get(&first, "/status")["cluster"]["pending_writes"];
    assert!(pending.as_u64() >= Some(1), "{pending}");
    // Of two orders about one user, the later one counts.
    let again = post(&first, "/revocations/lift?user=u-1");
    assert_eq!(again["other_gateways"], "told-later");
    post(
        &first,
        "/sessions/close?user=u-1&until=2998-01-01T00:00:00Z",
    );
    nats.start_again();
    there.expect_refusal(4003, "ended_by_operator");
    let listed = get(&second, "/revocations");
    assert_eq!(
        listed["revocations"][0]["until"],
        "2998-01-01T00:00:00.000Z"
    );
}

#[test]
fn a_policy_in_quarantine_by_hand_is_called_at_no_gateway_until_one_of_them_releases_it() {
    let nats = Nats::start();
    let [first, second] = [operated(&nats), operated(&nats)];
    let state = |gateway: &Gateway| {
        let policies = get(gateway, "/policies");
        let mut all = policies["policies"].as_array().expect("a list").iter();
        let auth = all
            .find(|policy| policy["name"] == "auth")
            .expect("it is there");
        auth["state"].clone()
    };
    let comes_to = |gateway: &Gateway, word: &str| {
        eventually(word, || (state(gateway) == word).then_some(()));
    };
    let changed = post(&first, "/policies/auth/quarantine");
    is_told(&changed);
    comes_to(&second, "quarantined-by-operator");
    assert_eq!(answer(&second, "m1", "u-1"), "policy_failed");
    let third = operated(&nats);
    comes_to(&third, "quarantined-by-operator");
    post(&second, "/policies/auth/release");
    comes_to(&first, "in-use");
    let by = instance(&second);
    let expected = [&by, "release", "policy auth", "in-use"].map(str::to_owned);
    assert_eq!(audit(&first), [expected]);
    assert_eq!(answer(&first, "m1", "u-1"), "ready");
}

#[test]
fn a_status_shows_the_gateways_that_share_nats_with_their_leases_and_what_they_hold() {
    let mut nats = Nats::start();
    let [mut first, second] = [operated(&nats), operated(&nats)];
    let (_client, id) = Client::stream_of(&first, "m1", "u-1");
    let cluster = || get(&second, "/status")["cluster"].clone();
    let of = |cluster: &Value, instance: &str| {
        let mut all = cluster["gateways"].as_array().expect("a list").iter();
        all.find(|gateway| gateway["instance"] == instance).cloned()
    };
    let one = instance(&first);
    let seen = eventually("the second gateway sees what the first one has", || {
        let seen = of(&cluster(), &one)?;
        (seen["sessions"] == 1 && seen["claims"] == 1).then_some(seen)
    });
    assert_eq!(seen["lease"], "held", "{seen}");
    let status = cluster();
    assert!(of(&status, &instance(&second)).is_some(), "{status}");
    assert_eq!(
        (&status["connected"], &status["lease"]),
        (&json!(true), &json!("held"))
    );
    assert!(status["lease_age_ms"].as_u64() < Some(15_000), "{status}");
    let session = &get(&first, &format!("/sessions/{id}"))["session"];
    let key = session["claims"][0].as_str().expect("a digest");
    assert_eq!(key.len(), 64, "{session}");
    // For people, too.
    let address = second.admin_address().to_string();
    let mut said = command::sluice(&["status", "--admin", &address]);
    let said = command::run(&mut said).stdout;
    assert!(
        said.contains("connected since") && said.contains(&one),
        "{said}"
    );
    first.signal(rustix::process::Signal::INT);
    first.wait();
    eventually("the first one's lease has ended", || {
        // If it could not write its end in time, its record goes by itself.
        let first = of(&cluster(), &one);
        first.is_none_or(|it| it["lease"] == "ended").then_some(())
    });
    nats.kill();
    let away = eventually("the connection is lost", || {
        let cluster = cluster();
        (cluster["connected"] == false).then_some(cluster)
    });
    assert!(away["since"].as_str() > status["since"].as_str(), "{away}");
    // What was known is shown, with its age.
    assert!(of(&away, &instance(&second)).is_some(), "{away}");
}
