//! What a policy was built against holds for ever: the contract only grows,
//! and components of earlier versions still run.

use std::path::{Path, PathBuf};

use serde_json::json;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::guest::with_policy;
use sluice_tests::{client, token};
use wit_parser::{Resolve, WorldId};

fn workspace(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("a workspace").join(path)
}

/// Reads a contract, and calls its package by another version: two of one
/// version cannot be looked at together.
fn push(resolve: &mut Resolve, wit: &str, version: &str) -> wit_parser::PackageId {
    let name = "package sluice:policy@";
    let (before, after) = wit.split_once(name).expect("the package's line");
    let (_, after) = after.split_once(';').expect("the end of that line");
    let text = format!("{before}{name}{version};{after}");
    resolve.push_str("policy.wit", &text).expect("it is WIT")
}

/// What a component that was built for `world` of the old contract would meet
/// in a host of the new one.
fn still_holds(old: &str, new: &str, world: &str) -> Result<(), String> {
    let mut resolve = Resolve::default();
    let packages = [
        push(&mut resolve, old, "0.0.1"),
        push(&mut resolve, new, "0.0.2"),
    ];
    let find = |package| -> Result<WorldId, String> {
        let worlds = &resolve.packages[package].worlds;
        worlds.get(world).copied().ok_or(format!("{world} is gone"))
    };
    let (old, new) = (find(packages[0])?, find(packages[1])?);
    wit_component::semver_check(resolve, old, new).map_err(|error| format!("{world}: {error:#}"))
}

fn worlds(wit: &str) -> Vec<String> {
    let mut resolve = Resolve::default();
    let package = push(&mut resolve, wit, "0.0.1");
    resolve.packages[package].worlds.keys().cloned().collect()
}

/// Every world of the old contract, with what is wrong in the new one.
fn broken(old: &str, new: &str) -> Vec<String> {
    let worlds = worlds(old).into_iter();
    worlds
        .filter_map(|world| still_holds(old, new, &world).err())
        .collect()
}

#[test]
fn the_contract_keeps_what_0_1_0_promised() {
    let read = |path| std::fs::read_to_string(workspace(path)).expect("a contract");
    let (frozen, now) = (read("wit/0.1.0/policy.wit"), read("wit/policy.wit"));
    let broken = broken(&frozen, &now);
    assert!(
        broken.is_empty(),
        "policies that were built against 0.1.0 would not run; within 0.1.x add functions, methods, \
         interfaces and worlds, and change nothing:\n{broken:#?}"
    );
}

/// The check is worth something: it lets pass what may change, and nothing
/// else.
#[test]
fn a_breaking_change_of_the_contract_is_seen_and_an_addition_is_none() {
    let frozen = std::fs::read_to_string(workspace("wit/0.1.0/policy.wit")).expect("a contract");
    let changed = |from: &str, to: &str| {
        assert!(frozen.contains(from), "{from} is not in the contract");
        broken(&frozen, &frozen.replace(from, to))
    };
    let method = "remote-addr: func() -> string;";
    let added = changed(method, &format!("{method}\nsubprotocol: func() -> string;"));
    assert_eq!(added, Vec::<String>::new());
    let interface = "interface later { f: func(); }\ninterface log {";
    assert_eq!(changed("interface log {", interface), Vec::<String>::new());
    for (from, to) in [
        ("retryable: bool,", "retryable: bool, hint: option<string>,"),
        ("retryable: bool,", ""),
        ("        accept,\n", "        accept,\n        wait,\n"),
        ("wrong-audience,", ""),
        (method, "remote-addr: func() -> option<string>;"),
        (method, ""),
        (
            "decide: func(c: borrow<facts>) -> decision;",
            "decide: func(c: borrow<facts>, again: bool) -> decision;",
        ),
        (
            "validate-config: func() -> result<_, string>;",
            "validate-config: func() -> result<_, string>;\nmore: func();",
        ),
        (
            "    export on-close;\n",
            "    export on-close;\n    export on-connect;\n",
        ),
    ] {
        assert!(!changed(from, to).is_empty(), "{from} became {to:?} unseen");
    }
}

/// The policies of 0.1.0 as they were built then.
fn fixtures() -> Config {
    let folder = workspace("tests/guests/v0.1.0");
    let file = |name: &str| folder.join(name).with_extension("wasm");
    let config = Config::ingest();
    let config = with_policy(config, "auth", &file("auth"), &["jwt"]);
    let config = with_policy(config, "duplicate", &file("duplicate"), &["sessions"]);
    let config = with_policy(config, "sample-rate", &file("sample-rate"), &[]);
    let config = with_policy(config, "rate-limit", &file("rate-limit"), &["counters"]);
    let watch = "silence-or-too-fast";
    with_policy(config, watch, &file(watch), &["counters"])
        .set("policies.rate-limit.config", "attempts", json!(2))
        .set("policies.rate-limit.config", "key", json!(["auth.user_id"]))
        .set(&format!("policies.{watch}.config"), "burst", json!(64_000))
        .set(
            "routes.ingest",
            "on_connect",
            json!(["auth", "duplicate", "rate-limit"]),
        )
        .set("routes.ingest", "on_frames", json!([watch]))
        .set("routes.ingest", "on_close", json!(["rate-limit"]))
        .limit("frames_window", "200ms")
}

#[test]
fn policies_that_were_built_for_0_1_0_still_decide() {
    let gateway = Gateway::start(&fixtures());
    let path = |token: &str| meeting("m1", "mic", token);
    let connect = |token: &str| Client::connect(Library::Websockets, &gateway, &path(token));
    connect("nonsense").expect_refusal(4001, "auth_failed");
    let mut streaming = connect(&token::good());
    streaming.handshake();
    streaming.expect_ack();
    connect(&token::good()).expect_refusal(4002, "ingest_exists");
    streaming.audio(&[1; 320_000]);
    streaming.expect_refusal(4109, "too_fast");
    let mut wrong = connect(&token::good());
    let mut handshake = client::handshake();
    handshake["sample_rate"] = json!(8000);
    wrong.json(&handshake);
    wrong.expect_refusal(4000, "invalid_sample_rate");
    connect(&token::good()).expect_refusal(4129, "too_many_attempts");
}
