//! The console's views on every screen, by keyboard, and for many who look at once.

use std::io::Write as _;

use serde_json::json;
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::config::Config;
use sluice_tests::eventually;
use sluice_tests::gateway::Gateway;
use sluice_tests::page::{Page, css, label, role, saying};
use sluice_tests::raw::Raw;

fn watched(config: Config) -> Gateway {
    Gateway::start(&config.set("server", "admin_listen", json!("127.0.0.1:0")))
}

/// With a policy and its shadow, a backend that is away, and a reload that was refused.
fn eventful() -> Gateway {
    let config = Config::ingest()
        .set("upstreams.backend", "kind", json!("websocket"))
        .set("upstreams.backend", "url", json!("ws://127.0.0.1:9/"))
        .set("routes.relay", "paths", json!(["/relay"]))
        .set("routes.relay", "handshake", json!("none"))
        .set("routes.relay", "upstream", json!("backend"))
        .set("policies.next", "component", json!("builtin:auth"))
        .set("policies.next", "grants", json!(["jwt"]))
        .set("policies.next", "shadow_of", json!("auth"))
        .set("policies.next.config", "key_set", json!("main"))
        .set("server", "watch", json!(false));
    let gateway = watched(config);
    gateway.replace("sluice.toml", "[routes.broken]\n");
    assert_eq!(gateway.admin("POST /reload").0, 422);
    gateway
}

#[test]
fn every_view_can_be_used_on_every_screen_and_with_a_screen_reader() {
    let gateway = eventful();
    let (mut client, id) = Client::stream_of(&gateway, "m1", "u-1");
    client.send_audio(&[7; 32_000]);
    let mut refused = Client::connect(Library::Ws, &gateway, &meeting("m1", "mic", "nonsense"));
    let frame = refused.expect_refusal(4001, "auth_failed");
    let told = frame["message"].as_str().unwrap();
    let mut page = Page::open(&gateway, "sessions");
    let views = [
        ("sessions".to_owned(), saying("tbody td", "u-1")),
        (format!("sessions/{id}"), saying("tbody th", "sample-rate")),
        ("refusals".to_owned(), saying("tbody td", told)),
        (
            format!("refusals/{}", frame["session_id"].as_str().unwrap()),
            saying(".why dd", "connect"),
        ),
        ("policies".to_owned(), saying("tbody th", "next")),
        ("upstreams".to_owned(), saying("tbody th", "127.0.0.1:9")),
        ("health".to_owned(), saying("dd", "of 8 000")),
        ("generations".to_owned(), saying("tbody pre", "broken")),
        ("recordings".to_owned(), role("button", "Enter the token")),
        ("try".to_owned(), role("button", "Start")),
    ];
    for (width, height, size) in [(1280, 800, "laptop"), (390, 844, "phone")] {
        for scheme in ["light", "dark"] {
            page.look(width, height, scheme);
            for (view, shows) in &views {
                page.go(view);
                page.wait(shows);
                page.audit();
                let too_wide = page.evaluate("document.documentElement.scrollWidth - innerWidth");
                assert_eq!(too_wide, 0, "{view} on a {size}");
                let name = view.split('/').collect::<Vec<_>>().join("-");
                page.shot(&format!("{}-{size}-{scheme}", &name[..name.len().min(12)]));
            }
        }
    }
}

#[test]
fn a_session_is_found_opened_and_left_by_keyboard_alone() {
    let gateway = watched(Config::ingest());
    let (_one, _) = Client::stream_of(&gateway, "m1", "u-1");
    let (_two, id) = Client::stream_of(&gateway, "m2", "u-2");
    let mut page = Page::open(&gateway, "sessions");
    page.wait(&saying(".found", "2 sessions"));
    assert_eq!(page.focused(), "H1 Sessions");
    page.press("Tab");
    page.fill(&label("Search"), "u-2 m2");
    page.wait(&saying(".found", "1 session found"));
    // The table can be scrolled by keyboard, so it is a stop too.
    for _ in 0..2 {
        page.press("Tab");
    }
    page.press("Enter");
    page.wait(&saying(".id", &id));
    assert_eq!(page.focused(), "H1 Session");
    page.wait(&saying("dd", "u-2"));
    page.click(&role("button", "Close session"));
    assert!(page.focused().starts_with("INPUT") || page.focused().starts_with("BUTTON"));
    page.press("Escape");
    page.wait_gone(&css("dialog"));
    assert_eq!(page.focused(), "BUTTON Close session");
}

#[test]
fn consoles_that_read_nothing_are_few_and_make_the_gateway_hold_little() {
    let gateway = watched(Config::open());
    let _sessions: Vec<_> = (0..60)
        .map(|_| {
            let mut peer = Raw::connect(gateway.address());
            peer.upgrade("/echo");
            peer
        })
        .collect();
    let before = gateway.memory();
    let ask = "GET /console/feed?view=sessions HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let open = || {
        let mut console = Raw::connect_with_small_window(gateway.admin_address());
        console.writer().write_all(ask.as_bytes()).unwrap();
        console.wait_for_input();
        console
    };
    let mut consoles: Vec<_> = (0..16).map(|_| open()).collect();
    let more = || {
        let (status, sentence) = gateway.admin("GET /console/feed?view=nothing");
        assert_eq!(status, 400, "{sentence}");
        Raw::connect(gateway.admin_address()).request(ask).status
    };
    assert_eq!(more(), 503);
    // Each has what the system holds for it, and one snapshot.
    let held = gateway.memory().saturating_sub(before);
    assert!(held < 16 * 1024 * 1024, "{held}");
    consoles.pop().unwrap().reset();
    eventually("a place for another", || {
        let mut console = Raw::connect(gateway.admin_address());
        console.write(ask.as_bytes()).unwrap();
        (console.response_to_head().status == 200).then_some(())
    });
}
