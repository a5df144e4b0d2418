//! Changes that an operator makes from the console.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::eventually;
use sluice_tests::gateway::Gateway;
use sluice_tests::page::{Page, css, label, role, saying};
use sluice_tests::token;

const TOKEN: &str = "an-operators-token-of-32-bytes-or-more";
const READER: &str = "a-token-of-32-bytes-or-more-to-read-with";

fn operated(config: Config) -> Gateway {
    let config = config
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "admin_token_file", json!("admin-token"))
        .set("server", "admin_read_token_file", json!("read-token"));
    let files: [(&str, &[u8]); 2] = [
        ("admin-token", TOKEN.as_bytes()),
        ("read-token", READER.as_bytes()),
    ];
    Gateway::start_with_files(&config, &files)
}

/// A page whose viewer has this token.
fn open(gateway: &Gateway, view: &str, token: &str) -> Page {
    let mut page = Page::open(gateway, view);
    page.fill(&label("Token"), token);
    page.press("Enter");
    page.wait(&role("button", "Forget the token"));
    page
}

/// The line of the audit with this action.
fn audited(gateway: &Gateway, action: &str) -> Value {
    let line = gateway.output().find("the audit", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        let is_it = event["target"] == "sluice::audit" && event["action"] == action;
        is_it.then_some(event)
    });
    line.expect("the gateway runs")
}

fn get(gateway: &Gateway, path: &str) -> Value {
    let (status, body) = gateway.admin(&format!("GET {path}\r\nAuthorization: Bearer {TOKEN}"));
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Presses a button, and confirms.
fn confirm(page: &mut Page, button: &str, action: &str) {
    page.click(&role("button", button));
    page.audit();
    page.click(&css(&format!("dialog button.primary:text-is('{action}')")));
    page.wait_gone(&css("dialog"));
}

#[test]
fn an_operator_drains_and_takes_newcomers_again_from_every_view() {
    let gateway = operated(Config::open());
    let mut page = open(&gateway, "sessions", TOKEN);
    page.wait(&saying(".state", "Ready"));
    // Who thinks again changes nothing.
    page.click(&role("button", "Drain"));
    page.click(&role("button", "Cancel"));
    page.wait_gone(&css("dialog"));
    assert_eq!(get(&gateway, "/status")["draining"], false);
    confirm(&mut page, "Drain", "Drain");
    page.wait(&saying(".state", "Draining"));
    let mut newcomer = Client::connect(Library::Ws, &gateway, "/echo");
    newcomer.expect_refusal(1001, "draining");
    assert_eq!(audited(&gateway, "drain")["result"], "refused");
    page.go("policies");
    page.shot("drained");
    confirm(&mut page, "Undrain", "Undrain");
    page.wait(&saying(".state", "Ready"));
    let mut newcomer = Client::connect(Library::Ws, &gateway, "/echo");
    newcomer.echoes("hello");
    newcomer.leave();
    assert_eq!(audited(&gateway, "undrain")["result"], "taken");
}

#[test]
fn an_operator_puts_a_policy_in_quarantine_and_releases_it() {
    let gateway = operated(Config::ingest());
    let mut page = open(&gateway, "policies", TOKEN);
    page.wait(&saying("tr[data-key=sample-rate] .badge", "in-use"));
    confirm(&mut page, "Quarantine sample-rate", "Quarantine");
    page.wait(&saying(
        "tr[data-key=sample-rate] .badge",
        "quarantined-by-operator",
    ));
    page.audit();
    page.shot("quarantined");
    let path = meeting("m1", "mic", &token::good());
    let mut refused = Client::connect(Library::Ws, &gateway, &path);
    refused.handshake();
    refused.expect_refusal(4007, "policy_failed");
    assert_eq!(audited(&gateway, "quarantine")["to"], "policy sample-rate");
    confirm(&mut page, "Release sample-rate", "Release");
    page.wait(&saying("tr[data-key=sample-rate] .badge", "in-use"));
    let (mut client, _) = Client::stream_of(&gateway, "m2", "u-2");
    client.finalize(0, 0);
    assert_eq!(audited(&gateway, "release")["result"], "in-use");
}

#[test]
fn an_operator_reloads_and_reads_the_report_of_a_reload_that_is_refused() {
    let config = Config::ingest().set("server", "watch", json!(false));
    let gateway = operated(config);
    let mut page = open(&gateway, "generations", TOKEN);
    confirm(&mut page, "Reload", "Reload");
    page.wait(&saying("[data-figure=generation]", "2"));
    assert_eq!(
        audited(&gateway, "reload")["result"],
        "swapped, generation 2"
    );
    gateway.replace("sluice.toml", "[routes.broken]\n");
    confirm(&mut page, "Reload", "Reload");
    page.wait(&saying(
        "main pre[role=alert]",
        "[routes.broken] has no paths",
    ));
    page.audit();
    page.shot("reload-refused");
    assert_eq!(get(&gateway, "/status")["generation"], 2);
}

#[test]
fn an_operator_revokes_a_user_and_lifts_that_again() {
    let gateway = operated(Config::ingest());
    let (mut client, id) = Client::stream_of(&gateway, "m1", "u-1");
    let mut page = open(&gateway, &format!("sessions/{id}"), TOKEN);
    page.wait(&saying("dd", "u-1"));
    page.wait(&role("button", "Revoke tenant"));
    page.shot("session-actions");
    page.click(&role("button", "Revoke user"));
    page.choose(&label("For how long"), "8");
    page.fill(
        &label("Reason, which the clients are told"),
        "a lost laptop",
    );
    page.audit();
    page.shot("revoke");
    page.click(&css("dialog button.primary"));
    client.expect_refusal_saying(4003, "ended_by_operator", "a lost laptop");
    let path = meeting("m2", "mic", &token::of_user("u-1"));
    let mut again = Client::connect(Library::Ws, &gateway, &path);
    again.expect_refusal_saying(4003, "ended_by_operator", "a lost laptop");
    let revocations = get(&gateway, "/revocations");
    assert_eq!(revocations["revocations"][0]["user"], "u-1");
    let line = audited(&gateway, "close");
    assert_eq!(
        (&line["to"], &line["reason"]),
        (&json!("user u-1"), &json!("a lost laptop"))
    );
    page.go("refusals");
    page.wait(&saying("tbody th", "user u-1"));
    page.audit();
    page.shot("revocations");
    confirm(&mut page, "Lift the revocation of user u-1", "Lift");
    page.wait_gone(&saying("tbody th", "user u-1"));
    let (mut client, _) = Client::stream_of(&gateway, "m2", "u-1");
    client.finalize(0, 0);
}

#[test]
fn who_may_only_read_sees_every_change_and_can_press_none() {
    let gateway = operated(Config::ingest());
    let (_client, id) = Client::stream_of(&gateway, "m1", "u-1");
    let mut page = open(&gateway, "sessions", READER);
    page.wait(&css("tbody tr"));
    for (view, buttons) in [
        (
            "policies".to_owned(),
            &["Quarantine auth", "Quarantine duplicate"][..],
        ),
        ("generations".to_owned(), &["Reload"]),
        (
            format!("sessions/{id}"),
            &[
                "Close session",
                "Revoke user",
                "Revoke tenant",
                "Show the record",
            ],
        ),
    ] {
        page.go(&view);
        for button in buttons.iter().chain(&["Drain"]) {
            page.wait(&role("button", button));
            let name = format!(
                "[...document.querySelectorAll('button')].find((button) =>
                (button.getAttribute('aria-label') ?? button.textContent) === '{button}')"
            );
            page.until(&format!("{name}?.disabled"));
            assert_eq!(
                page.evaluate(&format!("{name}.title")),
                "Your token may only read."
            );
        }
        page.audit();
    }
    // With the other token all of them can be pressed.
    page.click(&role("button", "Forget the token"));
    page.click(&role("button", "Operator"));
    page.fill(&label("Token"), TOKEN);
    page.press("Enter");
    page.until("[...document.querySelectorAll('main button')].every((button) => !button.disabled)");
}

#[test]
fn what_the_policies_saw_is_shown_to_an_operator_where_it_is_recorded() {
    let config = Config::ingest().set("decisions", "file", json!("decisions.jsonl"));
    let gateway = operated(config);
    let (_client, id) = Client::stream_of(&gateway, "planning", "u-1");
    let path = format!("/sessions/{id}/decisions");
    eventually("the record", || {
        let recorded = get(&gateway, &path);
        (recorded["decisions"].as_array()?.len() == 3).then_some(())
    });
    let (status, _) = gateway.admin(&format!("GET {path}\r\nAuthorization: Bearer {READER}"));
    assert_eq!(status, 403);
    let mut page = open(&gateway, &format!("sessions/{id}"), TOKEN);
    page.click(&role("button", "Show the record"));
    page.click(&saying("summary", "duplicate"));
    page.wait(&saying("details[open] pre", "planning"));
    let shown = page.text(&css("details[open]"));
    for part in ["meeting_id", "attributes", "u-1"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    for (width, height, size) in [(1280, 800, "laptop"), (390, 844, "phone")] {
        for scheme in ["light", "dark"] {
            page.look(width, height, scheme);
            page.audit();
            let too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth");
            assert_eq!(too_wide, 0, "on a {size}");
            page.shot(&format!("saw-{size}-{scheme}"));
        }
    }
    let whole = page.text(&css("body"));
    assert!(!whole.contains(&token::of_user("u-1")[..30]));
    // Where nothing is recorded, that is said.
    let gateway = operated(Config::ingest());
    let (_client, id) = Client::stream_of(&gateway, "planning", "u-1");
    let mut page = open(&gateway, &format!("sessions/{id}"), TOKEN);
    page.click(&role("button", "Show the record"));
    page.wait(&saying(".empty", "This gateway records no decisions"));
}

#[test]
fn a_part_of_a_recording_is_sent_to_whoever_asks_for_it() {
    let gateway = operated(Config::ingest());
    let (mut client, _) = Client::stream_of(&gateway, "m1", "u-1");
    let audio: Vec<u8> = (0..6400u32).map(|byte| byte.to_le_bytes()[0]).collect();
    client.audio(&audio);
    client.finalize(6400, 200);
    let recording = gateway.recording();
    let whole = std::fs::read(&recording).expect("a recording");
    let below = recording
        .strip_prefix(gateway.data().join("recordings"))
        .expect("below");
    let ask = |range: &str| {
        let mut admin = sluice_tests::raw::Raw::connect(gateway.admin_address());
        let head = format!(
            "GET /recordings/{} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n{range}\r\n",
            below.display()
        );
        admin.write(head.as_bytes()).expect("the gateway reads");
        let answer = admin.response_to_head();
        let length = answer.header("Content-Length").expect("a length");
        let length: usize = length.parse().expect("a number");
        let body = admin.bytes(length);
        (answer, body)
    };
    let (answer, body) = ask("");
    assert_eq!((answer.status, &body), (200, &whole));
    assert_eq!(answer.header("Accept-Ranges"), Some("bytes"));
    let (answer, body) = ask("Range: bytes=100-199\r\n");
    assert_eq!((answer.status, &body[..]), (206, &whole[100..200]));
    let range = format!("bytes 100-199/{}", whole.len());
    assert_eq!(answer.header("Content-Range"), Some(&*range));
    let (answer, body) = ask("Range: bytes=-10\r\n");
    assert_eq!(
        (answer.status, &body[..]),
        (206, &whole[whole.len() - 10..])
    );
    let (answer, _) = ask(&format!("Range: bytes={}-\r\n", whole.len()));
    assert_eq!(answer.status, 416);
    let range = format!("bytes */{}", whole.len());
    assert_eq!(answer.header("Content-Range"), Some(&*range));
}
