//! Policies that have a service asked before they decide.

use std::path::Path;

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::collector::free_address;
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::guest::{example, with_policy};
use sluice_tests::raw::{Raw, upgrade_request};
use sluice_tests::service::{Reply, Service};
use sluice_tests::{eventually, token};

const MAY: &str = r#"{"stream": true, "plan": "gold"}"#;
const MAY_NOT: &str = r#"{"stream": false}"#;
const HEADERS: [(&str, &[u8]); 1] = [("headers", b"Authorization: Bearer swordfish-7\n")];

/// A route with the example that has a service asked at this address.
fn asking(url: &str) -> Config {
    let example = example("entitlements");
    with_policy(
        Config::ingest(),
        "entitlements",
        &example,
        &["destinations"],
    )
    .set("server", "admin_listen", json!("127.0.0.1:0"))
    .set("decisions", "file", json!("decisions.jsonl"))
    .set("destinations.entitlements", "url", json!(url))
    .set("destinations.entitlements", "timeout", json!("500s"))
    .set("destinations.entitlements", "max_waiting", json!(2000))
    .set(
        "policies.entitlements",
        "destinations",
        json!(["entitlements"]),
    )
    .set("policies.entitlements", "timeout", json!("2s"))
    .set(
        "policies.entitlements.config",
        "service",
        json!("entitlements"),
    )
    .set(
        "routes.ingest",
        "on_connect",
        json!(["auth", "entitlements"]),
    )
    .limit("admission_timeout", "600s")
}

fn config(service: &Service) -> Config {
    asking(&service.url("/v1/users/{user}"))
}

fn connect(gateway: &Gateway, user: &str) -> Client {
    let path = meeting("m1", "mic", &token::of_user(user));
    Client::connect(Library::Ws, gateway, &path)
}

fn streams(gateway: &Gateway, user: &str) {
    let mut client = connect(gateway, user);
    client.handshake();
    client.expect_ack();
    client.finalize(0, 0);
}

fn is_told_to_try_again(gateway: &Gateway, user: &str) {
    let frame = connect(gateway, user).expect_refusal_saying(
        1013,
        "service_unavailable",
        "a service that is needed for this decision is not available at the moment",
    );
    assert_eq!(frame["retryable"], true);
    assert!(frame["retry_after_ms"].as_u64() >= Some(1000), "{frame}");
}

fn questions(gateway: &Gateway, result: &str) -> f64 {
    gateway.metric(&format!(
        "sluice_destination_questions_total{{destination=\"entitlements\",result=\"{result}\"}}"
    ))
}

fn outcomes(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!(
        "sluice_policy_decisions_total{{policy=\"entitlements\",outcome=\"{outcome}\"}}"
    ))
}

#[test]
fn the_answer_of_a_service_decides() {
    let service = Service::start();
    service
        .reply("/v1/users/ann", Reply::Answer(200, MAY.to_owned()))
        .reply("/v1/users/bob", Reply::Answer(200, MAY_NOT.to_owned()));
    let gateway = Gateway::start(&config(&service));
    streams(&gateway, "ann");
    connect(&gateway, "bob").expect_refusal_saying(4140, "not_entitled", "you may not stream");
    connect(&gateway, "eve").expect_refusal(4140, "not_entitled");
    assert_eq!(
        service.asked(),
        [
            "GET /v1/users/ann - ",
            "GET /v1/users/bob - ",
            "GET /v1/users/eve - ",
        ]
    );
    assert_eq!(questions(&gateway, "service"), 3.0);
}

#[test]
fn a_service_without_a_good_answer_refuses_and_is_not_the_policys_fault() {
    let service = Service::start();
    service
        .reply("/v1/users/failing", Reply::Answer(500, MAY.to_owned()))
        .reply("/v1/users/large", Reply::Bytes(5 << 20))
        .reply("/v1/users/away", Reply::Redirect)
        .reply("/v1/users/somebody", Reply::Answer(200, MAY.to_owned()))
        .reply("/v1/users/slow", Reply::Late(200, MAY.to_owned()));
    let config = config(&service)
        .set("destinations.entitlements", "timeout", json!("300ms"))
        .set("policies.entitlements", "quarantine_after", json!(1));
    let gateway = Gateway::start(&config);
    for (user, result) in [
        ("failing", "unavailable"),
        ("large", "too-large"),
        ("away", "unusable"),
        ("slow", "timeout"),
    ] {
        is_told_to_try_again(&gateway, user);
        assert_eq!(questions(&gateway, result), 1.0, "{user}");
    }
    assert_eq!(outcomes(&gateway, "unanswered"), 4.0);
    // With one failure it would be.
    assert_eq!(outcomes(&gateway, "quarantined"), 0.0);
    assert_eq!(service.asked().len(), 4, "no redirect was followed");
    streams(&gateway, "somebody");
}

#[test]
fn a_service_that_is_down_refuses_and_the_next_connection_after_it_is_back_is_served() {
    let address = free_address();
    let url = format!("http://{address}/v1/users/{{user}}");
    let gateway = Gateway::start(&asking(&url));
    is_told_to_try_again(&gateway, "ann");
    let log = gateway.output().find("the connection's line", |line| {
        line.contains("service_unavailable")
            .then(|| line.to_owned())
    });
    let log = log.expect("the gateway runs");
    assert!(
        log.contains("the destination entitlements gave no answer"),
        "{log}"
    );
    assert_eq!(questions(&gateway, "unavailable"), 1.0);

    let service = Service::start_at(address);
    service.reply("/v1/users/ann", Reply::Answer(200, MAY.to_owned()));
    streams(&gateway, "ann");
}

#[test]
fn a_user_who_may_no_longer_stream_is_not_let_in_by_what_the_service_said_before() {
    let service = Service::start();
    service.reply("/v1/users/ann", Reply::Answer(200, MAY.to_owned()));
    let config = config(&service).set("destinations.entitlements", "stale", json!("600s"));
    let gateway = Gateway::start(&config);
    streams(&gateway, "ann");
    service.reply("/v1/users/ann", Reply::Answer(403, String::new()));
    connect(&gateway, "ann").expect_refusal(4140, "not_entitled");
    service.reply("/v1/users/ann", Reply::Answer(503, String::new()));
    is_told_to_try_again(&gateway, "ann");
    assert_eq!(questions(&gateway, "stale"), 0.0);
}

#[test]
fn the_metric_of_a_breaker_is_about_the_destination_that_serves() {
    let address = free_address();
    let down = asking(&format!("http://{address}/v1/users/{{user}}"));
    let gateway = Gateway::start(&down);
    let open = "sluice_destination_breaker_open{destination=\"entitlements\"}";
    assert_eq!(gateway.metric(open), 0.0);
    for _ in 0..5 {
        is_told_to_try_again(&gateway, "ann");
    }
    assert_eq!(gateway.metric(open), 1.0);
    let service = Service::start();
    service.reply("/v1/users/ann", Reply::Answer(200, MAY.to_owned()));
    let url = json!(service.url("/v1/users/{user}"));
    let up = down.set("destinations.entitlements", "url", url);
    gateway.replace("sluice.toml", up.to_string());
    gateway.reloaded(2);
    assert_eq!(gateway.metric(open), 0.0);
    streams(&gateway, "ann");
}

#[test]
fn the_policy_decides_about_a_missing_answer_where_the_operator_says_so() {
    let address = free_address();
    let config = asking(&format!("http://{address}/v1/users/{{user}}")).set(
        "destinations.entitlements",
        "on_failure",
        json!("answer"),
    );
    let gateway = Gateway::start(&config);
    let frame = connect(&gateway, "ann").expect_refusal(4005, "policy_unavailable");
    assert_eq!(frame["retryable"], true);
    assert_eq!(outcomes(&gateway, "reject"), 1.0);
}

#[test]
fn a_service_that_takes_longer_than_the_admission_is_told_as_unavailable() {
    let service = Service::start();
    service.reply("/v1/users/ann", Reply::Late(200, MAY.to_owned()));
    let config = config(&service).limit("admission_timeout", "1s");
    let gateway = Gateway::start(&config);
    is_told_to_try_again(&gateway, "ann");
    assert_eq!(questions(&gateway, "timeout"), 1.0);
    assert_eq!(outcomes(&gateway, "abandoned"), 0.0);
}

#[test]
fn no_name_of_a_user_leads_to_another_path() {
    let service = Service::start();
    service
        .reply("/v1/admin", Reply::Answer(200, MAY.to_owned()))
        .reply(
            "/v1/users/..%2Fadmin%3Fx%3D",
            Reply::Answer(200, MAY_NOT.to_owned()),
        );
    let gateway = Gateway::start(&config(&service));
    for user in ["../admin?x=", "%2f", "..%2fadmin"] {
        connect(&gateway, user).expect_refusal(4140, "not_entitled");
    }
    // These are no segment of a path, however they are written.
    for user in ["..", "."] {
        let frame = connect(&gateway, user).expect_refusal(4005, "policy_denied");
        assert_eq!(frame["retryable"], false);
    }
    assert_eq!(
        service.asked(),
        [
            "GET /v1/users/..%2Fadmin%3Fx%3D - ",
            "GET /v1/users/%252f - ",
            "GET /v1/users/..%252fadmin - ",
        ]
    );
}

#[test]
fn the_operators_headers_are_sent_and_shown_nowhere() {
    let service = Service::start();
    service
        .reply("/v1/users/ann", Reply::Answer(200, MAY.to_owned()))
        .reply("/v1/users/bob", Reply::Answer(500, String::new()));
    let config = config(&service).set(
        "destinations.entitlements",
        "headers_file",
        json!("headers"),
    );
    let mut gateway = Gateway::start_with_files(&config, &HEADERS);
    streams(&gateway, "ann");
    is_told_to_try_again(&gateway, "bob");
    assert_eq!(service.asked()[0], "GET /v1/users/ann Bearer swordfish-7 ");
    for request in [
        "GET /status",
        "GET /policies",
        "GET /config",
        "GET /metrics",
        "GET /refusals",
    ] {
        let (_, answer) = gateway.admin(request);
        assert!(!answer.contains("swordfish"), "{request}: {answer}");
    }
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let log = gateway.output().text();
    assert!(!log.contains("swordfish"), "{log}");
    let record = gateway.data().join("decisions.jsonl");
    let record = std::fs::read_to_string(record).expect("a record");
    assert!(
        record.contains("\"destination\":\"entitlements\""),
        "{record}"
    );
    assert!(!record.contains("swordfish"), "{record}");
}

#[test]
fn a_thousand_who_wait_for_a_service_hold_no_instance_and_others_are_served() {
    const MANY: usize = 1000;
    let service = Service::start();
    service.reply("/v1/users/ann", Reply::Late(200, MAY.to_owned()));
    // A busy machine may take its time with a thousand newcomers.
    let patient = |config: Config, policy| {
        config
            .set(policy, "queue_timeout", json!("300s"))
            .set(policy, "max_queue", json!(2 * MANY))
    };
    let config = ["policies.auth", "policies.entitlements"]
        .into_iter()
        .fold(config(&service), patient)
        .set("routes.gated", "paths", json!(["/gated/{meeting_id}"]))
        .set("routes.gated", "handshake", json!("none"))
        .set(
            "routes.gated",
            "on_connect",
            json!(["auth", "entitlements"]),
        )
        .set("routes.gated", "upstream", json!("mirror"))
        .set("routes.gated", "admission_timeout", json!("600s"))
        .set("routes.open", "paths", json!(["/open/{meeting_id}"]))
        .set("routes.open", "handshake", json!("none"))
        .set("routes.open", "on_connect", json!(["auth"]))
        .set("routes.open", "upstream", json!("mirror"));
    let gateway = Gateway::start(&config);
    let ann = token::of_user("ann");
    let threads = gateway.metric("process_threads");
    let before = gateway.memory();
    let waiting: Vec<Raw> = (0..MANY)
        .map(|_| {
            let mut client = Raw::connect(gateway.address());
            let request = upgrade_request(&format!("/gated/m1?token={ann}"));
            client.write(request.as_bytes()).expect("it is taken");
            client
        })
        .collect();
    eventually("a thousand questions", || {
        (service.asked().len() == MANY).then_some(())
    });
    assert_eq!(gateway.metric("sluice_policy_instances"), 0.0);
    let memory = gateway.memory().saturating_sub(before);
    // An instance may have 16 MiB.
    assert!(memory < MANY as u64 * (256 << 10), "{memory} bytes more");

    let mut other = Client::connect(Library::Ws, &gateway, &format!("/open/m2?token={ann}"));
    other.echoes("still here");
    other.leave();
    let added = gateway.metric("process_threads") - threads;
    assert!(added < 32.0, "{added} threads more");
    println!("{MANY} wait: {memory} bytes of memory more, {added} threads more");

    service.release();
    let accepted = || outcomes(&gateway, "accept");
    eventually("all are let in", || {
        (accepted() == MANY as f64).then_some(())
    });
    assert_eq!(questions(&gateway, "service"), MANY as f64);
    drop(waiting);
}

#[test]
fn a_kept_answer_spares_the_service_and_those_who_ask_at_once_share_one() {
    let service = Service::start();
    service.reply("/v1/users/ann", Reply::Late(200, MAY.to_owned()));
    let config = config(&service).set("destinations.entitlements", "cache", json!("600s"));
    let gateway = Gateway::start(&config);
    let mut clients: Vec<Client> = (0..5).map(|_| connect(&gateway, "ann")).collect();
    eventually("the question", || {
        (service.asked().len() == 1).then_some(())
    });
    service.release();
    for client in &mut clients {
        client.handshake();
        client.expect_ack();
    }
    streams(&gateway, "ann");
    assert_eq!(service.asked(), ["GET /v1/users/ann - "]);
    assert_eq!(questions(&gateway, "service"), 1.0);
    assert!(questions(&gateway, "cache") >= 1.0);
    assert_eq!(
        questions(&gateway, "shared") + questions(&gateway, "cache"),
        5.0
    );
}

#[test]
fn an_old_answer_is_used_while_the_service_fails() {
    let service = Service::start();
    service.reply("/v1/users/ann", Reply::Answer(200, MAY.to_owned()));
    let config = config(&service).set("destinations.entitlements", "stale", json!("600s"));
    let gateway = Gateway::start(&config);
    streams(&gateway, "ann");
    service.reply("/v1/users/ann", Reply::Answer(503, String::new()));
    streams(&gateway, "ann");
    assert_eq!(questions(&gateway, "stale"), 1.0);
    assert_eq!(service.asked().len(), 2);
}

#[test]
fn who_waits_while_the_policy_is_swapped_is_decided_about_by_the_one_that_asked() {
    let service = Service::start();
    service
        .reply("/v1/users/ann", Reply::Late(200, MAY.to_owned()))
        .reply("/v2/users/ann", Reply::Answer(200, MAY_NOT.to_owned()));
    let first = config(&service);
    let gateway = Gateway::start(&first);
    let mut waiting = connect(&gateway, "ann");
    eventually("the question", || {
        (service.asked().len() == 1).then_some(())
    });
    let url = json!(service.url("/v2/users/{user}"));
    let second = first.set("destinations.entitlements", "url", url);
    gateway.replace("sluice.toml", second.to_string());
    gateway.reloaded(2);
    connect(&gateway, "ann").expect_refusal(4140, "not_entitled");
    service.release();
    waiting.handshake();
    waiting.expect_ack();
    waiting.finalize(0, 0);
}

#[test]
fn a_shadow_asks_too_and_no_client_waits_for_it() {
    let service = Service::start();
    service.reply("/v1/users/ann", Reply::Late(200, MAY.to_owned()));
    let config = config(&service)
        .set("policies.entitlements", "shadow", json!(true))
        .set(
            "routes.ingest",
            "on_connect",
            json!(["auth", "entitlements"]),
        );
    let gateway = Gateway::start(&config);
    streams(&gateway, "ann");
    eventually("the question", || {
        (service.asked().len() == 1).then_some(())
    });
    service.release();
    let agree = "sluice_shadow_decisions_total{policy=\"entitlements\",result=\"agree\"}";
    eventually("the shadow's answer", || {
        (gateway.metric(agree) == 1.0).then_some(())
    });
}

/// What `sluice check` says of this configuration, in a folder of its own or an earlier one's.
fn check(folder: &Path, config: &Config) -> Done {
    for (name, content) in HEADERS {
        std::fs::write(folder.join(name), content).expect("a file");
    }
    let file = folder.join("sluice.toml");
    std::fs::write(&file, config.to_string()).expect("a file");
    command::check(&file)
}

#[test]
fn a_destination_that_cannot_be_meant_is_told() {
    // One for all: the components are compiled once.
    let folder = tempfile::tempdir().expect("a folder");
    let good = || {
        asking("https://entitlements.example.com/v1/users/{user}").set(
            "destinations.entitlements",
            "timeout",
            json!("1s"),
        )
    };
    let url = |url: &str| good().set("destinations.entitlements", "url", json!(url));
    let mistakes = [
        (
            url("https://a.example/v1/users/x-{user}"),
            "\"x-{user}\" is not a whole segment",
        ),
        (
            url("https://{user}.a.example/v1"),
            "a parameter outside of its path",
        ),
        (
            url("https://me:hush@a.example/v1/{user}"),
            "it has a user name",
        ),
        (
            url("http://a.example/{user}").set(
                "destinations.entitlements",
                "headers_file",
                json!("headers"),
            ),
            "would be sent without TLS",
        ),
        (
            good().set("policies.entitlements", "grants", json!([])),
            "grants = [\"destinations\"]",
        ),
        (
            good().set(
                "policies.entitlements",
                "destinations",
                json!(["entitlement"]),
            ),
            "did you mean \"entitlements\"?",
        ),
        (
            good()
                .set("destinations.other", "url", json!("https://a.example/"))
                .set("policies.entitlements", "destinations", json!(["other"])),
            "may not ask the destination \"entitlements\"",
        ),
        (
            good().set("destinations.entitlements", "max_response", json!("2MiB")),
            "`max_response` is larger than 1MiB",
        ),
    ];
    let report = |done: &Done| done.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for (config, told) in mistakes {
        let done = check(folder.path(), &config);
        assert_eq!(done.status, Some(1), "{told}: {done:?}");
        assert!(report(&done).contains(told), "{told}: {}", report(&done));
    }
    let warnings = [
        (
            url("http://a.example/{user}"),
            "anybody can change the answers",
        ),
        (
            good().set("destinations.other", "url", json!("https://a.example/")),
            "no policy may ask the destination `other`",
        ),
        (
            good().set("destinations.entitlements", "timeout", json!("700s")),
            "may take 11m 40s, and an admission of the route `ingest` 10m",
        ),
        (
            good().set("destinations.entitlements", "timeout", json!("599s")),
            "all, with 2s for the policy `entitlements`",
        ),
        (
            good().set("destinations.entitlements", "cache_entries", json!(5)),
            "no answer is kept",
        ),
    ];
    for (config, told) in warnings {
        let done = check(folder.path(), &config);
        assert_eq!(done.status, Some(0), "{told}: {done:?}");
        assert!(report(&done).contains(told), "{told}: {}", report(&done));
    }
    let done = check(folder.path(), &good());
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(!done.stderr.contains("destination"), "{done:?}");
}

fn lines(record: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(record).expect("a record");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn what_a_service_said_is_recorded_and_replayed_without_it_and_becomes_a_case() {
    let service = Service::start();
    service
        .reply("/v1/users/ann", Reply::Answer(200, MAY.to_owned()))
        .reply("/v1/users/bob", Reply::Answer(200, MAY_NOT.to_owned()));
    let config = config(&service);
    let mut gateway = Gateway::start(&config);
    streams(&gateway, "ann");
    let frame = connect(&gateway, "bob").expect_refusal(4140, "not_entitled");
    let session = frame["session_id"].as_str().expect("an id").to_owned();
    gateway.connection_log(&session);
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let record = gateway.data().join("decisions.jsonl");
    let line = lines(&record)
        .into_iter()
        .find(|line| line["policy"] == "entitlements" && line["session"] == session.as_str())
        .expect("a line");
    assert_eq!(
        line["calls"],
        json!([{
            "call": "destinations", "destination": "entitlements", "params": [["user", "bob"]],
            "query": [], "answer": {"ok": {"status": 200, "body": MAY_NOT, "age_ms": 0}},
        }])
    );

    // Nothing answers any more.
    drop(service);
    let folder = gateway.folder();
    let file = folder.join("replay.toml");
    std::fs::write(&file, config.to_string()).expect("a file");
    let policy = |args: &[&str]| {
        let mut policy = command::sluice(&["policy"]);
        command::run(policy.args(args).current_dir(folder))
    };
    let record = record.to_str().expect("a path of text");
    let of_policy = ["--config", "replay.toml", "--policy", "entitlements"];
    let done = policy(&[&["replay", record], &of_policy[..]].concat());
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(
        done.stdout.contains("2 again: 2 the same, 0 different"),
        "{done:?}"
    );

    let case = policy(&[
        "case",
        record,
        "--session",
        &session,
        "--policy",
        "entitlements",
    ]);
    let answer = r#"answers = [{ "body" = "{\"stream\": false}", "destination" = "entitlements""#;
    assert!(case.stdout.contains(answer), "{case:?}");
    std::fs::write(folder.join("cases.toml"), &case.stdout).expect("a file");
    let done = policy(&[&["test", "cases.toml"], &of_policy[..]].concat());
    assert_eq!(done.status, Some(0), "{done:?}");

    // A question that the case does not answer fails it, and says what to add.
    let without: Vec<&str> = case
        .stdout
        .lines()
        .filter(|line| !line.starts_with("answers"))
        .collect();
    std::fs::write(folder.join("cases.toml"), without.join("\n")).expect("a file");
    let done = policy(&[&["test", "cases.toml"], &of_policy[..]].concat());
    assert_eq!(done.status, Some(1), "{done:?}");
    let told = "the case has no answer to a request of `prepare`: add answers = [{ destination = \
                \"entitlements\", params = { user = \"bob\" }";
    assert!(done.stdout.contains(told), "{done:?}");
    let done = policy(&[&["run", "cases.toml"], &of_policy[..]].concat());
    assert_eq!(done.status, Some(2), "{done:?}");
    assert!(done.stdout.contains("the case has no answer"), "{done:?}");
}

#[test]
fn what_an_answer_calls_a_secret_is_withheld_and_its_replay_is_undecided() {
    let service = Service::start();
    let body = r#"{"stream": true, "token": "hush-hush-hush"}"#;
    service.reply("/v1/users/ann", Reply::Answer(200, body.to_owned()));
    let config = config(&service);
    let mut gateway = Gateway::start(&config);
    streams(&gateway, "ann");
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let record = gateway.data().join("decisions.jsonl");
    let text = std::fs::read_to_string(&record).expect("a record");
    assert!(
        text.contains("entitlements") && !text.contains("hush-hush"),
        "{text}"
    );
    let folder = gateway.folder();
    std::fs::write(folder.join("replay.toml"), config.to_string()).expect("a file");
    let mut replay = command::sluice(&["policy", "replay"]);
    replay
        .arg(&record)
        .args(["--config", "replay.toml", "--policy", "entitlements"])
        .current_dir(folder);
    let done = command::run(&mut replay);
    assert!(done.stdout.contains("undecided   1"), "{done:?}");
    assert!(done.stdout.contains("what is withheld"), "{done:?}");
}

#[test]
fn the_cases_of_the_example_pass() {
    let project = command::root().join("plugins/examples/entitlements");
    let folder = tempfile::tempdir().expect("a folder");
    let build = folder.path().join("build");
    std::fs::create_dir(&build).expect("a folder");
    let component = build.join("sluice-example-entitlements.wasm");
    std::fs::copy(example("entitlements"), component).expect("the component");
    for file in ["sluice.toml", "tests/decisions.toml"] {
        let name = Path::new(file).file_name().expect("a name");
        std::fs::copy(project.join(file), folder.path().join(name)).expect("a file");
    }
    let mut test = command::sluice(&["policy", "test", "decisions.toml"]);
    test.args(["--policy", "entitlements", "--strict"])
        .current_dir(folder.path());
    let done = command::run(&mut test);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(done.stdout.contains("5 passed, 0 failed"), "{done:?}");
}
