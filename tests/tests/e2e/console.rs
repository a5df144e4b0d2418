//! The console: a page on the admin listener, in a real browser.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Library, meeting};
use sluice_tests::command;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::page::{Page, css, label, role, saying};
use sluice_tests::raw::{Raw, upgrade_request};
use sluice_tests::speech::clip;
use sluice_tests::tls::Authority;
use sluice_tests::{eventually, token};

const TOKEN: &str = "an-operators-token-of-32-bytes-or-more";

/// A gateway whose sessions an operator may end.
fn operated(config: Config) -> Gateway {
    let config = config
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "admin_token_file", json!("admin-token"));
    Gateway::start_with_files(&config, &[("admin-token", TOKEN.as_bytes())])
}

fn get(gateway: &Gateway, path: &str) -> Value {
    let (status, body) = gateway.admin(&format!("GET {path}"));
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

/// What a command prints as JSON.
fn printed(gateway: &Gateway, arguments: &[&str]) -> Value {
    let admin = gateway.admin_address().to_string();
    let mut line = arguments.to_vec();
    line.extend(["--admin", &admin, "--json"]);
    let done = command::run(&mut command::sluice(&line));
    assert_eq!(done.status, Some(0), "{done:?}");
    serde_json::from_str(&done.stdout).expect("JSON")
}

fn figure(name: &str) -> sluice_tests::page::Part {
    css(&format!("[data-figure={name}]"))
}

#[test]
fn an_operator_sees_a_session_finds_a_refusal_and_ends_a_stream_from_the_page() {
    let gateway = operated(Config::ingest());
    let clip = clip();
    let (mut client, id) = Client::stream_of(&gateway, "standup", "u-1");
    let mut page = Page::open(&gateway, "sessions");
    let row = css(&format!("tr[data-key='{id}']"));
    page.wait(&row);
    client.stream(&clip, 3200);
    let received = eventually("all of the speech", || {
        let session = get(&gateway, &format!("/sessions/{id}"));
        let received = session["session"]["received_bytes"].as_u64()?;
        (received == clip.pcm.len() as u64).then_some(received)
    });
    page.wait(&css(&format!(
        "tr[data-key='{id}'] td[title='{received} bytes']"
    )));
    let shown = page.text(&row);
    for part in ["u-1", "standup", "mic", "ingest", "stream", "127.0.0.1:"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }

    // Its level moves: silence, and then a square wave of half the scale.
    let level = format!("tr[data-key='{id}'] [role=meter]");
    page.wait(&css(&level));
    page.evaluate(&format!(
        "seen = []; new MutationObserver(() => seen.push(document.querySelector(\"{level}\")?.innerText))
            .observe(document.querySelector('main'), {{subtree: true, childList: true}}); null"
    ));
    let square = [0, 0x40, 0, 0xc0].repeat(1600);
    for (audio, shown) in [(&[0; 6400][..], "-96 dB"), (&square, "-6 dB")] {
        eventually(shown, || {
            client.audio(audio);
            let seen = page.evaluate(&format!("seen.includes('{shown}')"));
            (seen == true).then_some(())
        });
    }

    // A second client is refused, and the reason is the same wherever one asks.
    let path = meeting("standup", "mic", &token::of_user("u-2"));
    let mut second = Client::connect(Library::Ws, &gateway, &path);
    let frame = second.expect_refusal(4002, "ingest_exists");
    let told = frame["message"].as_str().unwrap();
    page.click(&role("link", "Refusals"));
    page.wait(&saying("tbody td", told));
    page.click(&css("tbody th button"));
    page.wait(&saying(".why", told));
    let why = page.text(&css(".why"));
    let refused = frame["session_id"].as_str().unwrap();
    for part in ["4002 ingest_exists", "u-2", "duplicate", refused, "connect"] {
        assert!(why.contains(part), "{part} in {why}");
    }
    let kept = get(&gateway, &format!("/refusals?session={refused}"));
    assert_eq!(kept["refusals"][0]["message"], told, "{kept}");
    let by_command = printed(&gateway, &["why", refused]);
    assert_eq!(by_command["refusals"], kept["refusals"]);

    // Figures are equal across API, command, page and metrics.
    let status = get(&gateway, "/status");
    let status_of_command = printed(&gateway, &["status"]);
    assert_eq!(status["connections"]["live"], 1, "{status}");
    assert_eq!(status_of_command["connections"], status["connections"]);
    page.wait(&saying("[data-figure=live]", "1"));
    for (name, value) in [
        ("live", &status["connections"]["live"]),
        ("streaming", &status["connections"]["streaming"]),
        ("parked", &status["connections"]["parked"]),
        ("claims", &status["claims"]),
        ("generation", &status["generation"]),
    ] {
        assert_eq!(page.text(&figure(name)), value.to_string(), "{name}");
    }
    assert_eq!(gateway.metric("sluice_connections_live"), 1.0);
    assert_eq!(gateway.metric("sluice_claims"), 1.0);
    page.click(&role("link", "Policies"));
    let duplicate = "tr[data-key=duplicate] td";
    page.wait(&saying(duplicate, "1"));
    for (policy, accepted, rejected) in [("auth", 2, 0), ("duplicate", 1, 1), ("sample-rate", 1, 0)]
    {
        let shown = page.evaluate(&format!(
            "[...document.querySelectorAll('tr[data-key={policy}] td')].slice(1, 3).map((cell) => cell.innerText)"
        ));
        assert_eq!(shown, json!([accepted.to_string(), rejected.to_string()]));
        for (outcome, count) in [("accept", accepted), ("reject", rejected)] {
            let sample = format!(
                "sluice_policy_decisions_total{{policy=\"{policy}\",outcome=\"{outcome}\"}}"
            );
            assert_eq!(gateway.metric(&sample), f64::from(count), "{sample}");
        }
    }

    // The whole story of the session, and its end.
    page.click(&role("link", "Sessions"));
    page.wait(&row);
    page.click(&css(&format!("tr[data-key='{id}'] a")));
    for policy in ["auth", "duplicate", "sample-rate"] {
        page.wait(&saying("tbody tr", policy));
    }
    page.click(&role("button", "Close session"));
    page.fill(
        &label("Reason, which the client is told"),
        "moved to room 2",
    );
    page.press("Enter");
    page.fill(&label("Token"), "not the token, but as long as it must be");
    page.press("Enter");
    page.wait(&saying(
        "[role=alert]",
        "The gateway does not take this token for a change.",
    ));
    page.click(&role("button", "Close session"));
    page.fill(
        &label("Reason, which the client is told"),
        "moved to room 2",
    );
    page.press("Enter");
    page.fill(&label("Token"), TOKEN);
    page.press("Enter");
    client.expect_refusal_saying(4003, "ended_by_operator", "moved to room 2");
    page.wait(&saying(".badge", "over"));
    page.wait(&saying("[data-figure=live]", "0"));
    page.audit();
    assert_eq!(
        page.evaluate("[localStorage.length, sessionStorage.length]"),
        json!([0, 0])
    );
}

#[test]
fn what_a_client_sends_is_text_on_the_page_and_never_markup() {
    let gateway = operated(Config::ingest());
    let attack = "<img src=x onerror=alert(1)><script>alert(2)</script>";
    let escaped: String = attack.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let (_client, id) = Client::stream_of(&gateway, &escaped, attack);
    let path = meeting(&escaped, "mic", &token::of_user("\"><svg onload=alert(3)>"));
    let mut refused = Client::connect(Library::Ws, &gateway, &path);
    refused.expect_refusal(4002, "ingest_exists");
    let mut page = Page::open(&gateway, "sessions");
    page.wait(&saying("tbody td", attack));
    for view in [
        format!("sessions/{id}"),
        "refusals".to_owned(),
        format!("refusals/{attack}"),
    ] {
        page.go(&view.replace('\'', ""));
        page.wait(&css("h1"));
        page.wait(&css(".badge"));
    }
    page.go("refusals");
    page.click(&css("tbody th button"));
    page.wait(&saying(".why dd", attack));
    page.wait(&saying(".why dd", "<svg onload"));
    let strangers = "document.querySelectorAll('main img, main script, main svg').length";
    assert_eq!(page.evaluate(strangers), 0);
}

#[test]
fn the_page_may_run_its_own_scripts_and_nothing_else_and_no_other_origin_may_read_it() {
    let gateway = operated(Config::open());
    let mut admin = Raw::connect(gateway.admin_address());
    let page = admin.request("GET /console/ HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(page.status, 200);
    let header = |name: &str| page.header(name).unwrap_or_default().to_owned();
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("access-control-allow-origin"), "");
    for path in [
        "/console/main.js",
        "/console/console.css",
        "/console/icon.svg",
    ] {
        assert_eq!(gateway.admin(&format!("GET {path}")).0, 200, "{path}");
    }
    assert_eq!(gateway.admin("GET /console").0, 308);
    assert_eq!(gateway.admin("GET /console/nothing.js").0, 404);
    assert_eq!(gateway.admin("GET http://evil.example/console/").0, 421);
    // Nothing of it is for clients.
    let plain = "GET /console/ HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(Raw::connect(gateway.address()).request(plain).status, 426);
}

/// The operator's token in the page, from here on.
fn sign_in(page: &mut Page) {
    page.click(&role("button", "Operator"));
    page.fill(&label("Token"), TOKEN);
    page.press("Enter");
    page.wait(&role("button", "Forget the token"));
}

#[test]
fn a_recording_is_listed_played_downloaded_and_deleted_by_whoever_has_the_token() {
    let gateway = operated(Config::ingest());
    let clip = clip();
    let (mut client, _) = Client::stream_of(&gateway, "m1", "u-1");
    client.stream(&clip, 3200);
    client.finalize(clip.pcm.len(), clip.pcm.len() / 32);
    let (mut streaming, _) = Client::stream_of(&gateway, "m2", "u-2");
    streaming.send_audio(&[1; 6400]);
    let recording = eventually("both recordings", || {
        let recordings = gateway.recordings();
        let finished = recordings
            .iter()
            .find(|path| path.to_string_lossy().contains("/m1/"));
        (recordings.len() == 2).then(|| finished.unwrap().clone())
    });
    let below = recording
        .strip_prefix(gateway.data().join("recordings"))
        .unwrap();
    let below = below.to_str().unwrap();
    for request in [
        "GET /recordings",
        &format!("GET /recordings/{below}"),
        &format!("DELETE /recordings/{below}"),
    ] {
        assert_eq!(gateway.admin(request).0, 401, "{request}");
    }
    let mut page = Page::open(&gateway, "recordings");
    page.wait(&role("button", "Enter the token"));
    sign_in(&mut page);
    page.fill(&label("Search"), "m1");
    page.wait(&saying(".found", "1 recording"));
    let name = recording.file_name().unwrap().to_str().unwrap();
    page.click(&role("button", &format!("Play {name}")));
    // The browser takes it for audio of this length.
    page.wait(&css("audio"));
    let seconds = clip.pcm.len() as f64 / 32_000.0;
    page.until(&format!(
        "Math.abs(document.querySelector('audio').duration - {seconds}) < 0.01"
    ));
    page.wait(&css(".player canvas[aria-label=Waveform]"));
    page.audit();
    let (saved, file) = page.download(&role("button", &format!("Download {name}")));
    assert_eq!(saved, name);
    assert_eq!(
        std::fs::read(file).unwrap(),
        std::fs::read(&recording).unwrap()
    );
    page.click(&role("button", &format!("Delete {name}")));
    page.click(&role("button", "Delete"));
    page.wait(&saying(".empty", "No recording has these words"));
    assert!(!recording.exists());
    let audited = gateway.output().find("the audit", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["target"] == "sluice::audit").then_some(event)
    });
    let audited = audited.expect("the gateway runs");
    assert_eq!(audited["to"], format!("recording {below}"), "{audited}");
    assert_eq!(audited["result"], "deleted", "{audited}");
    // What is being written is not deleted.
    let live = gateway.recording();
    let live = live
        .strip_prefix(gateway.data().join("recordings"))
        .unwrap();
    let sent = format!("\r\nAuthorization: Bearer {TOKEN}");
    let request = format!("DELETE /recordings/{}{sent}", live.display());
    let (status, why) = gateway.admin(&request);
    assert_eq!(status, 409, "{why}");
    for path in [
        "../sluice.toml",
        "%2e%2e/sluice.toml",
        "t-1/m2/..%2f..%2f..%2fsluice.toml",
        "t-1",
    ] {
        let (status, why) = gateway.admin(&format!("GET /recordings/{path}{sent}"));
        assert_eq!(status, 404, "{path}: {why}");
    }
}

#[test]
fn a_route_is_tried_from_the_page_and_every_frame_is_shown() {
    // A page of no origin may connect, and the console may try it all the same.
    let config = Config::ingest().set("routes.ingest", "origins", json!(["https://app.example"]));
    let gateway = operated(config);
    let mut page = Page::open(&gateway, "try");
    sign_in(&mut page);
    let mut run = |source: &str, token: &str| {
        page.fill(
            &label("Path of the route"),
            "/ws/ingest/meetings/trial?source=mic",
        );
        page.fill(&label("Client's token"), token);
        page.choose(&label("Audio"), source);
        if source == "file" {
            page.choose_file(&label("File"), &clip().path);
        }
        page.click(&role("button", "Start"));
        page.wait(&saying(".frames li", "Switching Protocols"));
        if source == "microphone" {
            page.wait(&saying(".frames li", "6400 in all"));
            page.click(&role("button", "Stop"));
        }
        page.wait(&saying(".frames li", "CLOSE"));
        page.audit();
        page.text(&css(".frames"))
    };
    let shown = run("tone", "nonsense");
    for part in ["auth failed: token malformed", "4001", "auth_failed"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    for (source, bytes) in [
        ("tone", 160_000),
        ("file", clip().pcm.len()),
        ("microphone", 6400),
    ] {
        let shown = run(source, &token::good());
        for part in [
            "handshake-ack",
            "finalize",
            "finalized",
            "1000",
            &format!("{bytes} in all"),
        ] {
            assert!(shown.contains(part), "{source}: {part} in {shown}");
        }
    }
    let sessions = get(&gateway, "/sessions");
    assert_eq!(sessions["sessions"], json!([]), "{sessions}");
    // Nobody gets through without a ticket, and no ticket is good twice.
    let upgrade = |ticket: &str| {
        let mut admin = Raw::connect(gateway.admin_address());
        let request = upgrade_request(&format!("/console/try/{ticket}/ws/ingest/meetings/m1"));
        admin.request(&request.replacen("Host: ", "Host: localhost\r\nX-Was: ", 1))
    };
    assert_eq!(upgrade("none").status, 403);
    assert_eq!(gateway.admin("POST /console/tickets").0, 401);
    let sent = format!("\r\nAuthorization: Bearer {TOKEN}");
    let (_, answer) = gateway.admin(&format!("POST /console/tickets{sent}"));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let ticket = answer["ticket"].as_str().unwrap();
    let get = format!("GET /console/try/{ticket}/nowhere");
    let (status, why) = gateway.admin(&get);
    assert_eq!(status, 426, "{why}");
    assert_eq!(upgrade(ticket).status, 403);
}

#[test]
fn the_view_of_health_shows_what_the_status_says_and_what_must_be_looked_at_is_on_every_view() {
    let authority = Authority::new();
    let config = authority
        .secure(Config::ingest())
        .set("server", "tls_client_ca", json!(authority.ca()))
        .set("server", "tls_client_crl", json!("revoked.pem"))
        .set("server", "tls_client_certificates", json!("optional"))
        .set("server", "admin_listen", json!("127.0.0.1:0"));
    let old = authority.revoked_until(&[], 2025);
    let gateway = Gateway::start_with_files(&config, &[("revoked.pem", old.as_bytes())]);
    let claims = json!({"iat": token::now() + 645, "nbf": token::now() + 645});
    let early = token::sign(&token::claims_with(claims));
    let mut peer = Raw::connect(gateway.address()).over_tls(&authority);
    peer.upgrade(&meeting("m1", "mic", &early));
    assert_eq!(peer.message()["code"], "auth_failed");
    let mut page = Page::open(&gateway, "health");
    page.wait(&saying("tr[data-key=main] td", "ahead"));
    let status = get(&gateway, "/status");
    let row = page.text(&css("tr[data-key=main]"));
    for part in ["in use", "configuration", "10 min"] {
        assert!(row.contains(part), "{part} in {row}");
    }
    assert_eq!(
        status["key_sets"][0]["clock"]["not_yet_valid"], 1,
        "{status}"
    );
    let clients = page.text(&css("tr[data-key=clients]"));
    for part in ["4096-01-01, in ", "2025-01-01, over"] {
        assert!(clients.contains(part), "{part} in {clients}");
    }
    for part in ["of 8 000", "off", "clean"] {
        page.wait(&saying("dd", part));
    }
    page.audit();
    // What must be looked at is said on every view.
    page.go("sessions");
    for alert in [
        "key set main: the issuer's clock is 10 min",
        "A revocation list for clients has expired",
    ] {
        page.wait(&saying("#alerts li", alert));
    }
}
