//! A crash of a policy names what the guest said: to its author, and to the operator. Clients are
//! told nothing of it.

use std::path::Path;

use serde_json::json;
use sluice_tests::client::{Client, Library};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::project::{Project, Tested, edit, place, policy, serve, succeeds};
use sluice_tests::token;

/// Cases of these tenants, each of which should be accepted.
fn cases(tenants: &[&str]) -> String {
    let case = |tenant: &&str| {
        format!(
            "[[case]]\nname = \"{tenant}\"\nattributes = {{ \"auth.tenant_id\" = \"{tenant}\" }}\n\
             expect = \"accept\"\n"
        )
    };
    tenants.iter().map(case).collect()
}

/// The configuration with a route of its own for a policy.
fn with_route(config: Config, name: &str, component: &Path) -> Config {
    let policy = format!("policies.{name}");
    let route = format!("routes.{name}");
    config
        .set(&policy, "component", json!(component))
        // Other tests run on the same processor.
        .set(&policy, "timeout", json!("5s"))
        .set(&format!("{policy}.config"), "tenants", json!(["dev"]))
        .set(&route, "paths", json!([format!("/{name}/{{room}}")]))
        .set(&route, "handshake", json!("none"))
        .set(&route, "on_connect", json!(["auth", name]))
        .set(&route, "upstream", json!("mirror"))
}

/// The crash is in the gateway's log, and no word of it in the refusal.
fn tells_the_operator_alone(gateway: &Gateway, name: &str, said: &str) {
    let of_crash = token::sign(&token::claims_with(json!({"tenant_id": "crash"})));
    let mut client = Client::idle(Library::Ws);
    client.open(gateway, &format!("/{name}/1?token={of_crash}"), &[]);
    let sentence = format!("policy {name} failed");
    let frame = client.expect_refusal_saying(4007, "policy_failed", &sentence);
    assert!(!frame.to_string().contains("no rule"), "{frame}");
    let session = frame["session_id"].as_str().expect("an id");
    // Not what the guest itself has logged, which knows nothing of the trap that followed.
    let entry = gateway.connection_log(session);
    let detail = entry["detail"].as_str().expect("why it failed");
    assert!(
        detail.contains(said) && detail.contains("wasm trap"),
        "{entry}"
    );
}

/// Calls that a policy breaks at, by their tenants, with what it says.
type Crashes<'a> = &'a [(&'a str, &'a str)];

/// `sluice policy test` says what the guest said of each case that it breaks at.
fn tells_the_author(project: &Path, crashes: Crashes) {
    let tenants: Vec<_> = crashes.iter().map(|(tenant, _)| *tenant).collect();
    let all = cases(&[&tenants[..], &["dev"]].concat());
    std::fs::write(project.join("crash.toml"), all).unwrap();
    let done = policy(&["test", "crash.toml"], project);
    assert_eq!(done.status, Some(1), "{done:?}");
    let counted = format!("1 passed, {} failed", crashes.len());
    assert!(done.stdout.contains(&counted), "{done:?}");
    for (tenant, said) in crashes {
        let of_case = done
            .stdout
            .split("  FAIL  ")
            .skip(1)
            .find(|of| of.starts_with(tenant));
        assert!(
            of_case.is_some_and(|of| of.contains(said)),
            "{tenant}: {said}: {done:?}"
        );
    }
}

#[test]
fn a_panic_in_rust_is_told_to_the_author_and_in_the_log() {
    let place = place("crash-rust");
    succeeds(&["new", "mine"], &place);
    let project = place.join("mine");
    edit(
        &project.join("src/lib.rs"),
        "    match tenant {",
        "    match tenant {
        Some(\"crash\") => panic!(\"no rule for {tenant:?}\"),
        Some(\"deep\") => Err(Rejection::new(\"deep\", dig(0).to_string())),
        Some(\"slow\") => loop {
            std::hint::black_box(0);
        },",
    );
    edit(
        &project.join("src/lib.rs"),
        "fn admit(",
        "#[inline(never)]
#[expect(unconditional_recursion)]
fn dig(depth: u64) -> u64 {
    let below = std::hint::black_box([depth; 64]);
    dig(below[7] + 1) + below[3]
}

fn admit(",
    );
    let said = "no rule for Some(\"crash\")";
    tells_the_author(&project, &[("crash", said)]);

    // Whoever asks for one case can tell that it broke from what it says, and from its status.
    let done = policy(&["run", "crash.toml", "--case", "crash"], &project);
    assert_eq!(done.status, Some(2), "{done:?}");
    let verdict = done.stdout.lines().find(|line| line.starts_with("verdict"));
    let verdict = verdict.expect("a verdict");
    assert!(
        verdict.contains(said) && verdict.contains("src/lib.rs:"),
        "{verdict}"
    );
    succeeds(&["run", "crash.toml", "--case", "dev"], &project);
    // A trap without a panic names the function that it was in, and a limit its option.
    std::fs::write(project.join("more.toml"), cases(&["deep", "slow"])).unwrap();
    let done = policy(&["test", "more.toml"], &project);
    for told in [
        "in policy_mine::dig (",
        "exceeded its limit of time (timeout = \"50ms\")",
        "that limit is in [policies.mine]",
    ] {
        assert!(done.stdout.contains(told), "{told}: {done:?}");
    }

    let component = project.join("build/mine.wasm");
    let gateway = serve(&with_route(Config::ingest(), "rust", &component));
    tells_the_operator_alone(&gateway, "rust", said);
}

#[test]
fn an_exception_in_javascript_or_python_is_told_to_the_author_and_in_the_log() {
    let no_decision = ("seven", "the policy answered 7: answer");
    let crashes: [(_, _, Crashes); 2] = [
        (
            "js",
            Project::ThrowingJavaScript,
            &[
                (
                    "crash",
                    "TypeError: no rule for crash (at admit@src/rule.js:14:",
                ),
                no_decision,
            ],
        ),
        (
            "py",
            Project::RaisingPython,
            &[
                ("crash", "KeyError: 'no rule for crash' (at src/rule.py:16)"),
                no_decision,
                ("exit", "SystemExit: enough (at src/rule.py:"),
                // What it has printed is in its log.
                ("printer", "log: info looked printer"),
            ],
        ),
    ];
    let mut config = Config::ingest();
    for (name, project, crashes) in crashes {
        let Tested {
            folder, component, ..
        } = project.tested();
        tells_the_author(folder, crashes);
        config = with_route(config, name, component);
    }
    let gateway = serve(&config);
    for (name, _, crashes) in crashes {
        tells_the_operator_alone(&gateway, name, crashes[0].1);
    }
}
