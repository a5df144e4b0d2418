//! Lists that operators change while the gateway runs, and policies look things up in.

use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::guest::{example, with_policy};
use sluice_tests::{eventually, token};

/// A route with the example that looks into lists.
fn config() -> Config {
    with_policy(Config::ingest(), "plans", &example("plans"), &["lists"])
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("lists.plans", "file", json!("plans.json"))
        .set("lists.blocked", "file", json!("blocked.txt"))
        .set("policies.plans.config", "plans", json!("plans"))
        .set("policies.plans.config", "blocked", json!("blocked"))
        .set("policies.plans.config", "allowed", json!(["gold"]))
        .set("routes.ingest", "on_connect", json!(["auth", "plans"]))
        .set("routes.ingest", "on_frames", json!(["plans"]))
        .limit("frames_window", "100ms")
}

const FILES: [(&str, &[u8]); 2] = [
    ("plans.json", b"{\"acme\": \"gold\", \"globex\": \"free\"}"),
    ("blocked.txt", b"# nobody yet\n"),
];

fn of_tenant(tenant: &str) -> String {
    token::sign(&token::claims_with(json!({"tenant_id": tenant})))
}

fn connect(gateway: &Gateway, tenant: &str) -> Client {
    let path = meeting(tenant, "mic", &of_tenant(tenant));
    Client::connect(Library::Ws, gateway, &path)
}

fn streams(gateway: &Gateway, tenant: &str) -> Client {
    let mut client = connect(gateway, tenant);
    client.handshake();
    client.expect_ack();
    client
}

/// Waits until a metric has this value.
fn waits_for(gateway: &Gateway, sample: &str, value: f64) {
    eventually(sample, || (gateway.metric(sample) == value).then_some(()));
}

#[test]
fn a_list_that_changes_counts_for_newcomers_and_for_those_who_stream() {
    let gateway = Gateway::start_with_files(&config(), &FILES);
    let mut streaming = streams(&gateway, "acme");
    connect(&gateway, "globex").expect_refusal(4130, "plan_too_small");
    let generation = gateway.metric("sluice_generation");

    gateway.replace("plans.json", r#"{"acme": "gold", "globex": "gold"}"#);
    waits_for(
        &gateway,
        "sluice_list_reads_total{list=\"plans\",result=\"read\"}",
        1.0,
    );
    streams(&gateway, "globex").finalize(0, 0);

    gateway.replace("blocked.txt", "acme\n");
    streaming.expect_refusal(4131, "tenant_blocked");
    connect(&gateway, "acme").expect_refusal(4131, "tenant_blocked");
    assert_eq!(gateway.metric("sluice_list_entries{list=\"blocked\"}"), 1.0);
    // Nothing else was loaded anew.
    assert_eq!(gateway.metric("sluice_generation"), generation);
}

#[test]
fn a_list_that_cannot_be_read_keeps_its_entries_and_is_a_mistake_of_a_reload() {
    let gateway = Gateway::start_with_files(&config(), &FILES);
    streams(&gateway, "acme").finalize(0, 0);
    gateway.replace("plans.json", "{\"acme\": ");
    let refused = "sluice_list_reads_total{list=\"plans\",result=\"refused\"}";
    waits_for(&gateway, refused, 1.0);
    streams(&gateway, "acme").finalize(0, 0);
    let (status, report) = gateway.admin("POST /reload");
    assert_eq!(status, 422, "{report}");
    assert!(report.contains("list `plans`"), "{report}");

    gateway.replace("plans.json", "{}");
    waits_for(
        &gateway,
        "sluice_list_reads_total{list=\"plans\",result=\"read\"}",
        1.0,
    );
    connect(&gateway, "acme").expect_refusal(4130, "plan_too_small");
}

#[test]
fn a_configuration_that_a_list_had_refused_is_loaded_once_the_list_is_mended() {
    let gateway = Gateway::start_with_files(&config(), &FILES);
    connect(&gateway, "globex").expect_refusal(4130, "plan_too_small");
    gateway.replace("plans.json", "{\"acme\": ");
    let refused = "sluice_list_reads_total{list=\"plans\",result=\"refused\"}";
    waits_for(&gateway, refused, 1.0);
    let generous = config().set("policies.plans.config", "allowed", json!(["gold", "free"]));
    gateway.replace("sluice.toml", generous.to_string());
    waits_for(&gateway, "sluice_reloads_total{result=\"refused\"}", 1.0);

    gateway.replace("plans.json", FILES[0].1);
    waits_for(&gateway, "sluice_generation", 2.0);
    streams(&gateway, "globex").finalize(0, 0);
}

#[test]
fn a_list_counts_even_if_the_reload_that_brought_it_is_refused() {
    let watched_by_nobody = config().set("server", "watch", json!(false));
    let gateway = Gateway::start_with_files(&watched_by_nobody, &FILES);
    let mut streaming = streams(&gateway, "acme");
    gateway.replace("blocked.txt", "acme\n");
    // Neither does it matter that the refused one has another list of that name.
    let broken = watched_by_nobody
        .clone()
        .set("lists.blocked", "file", json!("nobody.txt"));
    gateway.replace("sluice.toml", broken.to_string());
    let (status, report) = gateway.admin("POST /reload");
    assert_eq!(status, 422, "{report}");
    streaming.expect_refusal(4131, "tenant_blocked");
    let read = "sluice_list_reads_total{list=\"blocked\",result=\"read\"}";
    assert_eq!(gateway.metric(read), 1.0);

    // What serves already is not read again.
    let (status, report) = gateway.admin("POST /reload");
    assert_eq!(status, 422, "{report}");
    assert_eq!(gateway.metric(read), 1.0);
    gateway.replace("sluice.toml", watched_by_nobody.to_string());
    let (status, report) = gateway.admin("POST /reload");
    assert_eq!(status, 200, "{report}");
    assert!(!report.contains("blocked.txt"), "{report}");
    connect(&gateway, "acme").expect_refusal(4131, "tenant_blocked");
}

#[test]
fn a_list_that_becomes_a_pipe_is_told_with_its_file_and_stops_no_reload() {
    let gateway = Gateway::start_with_files(&config(), &FILES);
    let list = gateway.folder().join("blocked.txt");
    std::fs::remove_file(&list).expect("a file");
    mknodat(CWD, &list, FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
    let told = gateway.output().find("the list's error", |line| {
        line.contains("is no regular file").then(|| line.to_owned())
    });
    let told = told.expect("the gateway runs");
    for part in ["blocked.txt", "name a regular file", "earlier entries stay"] {
        assert!(told.contains(part), "{told}");
    }
    gateway.replace("blocked.txt", "acme\n");
    waits_for(&gateway, "sluice_list_entries{list=\"blocked\"}", 1.0);
    connect(&gateway, "acme").expect_refusal(4131, "tenant_blocked");
}

/// What `sluice check` says of this configuration.
fn check(config: &Config, files: &[(&str, &[u8])]) -> Done {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).expect("a file");
    }
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, config.to_string()).expect("a file");
    command::check(&file)
}

#[test]
fn a_list_that_is_not_there_not_granted_or_not_used_is_told() {
    let without_grant = config().set("policies.plans", "grants", json!([]));
    let another_name = config().set("policies.plans.config", "plans", json!("plan"));
    let no_format = config().set("lists.plans", "file", json!("plans.yaml"));
    for (config, files, told) in [
        (without_grant, &FILES[..], "grants = [\"lists\"]"),
        (another_name, &FILES, "there is no list called \"plan\""),
        (
            no_format,
            &FILES,
            "the format of \"plans.yaml\" does not show",
        ),
        (config(), &FILES[..1], "list `blocked`"),
    ] {
        let done = check(&config, files);
        assert_eq!(done.status, Some(1), "{done:?}");
        let report = done.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(report.contains(told), "{told}: {report}");
    }
    let unused = Config::ingest().set("lists.plans", "file", json!("plans.json"));
    let done = check(&unused, &FILES);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stderr.contains("none is granted"), "{done:?}");
}

fn lines(record: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(record).expect("a record");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn what_a_list_said_is_recorded_and_replayed_and_becomes_a_case() {
    let config = config();
    let mut gateway = Gateway::start_with_files(&config, &FILES);
    streams(&gateway, "acme").finalize(0, 0);
    let frame = connect(&gateway, "globex").expect_refusal(4130, "plan_too_small");
    let session = frame["session_id"].as_str().expect("an id").to_owned();
    gateway.connection_log(&session);
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let record = gateway.data().join("decisions.jsonl");
    let line = lines(&record)
        .into_iter()
        .find(|line| line["policy"] == "plans" && line["session"] == session.as_str())
        .expect("a line");
    assert_eq!(
        line["calls"],
        json!([
            {"call": "lists.contains", "list": "blocked", "entry": "globex", "answer": {"ok": false}},
            {"call": "lists.get", "list": "plans", "entry": "globex", "answer": {"ok": "free"}},
        ])
    );

    // With other lists the record still says what was there then.
    let folder = gateway.folder();
    std::fs::write(folder.join("plans.json"), "{}").expect("a file");
    let file = folder.join("replay.toml");
    std::fs::write(&file, config.to_string()).expect("a file");
    let policy = |args: &[&str]| {
        let mut policy = command::sluice(&["policy"]);
        command::run(policy.args(args).current_dir(folder))
    };
    let record = record.to_str().expect("a path of text");
    let replay = [
        "replay",
        record,
        "--config",
        "replay.toml",
        "--policy",
        "plans",
    ];
    let done = policy(&replay);
    assert_eq!(done.status, Some(0), "{done:?}");

    let case = policy(&["case", record, "--session", &session, "--policy", "plans"]);
    assert!(
        case.stdout
            .contains(r#"lists = { "blocked" = [], "plans" = { "globex" = "free" } }"#),
        "{case:?}"
    );
    std::fs::write(folder.join("cases.toml"), &case.stdout).expect("a file");
    let test = [
        "test",
        "cases.toml",
        "--config",
        "replay.toml",
        "--policy",
        "plans",
    ];
    let done = policy(&test);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stdout.contains("1 passed, 0 failed"), "{done:?}");
}

#[test]
fn a_decision_about_a_value_that_the_record_cuts_is_undecided_when_it_is_replayed() {
    let config = config();
    let plans = json!({"acme": "gold".repeat(1250)}).to_string();
    let files = [("plans.json", plans.as_bytes()), FILES[1]];
    let mut gateway = Gateway::start_with_files(&config, &files);
    let frame = connect(&gateway, "acme").expect_refusal(4130, "plan_too_small");
    let session = frame["session_id"].as_str().expect("an id").to_owned();
    gateway.connection_log(&session);
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let record = gateway.data().join("decisions.jsonl");
    let record = record.to_str().expect("a path of text");
    let folder = gateway.folder();
    let file = folder.join("replay.toml");
    std::fs::write(&file, config.to_string()).expect("a file");
    let policy = |args: &[&str]| {
        let mut policy = command::sluice(&["policy"]);
        command::run(policy.args(args).current_dir(folder))
    };
    let of_plans = ["--config", "replay.toml", "--policy", "plans"];
    let done = policy(&[&["replay", record], &of_plans[..]].concat());
    assert!(done.stdout.contains("undecided   1"), "{done:?}");
    assert!(
        done.stdout
            .contains("what is withheld: the value of \"acme\" in \"plans\""),
        "{done:?}"
    );
    let case = policy(&["case", record, "--session", &session, "--policy", "plans"]);
    assert!(
        case.stdout
            .contains("# withheld in the record: the value of \"acme\" in \"plans\""),
        "{case:?}"
    );
}
