//! What one client sends is never a reason why another one is refused.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::token;

/// More connections than it takes of failures until a policy is put away.
const OFTEN: usize = 12;

fn built_for_0_1_0(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .join("guests/v0.1.0")
        .join(name)
        .with_extension("wasm")
}

/// The main job with its metrics, where a policy is put away at the second client that it fails.
fn config() -> Config {
    let policies = ["auth", "duplicate", "sample-rate"].map(|name| format!("policies.{name}"));
    let config = Config::ingest().set("server", "admin_listen", json!("127.0.0.1:0"));
    let config = config.limit("admission_timeout", "5min");
    policies.iter().fold(config, |config, policy| {
        config
            .set(policy, "quarantine_after", json!(2))
            // A busy machine is no fault of a policy's.
            .set(policy, "timeout", json!("60s"))
            .set(policy, "quarantine", json!("1h"))
    })
}

fn with_policies_for_0_1_0(config: Config) -> Config {
    let names = ["auth", "duplicate", "sample-rate"];
    names.into_iter().fold(config, |config, name| {
        let component = json!(built_for_0_1_0(name));
        config.set(&format!("policies.{name}"), "component", component)
    })
}

/// What is too much, and what its client is told.
struct Attack {
    claims: Value,
    meeting: String,
    handshake: Value,
    code: u16,
    word: &'static str,
}

impl Attack {
    fn on_request(claims: Value, meeting: &str, code: u16, word: &'static str) -> Self {
        Self {
            claims,
            meeting: meeting.to_owned(),
            handshake: handshake(),
            code,
            word,
        }
    }

    fn on_handshake(handshake: Value) -> Self {
        Self {
            handshake,
            ..Self::on_request(json!({}), "m1", 4000, "handshake_invalid")
        }
    }
}

fn with(name: &str, value: Value) -> Value {
    let mut message = handshake();
    message[name] = value;
    message
}

/// `auth` is the code and word for a claim that is too long.
fn attacks((code, word): (u16, &'static str)) -> Vec<Attack> {
    let long = "x".repeat(1100);
    let deep = |open: &str, close: &str| -> Value {
        let depth = 100;
        let text = format!("{}0{}", open.repeat(depth), close.repeat(depth));
        serde_json::from_str(&text).expect("JSON")
    };
    vec![
        Attack::on_request(json!({"email": long}), "m1", code, word),
        Attack::on_request(json!({"tenant_id": long}), "m1", code, word),
        Attack::on_request(json!({"user_id": "\u{1}".repeat(1100)}), "m1", code, word),
        Attack::on_request(json!({"email": vec!["a@b.c"; 400]}), "m1", code, word),
        Attack::on_request(json!({}), &"m".repeat(1010), 4005, "policy_denied"),
        Attack::on_request(json!({}), &"m".repeat(8000), 4005, "policy_denied"),
        // Each of these is six bytes in the key.
        Attack::on_request(json!({}), &"%01".repeat(300), 4005, "policy_denied"),
        Attack::on_handshake(with("more", json!(vec![0; 100_000]))),
        Attack::on_handshake(with("more", json!("x".repeat(100_000)))),
        Attack::on_handshake(with("more", json!(vec![deep("{\"\":", "}"); 200]))),
        Attack::on_handshake(with("codec", json!(vec![0; 20_000]))),
        Attack::on_handshake(with("channels", deep("[", "]"))),
    ]
}

fn attack(gateway: &Gateway, client: &mut Client, attack: &Attack) {
    let claims = json!({"user_id": "attacker"});
    let mut claims = token::claims_with(claims);
    for (name, value) in attack.claims.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    client.open(
        gateway,
        &meeting(&attack.meeting, "mic", &token::sign(&claims)),
        &[],
    );
    if attack.code == 4000 {
        client.json(&attack.handshake);
    }
    let frame = client.expect_refusal(attack.code, attack.word);
    assert_eq!(frame["retryable"], false, "{frame}");
    let message = frame["message"].as_str().expect("a sentence");
    assert!(message.contains(' '), "{frame}");
}

/// A client as they should be, who is let in.
fn visits(gateway: &Gateway, user: &str) {
    let path = meeting(user, "mic", &token::of_user(user));
    let mut client = Client::connect(Library::Ws, gateway, &path);
    client.handshake();
    client.expect_ack();
    client.finalize(0, 0);
}

fn nobody_else_notices(config: &Config, attacks: &[Attack]) {
    let gateway = Gateway::start(config);
    let mut client = Client::idle(Library::Websockets);
    for each in attacks {
        for _ in 0..3 {
            attack(&gateway, &mut client, each);
        }
        visits(&gateway, "victim");
    }
    for policy in ["auth", "duplicate", "sample-rate"] {
        let put_away = format!("sluice_policy_quarantines_total{{policy=\"{policy}\"}}");
        assert_eq!(
            gateway.metric(&put_away).to_bits(),
            0_f64.to_bits(),
            "{policy}"
        );
        for failure in [
            "trap",
            "limit-memory",
            "limit-attribute",
            "limit-hostcall-fuel",
        ] {
            let failed = format!(
                "sluice_policy_decisions_total{{policy=\"{policy}\",outcome=\"{failure}\"}}"
            );
            let count = gateway.metric(&failed);
            assert_eq!(count.to_bits(), 0_f64.to_bits(), "{policy}: {failure}");
        }
    }
}

#[test]
fn what_is_too_much_refuses_the_client_that_sends_it_and_nobody_else_notices() {
    nobody_else_notices(&config(), &attacks((4001, "auth_failed")));
}

#[test]
fn policies_built_for_0_1_0_are_not_failed_by_a_client_either() {
    let config = with_policies_for_0_1_0(config());
    nobody_else_notices(&config, &attacks((4005, "policy_denied")));
}

#[test]
fn an_extra_member_of_a_handshake_costs_a_policy_nothing() {
    let config = config().set("policies.sample-rate", "max_memory", json!("1408KiB"));
    let gateway = Gateway::start(&config);
    let wide = json!(vec![json!({"": 0}); 8_000]);
    for more in [json!(vec![0; 30_000]), wide, json!("x".repeat(60_000))] {
        let path = meeting("m1", "mic", &token::good());
        let mut client = Client::connect(Library::Ws, &gateway, &path);
        client.json(&with("more", more));
        client.expect_ack();
        client.finalize(0, 0);
    }
}

/// The sample-rate policy of 0.1.0, which makes a tree of a handshake, with too little memory for a
/// large one: what fails it is up to each client.
fn fragile() -> Config {
    config()
        .set(
            "policies.sample-rate",
            "component",
            json!(built_for_0_1_0("sample-rate")),
        )
        .set("policies.sample-rate", "max_memory", json!("2MiB"))
}

/// A visit whose handshake is more than the policy has memory for.
fn breaks(gateway: &Gateway, client: &mut Client, user: &str) {
    client.open(gateway, &meeting("m1", "mic", &token::of_user(user)), &[]);
    client.json(&with("more", json!(vec![json!({"": 0}); 8_000])));
    client.expect_refusal_saying(4007, "policy_failed", "policy sample-rate failed");
}

#[test]
fn a_client_whose_input_breaks_a_policy_does_not_have_it_put_away() {
    let gateway = Gateway::start(&fragile());
    let mut client = Client::idle(Library::Websockets);
    for _ in 0..OFTEN {
        breaks(&gateway, &mut client, "attacker");
    }
    visits(&gateway, "victim");
    let put_away = "sluice_policy_quarantines_total{policy=\"sample-rate\"}";
    assert_eq!(gateway.metric(put_away).to_bits(), 0_f64.to_bits());
}

#[test]
fn a_policy_that_breaks_for_one_client_after_the_other_is_put_away() {
    let gateway = Gateway::start(&fragile());
    let mut client = Client::idle(Library::Websockets);
    for user in ["a", "b"] {
        breaks(&gateway, &mut client, user);
    }
    let path = meeting("m1", "mic", &token::of_user("victim"));
    client.open(&gateway, &path, &[]);
    client.handshake();
    client.expect_refusal_saying(4007, "policy_failed", "policy sample-rate failed");
    let put_away = "sluice_policy_quarantines_total{policy=\"sample-rate\"}";
    assert_eq!(gateway.metric(put_away).to_bits(), 1_f64.to_bits());
}

#[test]
fn a_client_that_is_not_known_is_told_from_others_by_its_network() {
    let guest = include_str!("../../guests/connect.wat").replace("BODY", "(unreachable)");
    let guest = wat::parse_str(guest).expect("a component");
    let config = Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("policies.guest", "component", json!("guest.wasm"))
        .set("policies.guest", "quarantine_after", json!(2))
        .set("policies.guest", "quarantine", json!("1h"))
        .set("routes.ingest", "on_connect", json!(["guest"]));
    let gateway = Gateway::start_with_files(&config, &[("guest.wasm", &guest)]);
    let mut client = Client::idle(Library::Ws);
    for number in 0..OFTEN {
        // Neither another meeting nor another token that nobody has verified makes another client.
        let path = meeting(
            &format!("m{number}"),
            "mic",
            &token::of_user(&format!("u{number}")),
        );
        client.open(&gateway, &path, &[]);
        client.expect_refusal_saying(4007, "policy_failed", "policy guest failed");
    }
    let put_away = "sluice_policy_quarantines_total{policy=\"guest\"}";
    assert_eq!(gateway.metric(put_away).to_bits(), 0_f64.to_bits());
}
