//! Guests that mean harm, all of them in one gateway: it survives, each client
//! is told what it is to be told, and the others notice nothing.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::client::{Client, Event, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::hostile::{Expect, Hook, Hostile, all};
use sluice_tests::{command, token};

const ROUNDS: usize = 3;
/// The guest that loops before all others, and how often: more than it takes until its calls run at
/// idle priority.
const LOOPS: &str = "loop-connect";
const WARM: usize = 4;
/// Calls of one decision that are recorded, and bytes of its line.
const MOST_CALLS: usize = 128;
const LONGEST_LINE: usize = 64 << 10;
/// Lets everybody in.
const HARMLESS: &str = include_str!("../../guests/connect.wat");
/// Uses 256 KiB of memory, as policies do: what the pool keeps of each for its next call.
const ACCEPTS: &str = "(drop (memory.grow (i32.const 3))) \
    (memory.fill (i32.const 64) (i32.const 1) (i32.const 262080)) \
    (call $drop (local.get 0)) (i32.const 0)";

fn config(guests: &[&Hostile], folder: &std::path::Path) -> Config {
    let config = Config::ingest().set("decisions", "file", json!("decisions.jsonl"));
    guests.iter().fold(config, |config, guest| {
        let component = guest.write(folder);
        guest.serve(config, &component)
    })
}

/// As many guests that mean no harm: what so many policies take, once they
/// have been asked, is none of the others' doing.
fn with_harmless(config: Config, count: usize, folder: &std::path::Path) -> Config {
    let file = folder.join("harmless.wasm");
    let guest = wat::parse_str(HARMLESS.replace("BODY", ACCEPTS)).expect("a component");
    std::fs::write(&file, guest).expect("a file");
    (0..count).fold(config, |config, number| {
        let name = harmless(number);
        let route = format!("routes.{name}");
        config
            .set(&format!("policies.{name}"), "component", json!(file))
            .set(&route, "paths", json!([format!("/{name}")]))
            .set(&route, "handshake", json!("none"))
            .set(&route, "on_connect", json!([name]))
            .set(&route, "upstream", json!("mirror"))
    })
}

fn harmless(number: usize) -> String {
    format!("harmless-{number}")
}

#[test]
fn hostile_guests_harm_nobody_and_their_clients_are_told() {
    let all = all();
    let loads = |guest: &&Hostile| !matches!(guest.expect, Expect::DoesNotLoad(_));
    let guests: Vec<_> = all.iter().filter(loads).collect();
    assert!(all.len() >= 25 && guests.len() >= 25, "{}", guests.len());
    let folder = tempfile::tempdir().expect("a folder");
    let config = with_harmless(config(&guests, folder.path()), guests.len(), folder.path());
    let mut gateway = Gateway::start(&config);
    let mut neighbour = speak(&gateway, "before");
    let mut clients = [Client::idle(Library::Websockets), Client::idle(Library::Ws)];
    speak(&gateway, "warm").finalize(3200, 100);
    for (number, which) in (0..guests.len()).zip([0, 1].into_iter().cycle()) {
        let client = &mut clients[which];
        client.open(&gateway, &format!("/{}", harmless(number)), &[]);
        client.text("heard");
        assert_eq!(client.event(), Event::Text("heard".to_owned()));
        client.leave();
    }
    // This starts the worker threads for slow calls and for offenders.
    let loops = guests.iter().find(|guest| guest.name == LOOPS);
    for _ in 0..WARM {
        attack(
            &gateway,
            &mut clients[0],
            loops.expect("a guest that loops"),
        );
    }
    let calm = gateway.memory();
    let mut resident = Vec::new();
    for _ in 0..ROUNDS {
        for (guest, which) in guests.iter().zip([0, 1].into_iter().cycle()) {
            attack(&gateway, &mut clients[which], guest);
        }
        neighbour.send_audio(&[7; 6400]);
        resident.push(gateway.memory());
    }
    let bytes = 3200 + 6400 * ROUNDS;
    neighbour.finalize(bytes, bytes / 32);
    speak(&gateway, "after").finalize(3200, 100);
    let last = resident[ROUNDS - 1];
    assert!(
        last <= calm + calm / 20,
        "{calm} bytes before, then {resident:?}"
    );
    gateway.signal(Signal::TERM);
    gateway.wait();
    is_recorded_within_bounds(&gateway, &guests);
}

/// Whatever a guest did, its line is one line, bounded and printable.
fn is_recorded_within_bounds(gateway: &Gateway, guests: &[&Hostile]) {
    let record = std::fs::read(gateway.data().join("decisions.jsonl")).expect("a record");
    let printable = |byte: &u8| *byte == b'\n' || (b' '..=b'~').contains(byte);
    assert!(record.iter().all(printable), "not all of it is ASCII");
    let mut decisions: BTreeMap<String, usize> = BTreeMap::new();
    for line in record
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        assert!(line.len() <= LONGEST_LINE, "{} bytes", line.len());
        let line: Value = serde_json::from_slice(line).expect("JSON");
        let calls = line["calls"].as_array().expect("calls").len();
        assert!(calls <= MOST_CALLS, "{calls} calls");
        let policy = line["policy"].as_str().expect("a policy");
        if policy == "flood-host-calls" {
            assert_eq!(calls, MOST_CALLS);
            assert!(line["left_out"].as_u64() > Some(0), "{}", line["left_out"]);
        }
        if policy == "flood-counters" {
            assert_eq!(calls, 64);
        }
        *decisions.entry(policy.to_owned()).or_default() += 1;
    }
    for Hostile { name, hook, .. } in guests {
        let made = decisions.get(name).copied().unwrap_or_default();
        let due = ROUNDS + if name == LOOPS { WARM } else { 0 };
        // Frame policies may be asked again before their client is gone.
        let enough = made == due || (*hook == Some(Hook::Frames) && made >= ROUNDS);
        assert!(enough, "{name} decided {made} times");
    }
}

/// A client as they should be, who is let in and heard.
fn speak(gateway: &Gateway, name: &str) -> Client {
    let path = meeting(name, "mic", &token::good());
    let mut client = Client::connect(Library::Websockets, gateway, &path);
    client.handshake();
    client.expect_ack();
    client.send_audio(&[1; 3200]);
    client
}

fn attack(gateway: &Gateway, client: &mut Client, guest: &Hostile) {
    let name = &guest.name;
    client.open(gateway, &format!("/{name}"), &[]);
    if guest.hook == Some(Hook::Handshake) {
        client.handshake();
    }
    match &guest.expect {
        Expect::Admits => {
            client.text("heard");
            assert_eq!(client.event(), Event::Text("heard".to_owned()), "{name}");
            client.leave();
        }
        Expect::Refuses(code, word) => {
            let frame = client.expect_refusal(*code, word);
            let message = frame["message"].as_str().expect("a message");
            assert!(message.len() <= 1024 * 3, "{name}: {} bytes", message.len());
            assert!(
                !message.chars().any(char::is_control),
                "{name}: {message:?}"
            );
        }
        Expect::Fails(said) if guest.hook == Some(Hook::Close) => {
            client.leave();
            tells(gateway, name, "failed-open", said);
        }
        Expect::Fails(said) => {
            let told = format!("policy {name} failed");
            client.expect_refusal_saying(4007, "policy_failed", &told);
            tells(gateway, name, "failed-closed", said);
        }
        Expect::DoesNotLoad(_) => unreachable!("it is not served"),
    }
}

/// The log says what the client is not told.
fn tells(gateway: &Gateway, name: &str, outcome: &str, said: &str) {
    let route = format!("\"route\":\"{name}\"");
    let entry = gateway.output().find(said, |line| {
        let whole = line.contains("connection ended") && line.contains(&route);
        whole.then(|| line.to_owned())
    });
    let entry = entry.expect("the gateway runs");
    let outcome = format!("{name}={outcome}");
    assert!(
        entry.contains(&outcome) && entry.contains(said),
        "{outcome} and {said} are not in {entry}"
    );
}

#[test]
fn what_guests_write_to_the_log_is_bounded_and_stays_on_its_line() {
    let all = all();
    let guest = all.iter().find(|guest| guest.name == "flood-log");
    let guest = guest.expect("it floods the log");
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::start(&config(&[guest], folder.path()));
    let mut client = Client::idle(Library::Ws);
    attack(&gateway, &mut client, guest);
    tells(&gateway, &guest.name, "accept", "");
    let output = gateway.output().text();
    assert_eq!(output.matches("flood\u{fffd}").count(), 16, "{output}");
    assert!(!output.contains("\n{\"forged\""), "{output}");
}

#[test]
fn what_must_not_load_is_reported_with_file_policy_and_reason_all_at_once() {
    let all = all();
    let guests: Vec<_> = all
        .iter()
        .filter(|guest| matches!(guest.expect, Expect::DoesNotLoad(_)))
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, config(&guests, folder.path()).to_string()).expect("a file");
    let mut check = command::sluice(&["check", "--config"]);
    let done = command::run(check.arg(&file));
    assert_eq!(done.status, Some(1), "{}", done.stderr);
    // The report is folded to a width, with bars at the folds.
    let words = done.stderr.split_whitespace().filter(|word| *word != "|");
    let report = words.collect::<Vec<_>>().join(" ");
    let mistakes: Vec<_> = report.split(" x ").collect();
    for guest in guests {
        let Expect::DoesNotLoad(said) = &guest.expect else {
            unreachable!("these do not load")
        };
        let named = format!("policy \"{}\"", guest.name);
        let mistake = mistakes.iter().find(|mistake| mistake.contains(&named));
        let mistake = mistake.unwrap_or_else(|| panic!("no {named} in {report}"));
        assert!(mistake.contains(said), "no {said:?} in {mistake}");
    }
    assert!(report.contains("sluice.toml"), "{report}");
}
