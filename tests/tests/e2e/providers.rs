//! Keys that are fetched from an identity provider, while it works and while it does not.

use std::time::Instant;

use serde_json::{Value, json};
use sluice_tests::client::{handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::provider::Provider;
use sluice_tests::raw::{self, Raw};
use sluice_tests::token::{self, KeyOfOurs};
use sluice_tests::{command, eventually};

/// Path of the keys.
const JWKS: &str = "/jwks";

fn config() -> Config {
    Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("routes.ingest", "on_connect", json!(["auth"]))
        .set("routes.ingest", "upstream", json!("nowhere"))
}

/// The gateway's answer to a client with this token: the ack, or the error frame.
fn answer(gateway: &Gateway, token: &str) -> Value {
    let mut client = Raw::connect(gateway.address());
    client.upgrade(&meeting("m1", "mic", token));
    // A refusal may have come first.
    drop(client.write(&raw::text(&handshake().to_string())));
    client.message()
}

/// Comes again as long as the keys are unavailable, and is admitted in the end.
fn admitted(gateway: &Gateway, token: &str) {
    eventually("an admission", || {
        let answer = answer(gateway, token);
        if answer["ok"] == true {
            return Some(());
        }
        assert_eq!(answer["close_code"], 4012, "{answer}");
        assert_eq!(answer["retryable"], true, "{answer}");
        None
    });
}

/// Comes again as long as the answer is another one.
fn refused(gateway: &Gateway, token: &str, close_code: u16) {
    eventually("a refusal", || {
        (answer(gateway, token)["close_code"] == close_code).then_some(())
    });
}

fn status(gateway: &Gateway) -> Value {
    let (_, status) = gateway.admin("GET /status");
    let status: Value = serde_json::from_str(&status).unwrap();
    let sets = status["key_sets"].as_array().unwrap();
    let main = sets.iter().find(|set| set["name"] == "main");
    main.unwrap().clone()
}

fn failed(gateway: &Gateway) -> f64 {
    gateway.metric("sluice_key_set_fetches_total{key_set=\"main\",result=\"failed\"}")
}

#[test]
fn keys_of_a_provider_rotate_without_a_reload() {
    let (old, new) = (KeyOfOurs::generate(), KeyOfOurs::generate());
    let mut provider = Provider::start(&[old.jwk("old")]);
    let gateway = Gateway::start(&provider.give_keys(config(), "main"));
    let (by_old, by_new) = (
        old.sign_as("old", &token::claims()),
        new.sign_as("new", &token::claims()),
    );
    admitted(&gateway, &by_old);
    // The gateway asks for the new key in the background, and nobody is told that it is a bad one.
    provider.set(&json!({"keys": [new.jwk("new")]}));
    admitted(&gateway, &by_new);
    // The whole set is another one.
    assert_eq!(answer(&gateway, &by_old)["type"], "error");
    let status = status(&gateway);
    assert_eq!(
        (&status["source"], &status["keys"], &status["last_fetch"]),
        (&json!("provider"), &json!(1), &json!("fetched"))
    );
    assert_eq!(gateway.metric("sluice_generation"), 1.0);
    assert_eq!(gateway.metric("sluice_key_set_keys{key_set=\"main\"}"), 1.0);
    let at = gateway.metric("sluice_key_set_fetched_timestamp_seconds{key_set=\"main\"}");
    assert!(at > 1.6e9, "{at}");
}

#[test]
fn many_tokens_with_unknown_keys_cause_one_request() {
    let key = KeyOfOurs::generate();
    let provider = Provider::start(&[key.jwk("a")]);
    let gateway = Gateway::start(&provider.give_keys(config(), "main"));
    admitted(&gateway, &key.sign_as("a", &token::claims()));
    let (began, before) = (Instant::now(), provider.answers(JWKS).len());
    let stranger = KeyOfOurs::generate();
    for number in 0..300 {
        let token = stranger.sign_as(&format!("k{number}"), &token::claims());
        let answer = answer(&gateway, &token);
        assert_eq!(answer["type"], "error", "{answer}");
    }
    let causes = provider.answers(JWKS).len() - before;
    // On a busy machine they come over more than one cool-down.
    let most = 1 + usize::try_from(began.elapsed().as_secs() / 30).unwrap();
    assert!((1..=most).contains(&causes), "{causes} requests");
    // The provider has said that it has no such key.
    refused(&gateway, &stranger.sign_as("k0", &token::claims()), 4001);
    assert_eq!(
        answer(&gateway, &key.sign_as("a", &token::claims()))["ok"],
        true
    );
}

#[test]
fn keys_that_have_not_changed_are_not_sent_again() {
    let key = KeyOfOurs::generate();
    let provider = Provider::start(&[key.jwk("a")]);
    let config = provider.give_keys(config(), "main");
    let config = config.set("key_sets.main", "jwks_refresh", json!("500ms"));
    let gateway = Gateway::start(&config);
    eventually("answers without keys", || {
        (provider.answers(JWKS).len() >= 4).then_some(())
    });
    let answers = provider.answers(JWKS);
    assert!(
        answers[1..].iter().all(|status| *status == 304),
        "{answers:?}"
    );
    assert!(
        gateway.metric("sluice_key_set_fetches_total{key_set=\"main\",result=\"unchanged\"}") > 0.0
    );
    admitted(&gateway, &key.sign_as("a", &token::claims()));
}

#[test]
fn a_provider_that_fails_in_any_way_takes_no_key_away_and_is_named() {
    let key = KeyOfOurs::generate();
    let token = key.sign_as("a", &token::claims());
    let mut provider = Provider::start(&[key.jwk("a")]);
    let config = provider.give_keys(config(), "main");
    let config = config.set("key_sets.main", "jwks_refresh", json!("500ms"));
    let gateway = Gateway::start(&config);
    admitted(&gateway, &token);
    for (mode, said) in [
        ("error", "it answered with 503"),
        ("redirect", "a redirect (302), which is not followed"),
        ("large", "larger than 524288 bytes"),
        ("garbage", "this is not a JWK set"),
        ("hang", "did not answer within 5 s"),
    ] {
        provider.set(&json!({"mode": mode}));
        let line = gateway.output().find(mode, |line| {
            let event: Value = serde_json::from_str(line).ok()?;
            event["error"].as_str()?.contains(said).then_some(event)
        });
        let line = line.unwrap();
        assert_eq!(
            line["url"],
            format!("{}{JWKS}", provider.issuer()),
            "{line}"
        );
        assert_eq!(line["key_set"], "main", "{line}");
        assert_eq!(answer(&gateway, &token)["ok"], true, "{mode}");
        // The state is written before the line.
        let status = status(&gateway);
        assert_eq!(status["last_fetch"], "failed", "{status}");
        assert!(status["unavailable"].is_null(), "{status}");
    }
    assert!(failed(&gateway) >= 5.0);
    assert_eq!(
        gateway.metric("sluice_key_set_last_fetch_successful{key_set=\"main\"}"),
        0.0
    );
    // Nobody followed the redirect.
    assert_eq!(provider.answers("/elsewhere"), [0; 0]);
    // It sends no keys: a set that is empty is no set.
    provider.set(&json!({"mode": "keys", "keys": []}));
    gateway.output().find("an empty set", |line| {
        line.contains("no key of the JWK set can verify")
            .then_some(())
    });
    assert_eq!(answer(&gateway, &token)["ok"], true);
    let text = gateway.output().text();
    assert!(!text.contains("HUSH") && !text.contains(&token), "{text}");
}

#[test]
fn keys_that_are_too_old_are_not_used_until_the_provider_is_back() {
    let key = KeyOfOurs::generate();
    let token = key.sign_as("a", &token::claims());
    let mut provider = Provider::start(&[key.jwk("a")]);
    let config = provider
        .give_keys(config(), "main")
        .set("key_sets.main", "jwks_refresh", json!("200ms"))
        .set("key_sets.main", "jwks_stale", json!("3s"));
    let gateway = Gateway::start(&config);
    admitted(&gateway, &token);
    provider.set(&json!({"mode": "error"}));
    refused(&gateway, &token, 4012);
    let (ready, text) = gateway.admin("GET /readyz?verbose");
    assert_eq!(ready, 503, "{text}");
    assert!(
        text.contains("failed key set main: keys unavailable"),
        "{text}"
    );
    assert_eq!(
        gateway.metric("sluice_key_set_available{key_set=\"main\"}"),
        0.0
    );
    let address = gateway.admin_address().to_string();
    let told = command::run(&mut command::sluice(&["status", "--admin", &address]));
    assert!(told.stdout.contains("it answered with 503"), "{told:?}");
    provider.set(&json!({"mode": "keys"}));
    admitted(&gateway, &token);
    eventually("ready", || {
        (gateway.admin("GET /readyz").0 == 200).then_some(())
    });
}

#[test]
fn a_gateway_that_starts_while_the_provider_is_away_has_the_keys_of_before() {
    let key = KeyOfOurs::generate();
    let token = key.sign_as("a", &token::claims());
    let mut provider = Provider::start(&[key.jwk("a")]);
    let mut gateway = Gateway::start(&provider.give_keys(config(), "main"));
    admitted(&gateway, &token);
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    provider.stop();
    gateway.start_again();
    assert_eq!(answer(&gateway, &token)["ok"], true);
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    // Those of another provider are not this one's.
    let file = gateway.data().join("keys/main.provider.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, kept.replace("127.0.0.1", "127.0.0.3")).unwrap();
    gateway.start_again();
    assert_eq!(answer(&gateway, &token)["close_code"], 4012);
    assert_eq!(gateway.admin("GET /readyz").0, 503);
    assert_eq!(gateway.admin("GET /livez").0, 200);
}

#[test]
fn tokens_of_several_issuers_are_verified_with_the_keys_of_their_own() {
    let (ours, theirs) = (KeyOfOurs::generate(), KeyOfOurs::generate());
    // The same name: only the issuer tells them apart.
    let (one, mut other) = (
        Provider::start(&[ours.jwk("a")]),
        Provider::start(&[theirs.jwk("a")]),
    );
    let config = one.discovered(config(), "main");
    let config = other.discovered(config, "other");
    let config = config
        .set("key_sets.other", "audiences", json!(["meetings"]))
        .set("key_sets.all", "by_issuer", json!(["main", "other"]))
        .set("policies.auth.config", "key_set", json!("all"));
    let gateway = Gateway::start(&config);
    let claims = |issuer: &str| token::claims_with(json!({"iss": issuer}));
    admitted(&gateway, &ours.sign_as("a", &claims(&one.issuer())));
    admitted(&gateway, &theirs.sign_as("a", &claims(&other.issuer())));
    for forged in [
        ours.sign_as("a", &claims(&other.issuer())),
        theirs.sign_as("a", &claims(&one.issuer())),
        ours.sign_as("a", &claims("https://127.0.0.1")),
    ] {
        let answer = answer(&gateway, &forged);
        assert_eq!(answer["close_code"], 4001, "{answer}");
    }
    // A document of another issuer says nothing about this one's keys.
    other.set(&json!({"issuer": "https://127.0.0.9", "keys": [ours.jwk("b")]}));
    refused(&gateway, &ours.sign_as("b", &claims(&other.issuer())), 4012);
    gateway
        .output()
        .find("the refusal of the document", |line| {
            line.contains("it is of another issuer").then_some(())
        });
}
