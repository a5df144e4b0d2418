//! Options of policies that nobody may see, and options for one tenant.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::{eventually, token};

const GUEST: &str = include_str!("../../guests/option.wat");
const KEY: &str = "swordfish-77";
const OTHER_KEY: &str = "xylophone-88";

fn guest() -> Vec<u8> {
    wat::parse_str(GUEST).expect("a component")
}

/// A route with the policy that shows its option.
fn asking() -> Config {
    Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("policies.option", "component", json!("guest.wasm"))
        .set("policies.option", "timeout", json!("2s"))
        .set("routes.ingest", "on_connect", json!(["auth", "option"]))
}

fn with_file() -> Config {
    asking().set("policies.option.config_files", "shown", json!("key"))
}

fn start(config: &Config, files: &[(&str, &[u8])]) -> Gateway {
    let guest = guest();
    let files = [&[("guest.wasm", guest.as_slice())], files].concat();
    Gateway::start_with_files(config, &files)
}

fn connect(gateway: &Gateway, tenant: &str) -> Client {
    let token = token::sign(&token::claims_with(json!({"tenant_id": tenant})));
    Client::connect(Library::Ws, gateway, &meeting(tenant, "mic", &token))
}

/// What `sluice check` says of this configuration.
fn check(config: &Config, files: &[(&str, &str)], variables: &[(&str, &str)]) -> Done {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).expect("a file");
        file
    };
    write("guest.wasm", &guest());
    for (name, content) in files {
        write(name, content.as_bytes());
    }
    let file = write("sluice.toml", config.to_string().as_bytes());
    let mut check = command::sluice(&["check", "--config"]);
    command::run(check.arg(file).envs(variables.iter().copied()))
}

#[track_caller]
fn refused(done: &Done, told: &[&str]) {
    assert_eq!(done.status, Some(1), "{done:?}");
    let report = done.stderr.split_whitespace().filter(|word| *word != "|");
    let report = report.collect::<Vec<_>>().join(" ");
    for told in told {
        assert!(report.contains(told), "{told}: {report}");
    }
}

#[test]
fn a_secret_option_reaches_its_policy_and_is_shown_to_nobody() {
    let mut gateway = start(&with_file(), &[("key", b"  swordfish-77\n")]);
    let hidden = "\"[withheld]\"";
    let frame = connect(&gateway, "acme").expect_refusal_saying(4125, "shown", hidden);
    let session = frame["session_id"].as_str().expect("an id").to_owned();
    gateway.connection_log(&session);

    // The policy gets another one as soon as the file has it.
    gateway.replace("key", OTHER_KEY);
    gateway.reloaded(2);
    connect(&gateway, "acme").expect_refusal(4007, "policy_failed");
    let mut shown = String::new();
    for page in [
        "/status",
        "/policies",
        "/generations",
        "/refusals",
        "/metrics",
    ] {
        let (status, body) = gateway.admin(&format!("GET {page}"));
        assert_eq!(status, 200, "{page}: {body}");
        shown += &body;
    }
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let record = gateway.data().join("decisions.jsonl");
    shown += &std::fs::read_to_string(&record).expect("a record");
    shown += &gateway.output().text();
    assert!(shown.contains("trapped: \\\"[withheld]"), "{shown}");

    let folder = gateway.folder();
    let file = folder.join("replay.toml");
    std::fs::write(&file, with_file().to_string()).expect("a file");
    let of_option = ["--config", "replay.toml", "--policy", "option"];
    let policy = |args: &[&str]| {
        let mut policy = command::sluice(&["policy"]);
        command::run(policy.args(args).current_dir(folder))
    };
    let record = record.to_str().expect("a path of text");
    std::fs::write(folder.join("key"), KEY).expect("a file");
    let replay = [&["replay", record], &of_option[..]].concat();
    let done = policy(&replay);
    assert_eq!(done.status, Some(0), "{done:?}");
    let needs = "needs       `shown` as it was then: the file key has the value of now";
    assert!(done.stdout.contains(needs), "{done:?}");
    let case = ["case", record, "--session", &session, "--policy", "option"];
    for done in [&done, &policy(&case)] {
        shown += &done.stdout;
        shown += &done.stderr;
    }
    for secret in [KEY, OTHER_KEY, "swordfish", "xylophone"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }

    // A replay that lacks it says so, and a case can have another one.
    std::fs::remove_file(folder.join("key")).expect("a file");
    refused(
        &policy(&replay),
        &["the value of `shown` for policy \"option\" is not to be had"],
    );
    let cases = "[[case]]\nname = \"its own\"\nconfig = { shown = \"else\" }\n\
                 expect = { reject = \"shown\", message = '\"else\"' }\n";
    std::fs::write(folder.join("cases.toml"), cases).expect("a file");
    let done = policy(&[&["test", "cases.toml"], &of_option[..]].concat());
    assert!(done.stdout.contains("1 passed, 0 failed"), "{done:?}");
}

#[test]
fn a_secret_option_that_cannot_be_had_is_told_with_its_name_and_without_its_value() {
    let from_variable = asking().set("policies.option.config_env", "shown", json!("OPTION_KEY"));
    let done = check(&from_variable, &[], &[("OPTION_KEY", KEY)]);
    assert_eq!(done.status, Some(0), "{done:?}");
    refused(
        &check(&from_variable, &[], &[]),
        &[
            "the value of `shown`",
            "the environment variable OPTION_KEY: it is not set",
        ],
    );
    refused(&check(&with_file(), &[], &[]), &["/key: No such file"]);
    let short = check(&with_file(), &[("key", "hush-71\n")], &[]);
    refused(&short, &["fewer than 8 bytes"]);
    assert!(!short.stderr.contains("hush"), "{short:?}");
    let twice = with_file().set("policies.option.config", "shown", json!("plain"));
    refused(
        &check(&twice, &[("key", KEY)], &[]),
        &["`shown` has two sources"],
    );
    let for_tenant = with_file().set("policies.option.tenants.acme", "shown", json!("plain"));
    refused(
        &check(&for_tenant, &[("key", KEY)], &[]),
        &[
            "`shown` is an option that nobody may see",
            "[policies.option.tenants.acme] has it in plain text",
        ],
    );
    // What a policy says of it is not shown either.
    let wrong = check(&with_file(), &[("key", "!swordfish-77")], &[]);
    refused(
        &wrong,
        &[
            "does not accept its configuration: `shown` is wrong",
            "shown = \"key\"",
        ],
    );
    assert!(!wrong.stderr.contains("swordfish"), "{wrong:?}");
}

#[test]
fn a_reload_with_a_secret_option_that_cannot_be_had_changes_nothing() {
    let gateway = start(&with_file(), &[("key", KEY.as_bytes())]);
    gateway.replace("key", "hush-71");
    eventually("a reload that is refused", || {
        (gateway.metric("sluice_reloads_total{result=\"refused\"}") >= 1.0).then_some(())
    });
    connect(&gateway, "acme").expect_refusal_saying(4125, "shown", "\"[withheld]\"");
    assert!(!gateway.output().text().contains("hush"));
}

#[test]
fn a_tenant_has_options_of_its_own() {
    let config = asking()
        .set("policies.option.config", "shown", json!("for all"))
        .set("policies.option.tenants.acme", "shown", json!("for acme"));
    let gateway = start(&config, &[]);
    for (tenant, shown) in [("acme", "\"for acme\""), ("globex", "\"for all\"")] {
        connect(&gateway, tenant).expect_refusal_saying(4125, "shown", shown);
    }
    let changed = config
        .clone()
        .set("policies.option.tenants.acme", "shown", json!("anew"));
    gateway.replace("sluice.toml", changed.to_string());
    gateway.reloaded(2);
    connect(&gateway, "acme").expect_refusal_saying(4125, "shown", "\"anew\"");
    let (_, generations) = gateway.admin("GET /generations");
    let generations: Value = serde_json::from_str(&generations).expect("JSON");
    let named = "[policies.option.tenants.acme] shown";
    assert!(generations.to_string().contains(named), "{generations}");
}

#[test]
fn options_of_a_tenant_are_checked_when_they_are_loaded() {
    let config = asking().set("policies.option.config", "shown", json!("for all"));
    let wrong = config
        .clone()
        .set("policies.option.tenants.acme", "shown", json!("!"))
        .set(r#"policies.option.tenants."the corp""#, "shown", json!("!"));
    refused(
        &check(&wrong, &[], &[]),
        &[
            "does not accept its configuration for the tenant \"acme\": `shown` is wrong",
            "[policies.option.tenants.acme]",
            "does not accept its configuration for the tenant \"the corp\": `shown` is wrong",
            "[policies.option.tenants.\"the corp\"]",
        ],
    );
    let too_early = config
        .set("policies.option.tenants.acme", "shown", json!("for acme"))
        .set("routes.ingest", "on_connect", json!(["option", "auth"]));
    refused(
        &check(&too_early, &[], &[]),
        &[
            "[policies.option] has values for tenants, and in [routes.ingest] nobody knows the tenant",
        ],
    );
}
