//! Isolation of a policy, tested from outside: the generation that its stream was admitted under,
//! its grants, and its queue.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Event, Library};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::hostile::{Hostile, all};
use sluice_tests::raw::Raw;
use sluice_tests::{command, token};

const FRAMES: &str = include_str!("../../guests/frames.wat");
const PAYLOAD: &str = include_str!("../../guests/payload.wat");
const CREDENTIALS: &str = include_str!("../../guests/credentials.wat");

/// A route `/asked` without a handshake, whose policy is in `guest.wasm`.
fn asked(chain: &str, grants: &[&str]) -> Config {
    Config::open()
        .set("policies.guest", "component", json!("guest.wasm"))
        .set("policies.guest", "grants", json!(grants))
        // Other tests run on the same processor.
        .set("policies.guest", "timeout", json!("2s"))
        .set("routes.asked", "paths", json!(["/asked"]))
        .set("routes.asked", "handshake", json!("none"))
        .set("routes.asked", chain, json!(["guest"]))
        .set("routes.asked", "frames_window", json!("100ms"))
        .set("routes.asked", "upstream", json!("mirror"))
}

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("a component")
}

fn serve(config: &Config, guest: &str) -> Gateway {
    Gateway::start_with_files(config, &[("guest.wasm", &component(guest))])
}

fn echoes(client: &mut Client, message: &str) {
    client.text(message);
    assert_eq!(client.event(), Event::Text(message.to_owned()));
}

#[test]
fn a_live_stream_keeps_the_frame_hook_that_it_was_admitted_under() {
    let ends_with = |word, when| FRAMES.replace("WORD", word).replace("WHEN", when);
    let audio = "(i64.gt_u (call $bytes (local.get 1) (i32.const 1)) (i64.const 0))";
    let gateway = serve(&asked("on_frames", &[]), &ends_with("old", audio));
    let mut before = Client::connect(Library::Websockets, &gateway, "/asked");
    echoes(&mut before, "before");
    let always = component(&ends_with("new", "(i32.const 1)"));
    gateway.replace("guest.wasm", always);
    gateway.reloaded(2);
    let mut after = Client::connect(Library::Ws, &gateway, "/asked");
    after.expect_refusal_saying(4123, "new", "new");
    // That one was asked about a window; so was this one meanwhile, by the hook
    // that minds nothing but audio.
    echoes(&mut before, "still there");
    before.binary(&[0; 640]);
    assert!(matches!(before.event(), Event::Binary(_)));
    before.expect_refusal_saying(4123, "old", "old");
}

#[test]
fn a_payload_is_read_by_who_is_granted_it_where_it_is_kept() {
    let said = "said in confidence";
    for (kept, code, message) in [("64KiB", "read", said), ("1B", "unseen", "unseen")] {
        let config = asked("on_frames", &["payload"]);
        let config = config.set("routes.asked", "frames_payload", json!(kept));
        let gateway = serve(&config, PAYLOAD);
        let mut client = Client::connect(Library::Ws, &gateway, "/asked");
        echoes(&mut client, said);
        client.expect_refusal_saying(4124, code, message);
    }
}

#[test]
fn who_is_not_granted_payload_does_not_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name, content: &[u8]| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).expect("a file");
        file
    };
    write("guest.wasm", &component(PAYLOAD));
    let config = asked("on_frames", &["counters"]).to_string();
    let file = write("sluice.toml", config.as_bytes());
    let done = command::check(&file);
    assert_eq!(done.status, Some(1), "{}", done.stderr);
    // The report is folded to a width, with bars at the folds.
    let words = done.stderr.split_whitespace().filter(|word| *word != "|");
    let report = words.collect::<Vec<_>>().join(" ");
    for said in [
        "policy \"guest\" imports sluice:policy/payload@0.1.0, which it is not granted",
        "grants = [\"counters\", \"payload\"]",
    ] {
        assert!(report.contains(said), "no {said:?} in {report}");
    }
}

#[test]
fn credentials_are_shown_to_who_is_granted_them_and_to_nobody_else() {
    let token = token::good();
    let header = format!("Bearer {token}");
    let query = format!("/asked?token={token}");
    // The guest says what it saw, and what looks like a token reaches no client.
    let (seen_header, seen_query) = ("Bearer [withheld]", "[withheld]");
    for (grants, in_header, in_query) in [
        (
            &["credentials"][..],
            ("header", seen_header),
            ("query", seen_query),
        ),
        (&[], ("withheld", "withheld"), ("withheld", "withheld")),
    ] {
        let gateway = serve(&asked("on_connect", grants), CREDENTIALS);
        let mut client = Client::idle(Library::Websockets);
        client.open(&gateway, "/asked", &[("Authorization", &header)]);
        client.expect_refusal_saying(4125, in_header.0, in_header.1);
        client.open(&gateway, &query, &[]);
        client.expect_refusal_saying(4125, in_query.0, in_query.1);
        client.open(&gateway, "/asked", &[]);
        client.expect_refusal_saying(4125, "withheld", "withheld");
    }
}

/// One gateway with one hostile guest, whose policy is changed like this.
fn hostile(name: &str, settings: &[(&str, Value)]) -> (Hostile, Gateway) {
    let guest = all().into_iter().find(|guest| guest.name == name);
    let guest = guest.expect("a guest of that name");
    let folder = tempfile::tempdir().expect("a folder");
    let config = guest.serve(Config::open(), &guest.write(folder.path()));
    let policy = format!("policies.{name}");
    let config = settings.iter().fold(config, |config, (key, value)| {
        config.set(&policy, key, value.clone())
    });
    let gateway = Gateway::start(&config);
    (guest, gateway)
}

#[test]
fn who_finds_every_turn_taken_is_sent_away_and_the_log_says_so() {
    // At once, where there is no queue; or after a while in it.
    let at_once = [("timeout", json!("2s"))];
    let queued = [
        ("timeout", json!("2s")),
        ("max_queue", json!(1)),
        ("queue_timeout", json!("100ms")),
    ];
    for settings in [&at_once[..], &queued[..]] {
        let (_, gateway) = hostile("crowd", settings);
        let mut clients = [(); 2].map(|()| Raw::connect(gateway.address()));
        for client in &mut clients {
            client.upgrade("/crowd");
        }
        let mut told: Vec<String> = clients
            .iter_mut()
            .map(|client| {
                let frame = client.message();
                assert_eq!(frame["code"], "policy_failed", "{frame}");
                assert_eq!(frame["close_code"], 4007, "{frame}");
                assert_eq!(frame["message"], "policy crowd failed", "{frame}");
                let session = frame["session_id"].as_str().expect("an id");
                gateway.connection_log(session).to_string()
            })
            .collect();
        // The call that came first was not queued.
        told.sort_by_key(|entry| entry.contains("exceeded its limit of time"));
        let [away, looped] = &*told else {
            panic!("two clients")
        };
        assert!(
            away.contains("found no free instance slot in time"),
            "{away}"
        );
        assert!(looped.contains("exceeded its limit of time"), "{looped}");
    }
}

#[test]
fn a_call_writes_so_many_bytes_to_the_log_and_no_more() {
    let (guest, gateway) = hostile("flood-log-bytes", &[]);
    let mut client = Client::connect(Library::Ws, &gateway, &format!("/{}", guest.name));
    echoes(&mut client, "heard");
    client.close(1000, "");
    client.expect_close(1000, "");
    gateway.output().find("the end of it", |line| {
        line.contains("connection ended").then_some(())
    });
    let output = gateway.output().text();
    assert_eq!(output.matches('%').count(), 1024, "{output}");
}
