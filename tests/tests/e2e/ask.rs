//! The commands that ask a running gateway: `sluice sessions`, `sluice status`, `sluice why`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header};
use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command::{self, Done};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::{eventually, token};

fn watched(config: Config) -> Gateway {
    Gateway::start(&config.set("server", "admin_listen", json!("127.0.0.1:0")))
}

/// Runs a command that asks this gateway.
fn ask(gateway: &Gateway, args: &[&str]) -> Done {
    let address = gateway.admin_address().to_string();
    command::run(command::sluice(args).args(["--admin", &address]))
}

fn answer(gateway: &Gateway, args: &[&str]) -> String {
    let done = ask(gateway, args);
    assert_eq!((done.status, &*done.stderr), (Some(0), ""), "{done:?}");
    done.stdout
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn get(gateway: &Gateway, path: &str) -> Value {
    let (status, body) = gateway.admin(&format!("GET {path}"));
    assert_eq!(status, 200, "{path}: {body}");
    parsed(&body)
}

/// Without what passes.
fn timeless(mut answer: Value) -> Value {
    for field in ["uptime_ms", "age_ms"] {
        answer.as_object_mut().expect("an object").remove(field);
    }
    for session in answer["sessions"].as_array_mut().into_iter().flatten() {
        *session = timeless(session.take());
    }
    answer
}

/// A client that is refused, with its error frame once the gateway has kept the refusal.
fn refused(gateway: &Gateway, name: &str, token: &str, code: u16, word: &str) -> Value {
    let path = meeting(name, "mic", token);
    let frame = Client::connect(Library::Ws, gateway, &path).expect_refusal(code, word);
    let session = frame["session_id"].as_str().unwrap();
    eventually("the refusal is kept", || {
        let kept = get(gateway, &format!("/refusals?session={session}"));
        (kept["refusals"].as_array().unwrap().len() == 1).then_some(())
    });
    frame
}

fn id(frame: &Value) -> &str {
    frame["session_id"].as_str().unwrap()
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn commands_and_answers_and_metrics_show_the_same_figures() {
    let gateway = watched(Config::ingest());
    let (_one, first) = Client::stream_of(&gateway, "m1", "u-1");
    let (_two, second) = Client::stream_of(&gateway, "m2", "u-2");
    refused(&gateway, "m3", "nonsense", 4001, "auth_failed");
    eventually("two streams and no other connection", || {
        let expected = json!({"live": 2, "streaming": 2, "parked": 0});
        (get(&gateway, "/status")["connections"] == expected).then_some(())
    });
    let live = gateway.metric("sluice_connections_live");
    let told = parsed(&answer(&gateway, &["status", "--json"]));
    assert_eq!(timeless(told.clone()), timeless(get(&gateway, "/status")));
    assert_eq!(told["connections"]["live"].as_f64(), Some(live));
    let text = answer(&gateway, &["status"]);
    has(
        &text,
        &[
            "2 live, 2 of them streaming, 0 parked",
            "serving",
            "generation",
        ],
    );
    let told = parsed(&answer(&gateway, &["sessions", "--json"]));
    assert_eq!(timeless(told.clone()), timeless(get(&gateway, "/sessions")));
    assert_eq!(told["sessions"].as_array().map(Vec::len), Some(2));
    let text = answer(&gateway, &["sessions"]);
    assert_eq!(text.lines().count(), 3, "{text}");
    has(&text, &[&first, &second, "u-1", "u-2", "m1", "stream"]);
    let text = answer(
        &gateway,
        &["sessions", "--user", "u-2", "--stage", "stream"],
    );
    assert!(text.contains(&second) && !text.contains(&first), "{text}");
    let none = answer(&gateway, &["sessions", "--meeting", "m9"]);
    assert_eq!(none.trim_end(), "no sessions");
}

#[test]
fn why_tells_the_sentence_and_the_policy_by_session_and_by_user() {
    let gateway = watched(Config::ingest());
    let (_holder, holder) = Client::stream_of(&gateway, "m1", "u-1");
    let other = token::of_user("u-2");
    let held = refused(&gateway, "m1", &other, 4002, "ingest_exists");
    let digest = get(&gateway, "/policies")["policies"][1]["digest"].clone();
    let digest = digest.as_str().unwrap();
    for whom in [id(&held), "u-2"] {
        let text = answer(&gateway, &["why", whom]);
        let told = format!("\"{}\"", held["message"].as_str().unwrap());
        has(
            &text,
            &[
                id(&held),
                &told,
                "4002 ingest_exists",
                "in the stage connect",
            ],
        );
        has(
            &text,
            &[
                "duplicate reject ingest_exists",
                digest,
                "auth accept",
                "u-2",
            ],
        );
        assert!(!text.contains("unverified"), "{text}");
    }
    let claims = token::claims_with(json!({"user_id": "mallory"}));
    let forged = token::sign_with(&Header::new(Algorithm::HS256), &claims, &[7; 32]);
    let forgery = refused(&gateway, "m2", &forged, 4001, "auth_failed");
    let again = refused(&gateway, "m2", &forged, 4001, "auth_failed");
    let text = answer(&gateway, &["why", "mallory"]);
    has(
        &text,
        &[
            id(&again),
            "mallory (unverified)",
            "auth reject auth_failed",
        ],
    );
    has(&text, &[&format!("sluice why {}", id(&forgery))]);
    let json = parsed(&answer(&gateway, &["why", "mallory", "--json"]));
    assert_eq!(json["refusals"].as_array().map(Vec::len), Some(2), "{json}");
    assert_eq!(
        json["refusals"],
        get(&gateway, "/refusals?user=mallory")["refusals"]
    );
    for part in forged.split('.').skip(1).chain(other.split('.').skip(1)) {
        assert!(
            !text.contains(part) && !json.to_string().contains(part),
            "{text}"
        );
    }
    // Whoever was not refused has nothing to be told.
    let done = ask(&gateway, &["why", &holder]);
    assert_eq!(done.status, Some(1), "{done:?}");
    has(&done.stderr, &[&holder, "not refused", "stream"]);
    let done = ask(&gateway, &["why", "nobody"]);
    assert_eq!(done.status, Some(1), "{done:?}");
    has(&done.stderr, &["no refusal of nobody is known", "--record"]);
}

#[test]
fn why_shows_what_the_record_has_and_the_command_that_decides_again() {
    let config = Config::ingest().set("decisions", "file", json!("decisions.jsonl"));
    let mut gateway = watched(config);
    let (_holder, holder) = Client::stream_of(&gateway, "m1", "u-1");
    let held = refused(
        &gateway,
        "m1",
        &token::of_user("u-2"),
        4002,
        "ingest_exists",
    );
    let file = gateway.folder().join("sluice.toml");
    let file = file.to_str().unwrap();
    let record = gateway.data().join("decisions.jsonl");
    let text = eventually("the decision is recorded", || {
        let text = answer(&gateway, &["why", id(&held), "--config", file]);
        text.contains("replay ").then_some(text)
    });
    // What it saw, who held the key, and not the token.
    let told = format!("\"{}\"", held["message"].as_str().unwrap());
    has(
        &text,
        &[
            &told,
            "\"meeting_id\",\"m1\"",
            "query token",
            "sessions.claim",
            &holder,
        ],
    );
    let line = text
        .lines()
        .find_map(|line| line.split_once("sluice policy replay "));
    let (_, arguments) = line.expect("the command");
    let mut replay = command::sluice(&["policy", "replay"]);
    let done = command::run(
        replay
            .args(arguments.split(' '))
            .current_dir(gateway.folder()),
    );
    assert_eq!(done.status, Some(0), "{done:?}");
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let record = record.to_str().unwrap();
    let from_record =
        |whom: &str| command::run(&mut command::sluice(&["why", whom, "--record", record]));
    for whom in [id(&held), "u-2"] {
        let done = from_record(whom);
        assert_eq!(done.status, Some(0), "{done:?}");
        has(
            &done.stdout,
            &[
                id(&held),
                &told,
                "4002 ingest_exists",
                "duplicate",
                "sha256:",
            ],
        );
        has(
            &done.stdout,
            &["sluice policy replay", "--policy duplicate"],
        );
    }
    // A user who was let in was refused nothing.
    for whom in ["u-1", "nobody"] {
        let done = from_record(whom);
        assert_eq!(done.status, Some(1), "{done:?}");
        has(
            &done.stderr,
            &[&format!("no refusal of {whom} is known"), record],
        );
    }
}

#[test]
fn why_finds_by_its_index_what_it_finds_without_and_in_records_that_were_put_aside() {
    let config = Config::ingest()
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("decisions", "max_size", json!("12KiB"));
    let mut gateway = watched(config);
    let (_holder, _) = Client::stream_of(&gateway, "m1", "u-1");
    let users: Vec<_> = (2..22).map(|number| format!("u-{number}")).collect();
    for user in &users {
        refused(&gateway, "m1", &token::of_user(user), 4002, "ingest_exists");
    }
    gateway.signal(rustix::process::Signal::TERM);
    gateway.wait();
    let record = gateway.data().join("decisions.jsonl");
    let aside = |place: u32| gateway.data().join(format!("decisions.jsonl.{place}"));
    assert!(aside(1).exists() && aside(2).exists());
    let why = |whom: &str| {
        let mut command = command::sluice(&["why", whom, "--json", "--record"]);
        command::run(command.arg(&record))
    };
    let told: Vec<_> = users.iter().map(|user| why(user)).collect();
    let session = parsed(&told[0].stdout)["recorded"][0]["session"].clone();
    let by_session = why(session.as_str().unwrap());
    assert!(
        by_session.stdout.contains("ingest_exists"),
        "{by_session:?}"
    );
    let records: Vec<_> = (1..).map(aside).take_while(|file| file.exists()).collect();
    // What is not about them is not even read: it is no decision any more.
    let mut spoiled = 0;
    for file in records.iter().chain([&record]) {
        let text = std::fs::read_to_string(file).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        for line in lines.iter_mut().skip(1) {
            if line.contains("\"effect\":\"accepted\"") && line.contains("\"u-2\"") {
                *line = line.replacen("\"v\":1", "\"x\":1", 1);
                spoiled += 1;
            }
        }
        std::fs::write(file, lines.join("\n") + "\n").unwrap();
    }
    assert!(spoiled > 0);
    for (user, told) in users.iter().zip(&told) {
        let again = why(user);
        assert_eq!(
            (again.status, &again.stdout),
            (Some(0), &told.stdout),
            "{user}: {again:?}"
        );
    }
    // Without the index all of it is read.
    for file in records.iter().chain([&record]) {
        let index = format!("{}.index", file.display());
        std::fs::remove_file(index).unwrap();
    }
    let read = why("u-2");
    // What is no decision any more is left out, and hides nothing beside it.
    assert_eq!(
        (read.status, &read.stdout),
        (Some(0), &told[0].stdout),
        "{read:?}"
    );
    assert_eq!(why("u-9").stdout, told[7].stdout);
}

#[test]
fn top_shows_the_busiest_session_first_with_what_it_moves_a_second() {
    let gateway = watched(Config::ingest());
    let (_idle, quiet) = Client::stream_of(&gateway, "m1", "u-1");
    let (mut busy, loud) = Client::stream_of(&gateway, "m2", "u-2");
    let is_seen = AtomicBool::new(false);
    let text = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_seen.load(Ordering::Relaxed) {
                busy.send_audio(&[1; 3200]);
                // At a pace that a disk takes.
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let rate = || {
            let session = get(&gateway, &format!("/sessions/{loud}"));
            session["session"]["received_bytes_per_second"].as_u64()
        };
        let seen = catch_unwind(AssertUnwindSafe(|| {
            eventually("a rate", || rate().filter(|rate| *rate > 1024));
            answer(&gateway, &["top", "--count", "2", "--interval", "1s"])
        }));
        is_seen.store(true, Ordering::Relaxed);
        seen.expect("what is seen")
    });
    let pictures: Vec<_> = text.split("\n\n").collect();
    assert_eq!(pictures.len(), 2, "{text}");
    let rows: Vec<_> = pictures[1].lines().collect();
    has(
        rows[0],
        &["serving", "2 live, 2 of them streaming, 0 parked"],
    );
    has(rows[1], &["SESSION", "IN/S"]);
    has(rows[2], &[&loud, "u-2", "m2", "stream", "KiB"]);
    has(rows[3], &[&quiet, "u-1", "m1", "0 B"]);
    // A stream that moves nothing any more has a rate of nothing.
    eventually("silence", || {
        let session = get(&gateway, &format!("/sessions/{loud}"));
        (session["session"]["received_bytes_per_second"] == 0).then_some(())
    });
}

#[test]
fn a_gateway_that_cannot_be_asked_is_named() {
    let gateway = watched(Config::open());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = nobody.to_string();
    let file = gateway.folder().join("sluice.toml");
    let file = file.to_str().unwrap();
    let clients = gateway.address().to_string();
    for (args, said) in [
        (
            ["sessions", "--admin", &nobody],
            &["cannot be reached", &*nobody][..],
        ),
        (["status", "--admin", &clients], &[&*clients, "426"]),
        (["status", "--config", file], &["port 0", "--admin"]),
        (["status", "--config", "/nowhere.toml"], &["/nowhere.toml"]),
    ] {
        let done = command::run(&mut command::sluice(&args));
        assert_eq!((done.status, &*done.stdout), (Some(1), ""), "{done:?}");
        has(&done.stderr, said);
    }
    let done = ask(&gateway, &["sessions", "--stage", "streaming"]);
    assert_eq!(done.status, Some(1), "{done:?}");
    has(&done.stderr, &["400", "stage is one of"]);
}
