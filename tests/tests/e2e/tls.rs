//! TLS on the main listener, and `sluice stream` that speaks it.

use std::fs;
use std::path::Path;

use serde_json::json;
use sluice_tests::client::{Client, meeting};
use sluice_tests::command::{self, Done, run};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{Raw, upgrade_request};
use sluice_tests::speech::{self, read_wav};
use sluice_tests::tls::Authority;
use sluice_tests::{eventually, token, with_both_clients};

fn wss(gateway: &Gateway, path: &str) -> String {
    format!("wss://{}{path}", gateway.address())
}

with_both_clients! {
    fn a_stream_over_tls_arrives_byte_for_byte_and_a_refusal_arrives_whole(library) {
        let authority = Authority::new();
        let gateway = Gateway::start(&authority.secure(Config::ingest()));
        let mut client = Client::trusting(library, &authority);
        client.open_url(&wss(&gateway, &meeting("m1", "mic", "nonsense")), &[]);
        client.expect_refusal(4001, "auth_failed");
        client.open_url(&wss(&gateway, &meeting("m1", "mic", &token::good())), &[]);
        client.handshake();
        client.expect_ack();
        let clip = speech::clip();
        client.stream(&clip, 3200);
        client.finalize(clip.pcm.len(), clip.pcm.len() / 32);
        assert_eq!(read_wav(&gateway.recording()).1, clip.pcm);
    }
}

#[test]
fn whoever_speaks_plain_http_to_a_tls_port_is_told_to_use_tls() {
    let authority = Authority::new();
    let gateway = Gateway::start(&authority.secure(Config::open()));
    let mut peer = Raw::connect(gateway.address());
    let answer = peer.request(&upgrade_request("/echo"));
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("wss://"), "{answer:?}");
    peer.wait_for_end();
}

#[test]
fn a_client_that_stalls_before_its_upgrade_is_dropped_in_time() {
    let authority = Authority::new();
    let config = Config::open().set("server", "header_timeout", json!("300ms"));
    let gateway = Gateway::start(&authority.secure(config));
    // Nothing at all, the beginning of a TLS record, and that of plain HTTP.
    for begin in [&b""[..], &[0x16, 3, 1, 0, 200, 1], b"GET /"] {
        let mut peer = Raw::connect(gateway.address());
        peer.write(begin).unwrap();
        peer.wait_for_end();
    }
    let mut peer = Raw::connect(gateway.address()).over_tls(&authority);
    peer.write(b"GET / HTTP/1.1\r\nHost: loc").unwrap();
    peer.wait_for_end();
}

#[test]
fn what_is_no_tls_is_dropped_and_the_next_client_is_served() {
    let authority = Authority::new();
    let gateway = Gateway::start(&authority.secure(Config::open()));
    for rubbish in [&[0x16, 3, 1, 0xff, 0xff][..], &[0; 600], &[0xff; 600]] {
        let mut peer = Raw::connect(gateway.address());
        peer.write(rubbish).unwrap();
        peer.writer().shutdown(std::net::Shutdown::Write).unwrap();
        peer.wait_for_end();
    }
    let mut peer = Raw::connect(gateway.address()).over_tls(&authority);
    peer.upgrade("/echo");
}

#[test]
fn a_certificate_or_key_that_cannot_be_served_is_reported_with_its_line() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let rubbish = folder.path().join("rubbish.pem");
    fs::write(&rubbish, "no PEM").unwrap();
    let missing = folder.path().join("missing.pem");
    for (certificate, key, said) in [
        (missing.clone(), ours.key(), "missing.pem"),
        (ours.certificate(), missing, "missing.pem"),
        (rubbish.clone(), ours.key(), "rubbish.pem"),
        (ours.certificate(), rubbish, "rubbish.pem"),
        (ours.certificate(), theirs.key(), "do not fit"),
        (ours.key(), ours.certificate(), "has no certificate in it"),
    ] {
        let config = Config::open()
            .set("server", "tls_certificate", json!(certificate))
            .set("server", "tls_key", json!(key))
            .to_string();
        let file = folder.path().join("sluice.toml");
        fs::write(&file, &config).unwrap();
        let done = run(command::sluice(&["check", "--config"]).arg(&file));
        assert_eq!(done.status, Some(1), "{done:?}");
        let line = config.lines().position(|line| line.starts_with("tls_"));
        let place = format!("sluice.toml:{}:", line.unwrap() + 1);
        for part in [said, &place] {
            assert!(done.stderr.contains(part), "{part} in {}", done.stderr);
        }
    }
}

/// `sluice stream` with the sample.
fn stream(url: &str, more: &[&str], roots: Option<&Path>) -> Done {
    let mut command = command::sluice(&["stream"]);
    command
        .arg(command::root().join("tests/speech/sample.wav"))
        .args(["--url", url, "--fast"])
        .args(more)
        .env("SSL_CERT_FILE", roots.unwrap_or(Path::new("")));
    run(&mut command)
}

#[test]
fn stream_speaks_tls_with_the_authorities_of_the_machine_or_of_a_file() {
    let authority = Authority::new();
    let gateway = Gateway::start(&authority.secure(Config::open()));
    let url = wss(&gateway, "/ingest/m1");
    let ca = authority.ca();
    for (more, roots) in [
        (&["--ca", ca.to_str().unwrap()][..], None),
        (&[], Some(&*ca)),
    ] {
        let done = stream(&url, more, roots);
        assert_eq!(done.status, Some(0), "{done:?}");
        assert!(done.stdout.contains("finalized"), "{done:?}");
    }
}

#[test]
fn stream_says_why_there_is_no_tls_and_what_to_do() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let secure = Gateway::start(&ours.secure(Config::open()));
    let plain = Gateway::start(&Config::open());
    let here = wss(&secure, "/ingest/m1");
    let by_name = here.replace("127.0.0.1", "localhost");
    let without_tls = wss(&plain, "/ingest/m1");
    let (our_ca, their_ca, key) = (ours.ca(), theirs.ca(), ours.key());
    for (url, ca, status, said) in [
        (&here, &their_ca, 4, "--ca"),
        (&by_name, &our_ca, 4, "localhost"),
        (&without_tls, &our_ca, 4, "ws://"),
        (&secure.url("/ingest/m1"), &our_ca, 2, "wss://"),
        (&here, &key, 1, "key.pem"),
        (&here, &key.with_file_name("no.pem"), 1, "no.pem"),
    ] {
        let done = stream(url, &["--ca", ca.to_str().unwrap()], None);
        assert_eq!(done.status, Some(status), "{url}: {done:?}");
        assert!(done.stderr.contains(said), "{said} in {done:?}");
    }
    let done = stream(&secure.url("/ingest/m1"), &[], None);
    assert_eq!(done.status, Some(4), "{done:?}");
    assert!(done.stderr.contains("wss://"), "{done:?}");
}

#[test]
fn a_handshake_that_fails_is_counted_by_its_reason_and_told_in_the_log() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let config = Config::open()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "header_timeout", json!("1s"));
    let gateway = Gateway::start(&ours.secure(config));
    let failures =
        |reason: &str| gateway.metric(&format!("sluice_tls_failures_total{{reason=\"{reason}\"}}"));
    let mut rubbish = Raw::connect(gateway.address());
    rubbish.write(&[0xff; 600]).unwrap();
    rubbish.wait_for_end();
    let mut distrustful = Raw::connect(gateway.address()).over_tls(&theirs);
    assert!(distrustful.write(b"GET /").is_err());
    drop(distrustful);
    let mut short = Raw::connect(gateway.address());
    short.write(&[0x16, 3, 1, 0, 200, 1]).unwrap();
    short.writer().shutdown(std::net::Shutdown::Write).unwrap();
    short.wait_for_end();
    let mut slow = Raw::connect(gateway.address());
    slow.write(&[0x16, 3, 1, 0, 200, 1]).unwrap();
    slow.wait_for_end();
    for reason in ["not-tls", "certificate-rejected", "ended", "late"] {
        eventually(reason, || (failures(reason) == 1.0).then_some(()));
        gateway.output().find("a line about it", |line| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            let told = event["message"] == "a TLS handshake failed" && event["reason"] == reason;
            told.then_some(())
        });
    }
    // However many fail, the log has few lines of it.
    for _ in 0..200 {
        let mut rubbish = Raw::connect(gateway.address());
        rubbish.write(&[0xff; 600]).unwrap();
        rubbish.wait_for_end();
    }
    assert_eq!(failures("not-tls"), 201.0);
    Raw::connect(gateway.address())
        .over_tls(&ours)
        .upgrade("/echo");
}
