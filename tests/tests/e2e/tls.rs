//! TLS on the main listener, and `sluice stream` that speaks it.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;
use sluice_tests::client::{Client, meeting};
use sluice_tests::command::{self, Done, run};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw, upgrade_request};
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
        // On a busy machine its time may be over already.
        drop(peer.write(begin));
        peer.wait_for_end();
    }
    let mut peer = Raw::connect(gateway.address()).over_tls(&authority);
    drop(peer.write(b"GET / HTTP/1.1\r\nHost: loc"));
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
    let read = |file: &Path| fs::read_to_string(file).unwrap();
    let write = |name: &str, content: &[u8]| {
        let file = folder.path().join(name);
        fs::write(&file, content).unwrap();
        file
    };
    let key = read(&ours.key()).replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let encrypted = write("encrypted.pem", key.as_bytes());
    let chain = read(&ours.ca()) + &read(&ours.certificate());
    let backwards = write("backwards.pem", chain.as_bytes());
    let der = write("der.pem", &[0x30, 0x82, 1, 2, 0xff, 0]);
    let damaged = read(&ours.certificate()).replace("-----END", "!-----END");
    let damaged = write("damaged.pem", damaged.as_bytes());
    let latin1 = write("latin1.pem", b"\xe7\n");
    for (certificate, key, said) in [
        (missing.clone(), ours.key(), "missing.pem"),
        (ours.certificate(), missing, "missing.pem"),
        (rubbish.clone(), ours.key(), "rubbish.pem"),
        (ours.certificate(), rubbish, "rubbish.pem"),
        (ours.certificate(), theirs.key(), "do not fit"),
        (ours.certificate(), encrypted, "it is encrypted"),
        (backwards, ours.key(), "in the wrong order"),
        (der.clone(), ours.key(), "is DER, and not PEM"),
        (ours.certificate(), der, "is DER, and not PEM"),
        (damaged, ours.key(), "it is damaged"),
        (latin1, ours.key(), "line 1 has the byte 0xE7"),
        (
            ours.certificate(),
            ours.certificate(),
            "has no private key in it, but: CERTIFICATE",
        ),
        (ours.key(), ours.certificate(), "has no certificate in it"),
    ] {
        let config = Config::open()
            .set("server", "tls_certificate", json!(certificate))
            .set("server", "tls_key", json!(key))
            .to_string();
        let file = folder.path().join("sluice.toml");
        fs::write(&file, &config).unwrap();
        let done = command::check(&file);
        assert_eq!(done.status, Some(1), "{done:?}");
        let line = config.lines().position(|line| line.starts_with("tls_"));
        let place = format!("sluice.toml:{}:", line.unwrap() + 1);
        let report = flat(&done.stderr);
        for part in [said, &place] {
            assert!(report.contains(part), "{part} in {report}");
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

/// A report on one line.
fn flat(report: &str) -> String {
    let words: Vec<&str> = report.split_whitespace().collect();
    words.join(" ").replace("| ", "")
}

fn echoes(peer: &mut Raw) {
    peer.write(&raw::text("hello")).unwrap();
    let frame = peer.frame().expect("an echo");
    assert_eq!(frame.payload, b"hello");
}

fn is_shown(authority: &Authority, gateway: &Gateway) -> Raw {
    let mut peer = Raw::connect(gateway.address()).over_tls(authority);
    peer.upgrade("/echo");
    echoes(&mut peer);
    peer
}

#[test]
fn another_certificate_is_shown_to_newcomers_and_who_is_there_stays() {
    let [files, first, second] = [(); 3].map(|()| Authority::new());
    first.give_to(&files);
    let admin = Config::open().set("server", "admin_listen", json!("127.0.0.1:0"));
    let gateway = Gateway::start(&files.secure(admin));
    let mut live = is_shown(&first, &gateway);
    // By the files alone, each time.
    for (generation, authority) in [(2, &second), (3, &first), (4, &second)] {
        authority.give_to(&files);
        gateway.reloaded(generation);
        is_shown(authority, &gateway);
        echoes(&mut live);
    }
    // A certificate without its key changes nothing.
    fs::copy(first.certificate(), files.certificate()).unwrap();
    let (status, report) = gateway.admin("POST /reload");
    assert_eq!(status, 422, "{report}");
    assert!(flat(&report).contains("do not fit"), "{report}");
    is_shown(&second, &gateway);
    echoes(&mut live);
}

#[test]
fn a_certificate_is_taken_up_when_that_is_asked_for() {
    let [files, first, second] = [(); 3].map(|()| Authority::new());
    first.give_to(&files);
    let config = files.secure(Config::open());
    let config = config
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "watch", json!(false));
    let gateway = Gateway::start(&config);
    second.give_to(&files);
    is_shown(&first, &gateway);
    gateway.signal(Signal::HUP);
    gateway.reloaded(2);
    is_shown(&second, &gateway);
    // Other files, too.
    gateway.replace("sluice.toml", first.secure(config).to_string());
    let (_, answer) = gateway.admin("POST /reload");
    let expected = r#""generation":3,"needs_restart":[]}"#;
    assert!(answer.ends_with(expected), "{answer}");
    is_shown(&first, &gateway);
    let plain = Config::open().set("server", "watch", json!(false));
    let plain = plain.set("server", "admin_listen", json!("127.0.0.1:0"));
    gateway.replace("sluice.toml", plain.to_string());
    let (_, answer) = gateway.admin("POST /reload");
    assert!(
        answer.contains(r#""needs_restart":["tls_certificate, tls_key"]"#),
        "{answer}"
    );
    is_shown(&first, &gateway);
}

#[test]
fn certificates_and_keys_are_read_as_people_save_them() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let read = |file: &Path| fs::read_to_string(file).unwrap();
    let (certificate, key, ca) = (
        read(&ours.certificate()),
        read(&ours.key()),
        read(&ours.ca()),
    );
    let utf16 = |text: &str| -> Vec<u8> {
        let marked = format!("\u{feff}{text}");
        marked.encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    let marked = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n")).into_bytes();
    let doubtful = certificate.repeat(2);
    for (certificate, key, doubt) in [
        (marked(&certificate), marked(&key), None),
        (utf16(&certificate), utf16(&key), None),
        // Key and chain in one file, and another's key before.
        (
            (key.clone() + &certificate + &ca).into_bytes(),
            (read(&theirs.key()) + &key + &certificate).into_bytes(),
            None,
        ),
        (
            doubtful.into_bytes(),
            key.clone().into_bytes(),
            Some("was not signed by the one behind it"),
        ),
    ] {
        fs::write(folder.path().join("cert.pem"), certificate).unwrap();
        fs::write(folder.path().join("key.pem"), key).unwrap();
        let config = Config::open()
            .set("server", "tls_certificate", json!("cert.pem"))
            .set("server", "tls_key", json!("key.pem"));
        let file = folder.path().join("sluice.toml");
        fs::write(&file, config.to_string()).unwrap();
        let done = command::check(&file);
        assert_eq!(done.status, Some(0), "{done:?}");
        let said = flat(&done.stderr);
        assert_eq!(said.contains("warning"), doubt.is_some(), "{said}");
        assert!(said.contains(doubt.unwrap_or_default()), "{said}");
    }
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
