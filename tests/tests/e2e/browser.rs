//! A web page in a real browser. It cannot send headers, and must be able to read every refusal.

use serde_json::json;
use sluice_tests::client::{Client, Event};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::token;

const PATH: &str = "/ws/ingest/meetings/m1";

/// The ingest route, for pages of this origin.
fn serve(origin: &str) -> Gateway {
    let config = Config::ingest()
        .set("routes.ingest", "origins", json!([origin]))
        .set("routes.ingest", "subprotocols", json!(["app.v1"]));
    Gateway::start(&config)
}

fn bearer(token: &str) -> String {
    format!("sluice.bearer.{token}")
}

#[test]
fn a_web_page_brings_its_token_as_a_subprotocol_and_streams() {
    let (mut page, origin) = Client::page();
    let gateway = serve(&origin);
    let url = gateway.url(PATH);
    let token = bearer(&token::good());
    for beside in ["app.v1", "sluice"] {
        let agreed = page.open_offering(&url, &[], &[&token, beside]);
        assert_eq!(agreed, beside);
        page.handshake();
        page.expect_ack();
        page.send_audio(&[7; 32_000]);
        page.finalize(32_000, 1000);
    }
    // The token alone can never be agreed on, and browsers fail a connection that agrees on nothing.
    page.offer(&url, &[], &[&token]);
    let failed = page.event();
    assert!(matches!(failed, Event::Failed(_)), "{failed:?}");
}

#[test]
fn a_web_page_reads_why_it_is_refused() {
    let (mut page, origin) = Client::page();
    let gateway = serve(&origin);
    let url = gateway.url(PATH);
    let expired = token::sign(&token::claims_with(json!({"exp": token::now() - 600})));
    for (token, why) in [
        (expired.as_str(), "auth failed: token expired"),
        ("nonsense", "auth failed: token malformed"),
    ] {
        let agreed = page.open_offering(&url, &[], &[&bearer(token), "app.v1"]);
        assert_eq!(agreed, "app.v1");
        page.expect_refusal_saying(4001, "auth_failed", why);
    }
    page.open_offering(&url, &[], &["app.v1"]);
    page.expect_refusal_saying(4001, "auth_failed", "auth failed: no token");
    page.open_offering(
        &gateway.url("/nowhere"),
        &[],
        &["sluice", &bearer(&token::good())],
    );
    page.expect_refusal_saying(4004, "not_found", "no such route");
    page.open_offering(&url, &[], &[&bearer(&token::good()), "app.v1"]);
    page.text("no handshake");
    page.expect_refusal(4000, "handshake_invalid");
}

#[test]
fn a_web_page_of_another_origin_reads_that_it_may_not_connect() {
    let (mut page, _) = Client::page();
    let gateway = serve("https://app.example.com");
    let offered = [&*bearer(&token::good()), "app.v1"];
    page.open_offering(&gateway.url(PATH), &[], &offered);
    let why = "web pages of this origin may not connect";
    page.expect_refusal_saying(4005, "policy_denied", why);
}
