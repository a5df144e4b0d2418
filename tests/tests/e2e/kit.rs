//! `sluice policy`, as somebody meets it who writes a policy.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::project::{Project, Tested, place, policy, run, serve, succeeds, with_wasi};
use sluice_tests::token;

fn inspection(file: &str, folder: &Path) -> Value {
    serde_json::from_str(&succeeds(&["inspect", file, "--json"], folder)).unwrap()
}

#[test]
fn a_new_rust_policy_builds_tests_itself_and_loads_without_a_network() {
    let place = place("rust");
    succeeds(&["new", "mine"], &place);
    let project = place.join("mine");
    let built = succeeds(&["build"], &project);
    assert!(built.contains("hooks    lifecycle, on-connect"), "{built}");

    let seen = inspection("build/mine.wasm", &project);
    assert_eq!(
        seen["hooks"],
        serde_json::json!(["lifecycle", "on-connect"])
    );
    assert_eq!(seen["grants"], serde_json::json!([]));
    assert_eq!(seen["not_offered"], serde_json::json!([]));
    let size = std::fs::metadata(project.join("build/mine.wasm"))
        .unwrap()
        .len();
    assert_eq!(seen["size"], size);

    let check = run(
        &mut command::sluice(&["check", "--config", "sluice.toml"]),
        &project,
    );
    assert_eq!(check.status, Some(0), "{check:?}");
    let tests = run(Command::new("cargo").args(["test", "--quiet"]), &project);
    assert_eq!(tests.status, Some(0), "{tests:?}");
    let cases = succeeds(&["test"], &project);
    assert!(cases.contains("3 passed, 0 failed"), "{cases}");
}

#[test]
fn a_new_rust_policy_builds_and_loads_whatever_it_is_called() {
    let place = place("called");
    // A keyword, a crate of the compiler's, one that the SDK is built with, and the SDK's own prefix.
    for name in ["match", "std", "serde", "sluice"] {
        succeeds(&["new", name], &place);
        let project = place.join(name);
        let cases = succeeds(&["test"], &project);
        assert!(cases.contains("3 passed, 0 failed"), "{name}: {cases}");
        let mut check = command::sluice(&["check", "--config", "sluice.toml"]);
        let check = run(&mut check, &project);
        assert_eq!(check.status, Some(0), "{name}: {check:?}");
        assert_eq!(check.stderr, "", "{name}");
    }
    let refused = policy(&["new", "sluice-policy"], &place);
    assert_eq!(refused.status, Some(1), "{refused:?}");
    assert!(
        refused.stderr.contains("such as \"my-sluice-policy\""),
        "{refused:?}"
    );
    assert!(!place.join("sluice-policy").exists());
}

#[test]
fn a_new_javascript_policy_builds_and_tests_itself() {
    let tested = Project::JavaScript.tested();
    tests_itself(Command::new("npm").args(["test", "--silent"]), tested);
}

#[test]
fn a_new_python_policy_builds_and_tests_itself() {
    let tested = Project::Python.tested();
    let mut rule = Command::new("python3");
    rule.args(["-m", "unittest", "discover", "tests"])
        .env("PYTHONPATH", "src");
    tests_itself(&mut rule, tested);
}

/// The tests of its rule pass, and its cases did against the built component,
/// in which nothing of WASI is left for a gateway to offer.
fn tests_itself(rule: &mut Command, tested: &Tested) {
    let rule = run(rule, &tested.folder);
    assert_eq!(rule.status, Some(0), "{rule:?}");
    let told = &tested.told;
    assert!(told.contains("3 passed, 0 failed"), "{told}");
    let seen = inspection(tested.component.to_str().unwrap(), &tested.folder);
    assert_eq!(seen["not_offered"], json!([]), "{seen}");
    assert_eq!(seen["wasi"], json!([]), "{seen}");
}

#[test]
fn new_policies_in_javascript_and_python_decide_in_the_gateway() {
    let mut config = Config::ingest();
    for (name, project) in [("js", Project::JavaScript), ("py", Project::Python)] {
        let policy = format!("policies.{name}");
        let route = format!("routes.{name}");
        config = config
            .set(&policy, "component", json!(project.tested().component))
            // Other tests run on the same processor.
            .set(&policy, "timeout", json!("5s"))
            .set(&format!("{policy}.config"), "tenants", json!(["t-1"]))
            .set(&route, "paths", json!([format!("/{name}/{{room}}")]))
            .set(&route, "handshake", json!("none"))
            .set(&route, "on_connect", json!(["auth", name]))
            .set(&route, "upstream", json!("mirror"));
    }
    let gateway = serve(&config);
    let of_tenant = |tenant| token::sign(&token::claims_with(json!({"tenant_id": tenant})));
    for (library, name) in [(Library::Websockets, "js"), (Library::Ws, "py")] {
        let mut client = Client::idle(library);
        let path = format!("/{name}/1?token={}", of_tenant("t-1"));
        client.open(&gateway, &path, &[]);
        client.echoes("let in");
        client.leave();
        let path = format!("/{name}/1?token={}", of_tenant("t-2"));
        client.open(&gateway, &path, &[]);
        let frame =
            client.expect_refusal_saying(4100, "tenant_unknown", "this tenant has no access");
        assert_eq!(frame["retryable"], false);
    }
}

#[test]
fn python_with_all_of_wasi_runs_under_its_stub_and_finds_nothing() {
    let component = with_wasi(&command::root().join("tests/guests/with_wasi.py"));
    let folder = component.parent().unwrap();
    let seen = inspection("policy.wasm", folder);
    assert_eq!(seen["not_offered"], json!([]), "{seen}");
    assert!(
        seen["wasi"]
            .as_array()
            .is_some_and(|imports| imports.len() > 20),
        "{seen}"
    );
    let told = succeeds(&["inspect", "policy.wasm"], folder);
    assert!(told.contains("wasi     wasi = \"stub\""), "{told}");

    let config = Config::ingest()
        .set("policies.looks", "component", json!(component))
        .set("policies.looks", "timeout", json!("5s"))
        // Other tests run on the same processor.
        .set("policies.looks", "compile_time", json!("10min"))
        .set("routes.ingest", "on_connect", json!(["auth", "looks"]));
    let file = folder.join("sluice.toml");
    std::fs::write(&file, config.to_string()).unwrap();
    let done = run(command::sluice(&["check", "--config"]).arg(&file), folder);
    assert_eq!(done.status, Some(1), "{done:?}");
    // Wherever its lines are broken.
    let report = done.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for said in ["\"looks\" imports wasi:", "more of WASI", "wasi = \"stub\""] {
        assert!(report.contains(said), "{said}: {done:?}");
    }
    let gateway = serve(&config.set("policies.looks", "wasi", json!("stub")));
    let path = meeting("wasi", "mic", &token::good());
    let mut client = Client::connect(Library::Ws, &gateway, &path);
    client.handshake();
    client.expect_ack();
    client.finalize(0, 0);
}

#[test]
fn a_tool_that_is_not_installed_is_named_with_what_to_do() {
    let place = place("uninstalled");
    for (language, told) in [
        ("js", "npm install"),
        ("python", "pip install -r requirements.txt"),
    ] {
        succeeds(&["new", language, "--lang", language], &place);
        let mut build = command::sluice(&["policy", "build", language]);
        let done = run(build.env("PATH", "/nowhere"), &place);
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(done.stderr.contains(told), "{done:?}");
    }
}

/// The configuration and the cases of a test of the built-in policies: there
/// is nothing to compile.
fn trial(test: &str, cases: &str) -> PathBuf {
    let place = place(test);
    std::fs::write(place.join("sluice.toml"), Config::ingest().to_string()).unwrap();
    std::fs::write(place.join("cases.toml"), cases).unwrap();
    place
}

#[test]
fn a_case_is_decided_by_the_real_policy_in_a_world_that_it_describes() {
    let place = trial(
        "cases",
        r#"
        [[case]]
        name = "a good token"
        token = { user_id = "u", tenant_id = "t", email = "e" }
        expect = { attributes = { "auth.user_id" = "u", "auth.tenant_id" = "t" } }

        [[case]]
        name = "a token that ran out an hour ago"
        clock = "2026-01-05T12:00:00Z"
        token = { user_id = "u", tenant_id = "t", exp = 1767610800 }
        expect = { reject = "auth_failed", close_code = 4001, message = "auth failed: token expired" }

        [[case]]
        name = "for somebody else"
        token = { user_id = "u", tenant_id = "t", aud = "others" }
        expect = { reject = "auth_failed", message = "auth failed: wrong audience" }

        [[case]]
        name = "keys that cannot be had"
        token = "unavailable"
        expect = { reject = "auth_unavailable" }

        [[case]]
        name = "no token"
        expect = { reject = "auth_failed", message = "auth failed: no token" }

        [[case]]
        name = "no key set"
        config = { key_set = 7 }
        expect = { config_error = "key_set" }
        "#,
    );
    let told = succeeds(&["test", "cases.toml", "--policy", "auth"], &place);
    assert!(told.contains("6 passed, 0 failed"), "{told}");
}

#[test]
fn claims_and_evictions_happen_in_the_case_s_own_world() {
    let place = trial(
        "claims",
        r#"
        [[case]]
        name = "free"
        path = "/ws/ingest/meetings/m1?source=mic"
        attributes = { "auth.tenant_id" = "t" }
        expect = { holds = ['["t","m1","mic"]'] }

        [[case]]
        name = "taken"
        path = "/ws/ingest/meetings/m1?source=mic"
        attributes = { "auth.tenant_id" = "t" }
        sessions = [{ key = '["t","m1","mic"]', session_id = "first" }]
        expect = { reject = "ingest_exists", close_code = 4002 }

        [[case]]
        name = "taken over"
        path = "/ws/ingest/meetings/m1?source=mic"
        attributes = { "auth.tenant_id" = "t" }
        config = { mode = "takeover" }
        sessions = [{ key = '["t","m1","mic"]', session_id = "first" }]
        expect = { evicts = ["first"], holds = ['["t","m1","mic"]'] }
        "#,
    );
    let told = succeeds(&["test", "cases.toml", "--policy", "duplicate"], &place);
    assert!(told.contains("3 passed, 0 failed"), "{told}");
}

#[test]
fn a_case_that_fails_is_told_with_what_was_instead() {
    let place = trial(
        "failing",
        "[[case]]\nname = \"nobody\"\nexpect = \"accept\"\n",
    );
    let done = policy(&["test", "cases.toml", "--policy", "auth"], &place);
    assert_eq!(done.status, Some(1), "{done:?}");
    for told in [
        "FAIL  nobody",
        "expected accept",
        "but was  reject auth_failed (4001)",
        "0 passed, 1 failed",
    ] {
        assert!(done.stdout.contains(told), "{told}: {done:?}");
    }
    let ran = succeeds(&["run", "cases.toml", "--policy", "auth"], &place);
    for told in ["verdict  reject auth_failed (4001)", "on-connect ", "fuel "] {
        assert!(ran.contains(told), "{told}: {ran}");
    }
    let bench = succeeds(
        &["bench", "cases.toml", "--policy", "auth", "--for", "10ms"],
        &place,
    );
    assert!(bench.contains("median"), "{bench}");
}

#[test]
fn all_mistakes_of_a_file_of_cases_are_reported_together_each_with_its_place() {
    let place = trial(
        "mistaken",
        "[[case]]\nname = 7\nexpct = \"accept\"\n\n[[case]]\nname = \"n\"\nexpect = { reject = 4001 }\n",
    );
    for command in ["test", "run"] {
        let done = policy(&[command, "cases.toml", "--policy", "auth"], &place);
        assert_eq!(done.status, Some(1), "{done:?}");
        for told in [
            "[cases.toml:2:8]",
            "`name` is text, not a number",
            "[cases.toml:3:1]",
            "did you mean `expect`?",
            "[cases.toml:7:21]",
            "`reject` is text, not a number",
            "4 mistakes in the file of cases",
        ] {
            assert!(done.stderr.contains(told), "{told}: {}", done.stderr);
        }
    }
}

#[test]
fn a_candidate_is_shown_with_what_it_leaves_under_the_name_of_the_other() {
    let place = trial(
        "candidate",
        "[[case]]\nname = \"n\"\ntoken = { user_id = \"u\", tenant_id = \"t\" }\nexpect = \"accept\"\n",
    );
    let config = Config::ingest()
        .set("policies.auth-next", "component", json!("builtin:auth"))
        .set("policies.auth-next", "grants", json!(["jwt"]))
        .set("policies.auth-next", "shadow_of", json!("auth"))
        .set("policies.auth-next.config", "key_set", json!("main"));
    std::fs::write(place.join("sluice.toml"), config.to_string()).unwrap();
    let ran = succeeds(&["run", "cases.toml", "--policy", "auth-next"], &place);
    assert!(ran.contains("leaves   auth.user_id = \"u\""), "{ran}");
}

#[test]
fn a_mistake_in_the_sources_is_told_in_the_compilers_words() {
    let place = place("broken");
    succeeds(&["new", "mine"], &place);
    let source = place.join("mine/src/lib.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, text.replace("Ok(()),", "Ok(42),")).unwrap();
    let done = policy(&["build", "mine"], &place);
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(done.stderr.contains("mismatched types"), "{done:?}");
    assert!(done.stderr.contains("`mine` does not build"), "{done:?}");
    assert!(!place.join("mine/build/mine.wasm").exists());
}

#[test]
fn what_is_no_project_and_no_component_is_told_apart() {
    let place = place("nothing");
    let done = policy(&["build"], &place);
    assert_eq!(done.status, Some(1));
    assert!(
        done.stderr.contains("Cargo.toml") && done.stderr.contains("sluice policy new"),
        "{done:?}"
    );

    std::fs::write(place.join("a.wasm"), "not wasm").unwrap();
    let done = policy(&["inspect", "a.wasm"], &place);
    assert_eq!(done.status, Some(1));
    assert!(
        done.stderr.contains("not a WebAssembly component"),
        "{done:?}"
    );

    std::fs::write(place.join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let done = policy(&["inspect", "core.wasm"], &place);
    assert!(done.stderr.contains("core WebAssembly module"), "{done:?}");

    let done = policy(&["inspect", "absent.wasm"], &place);
    assert!(done.stderr.contains("absent.wasm"), "{done:?}");
}
