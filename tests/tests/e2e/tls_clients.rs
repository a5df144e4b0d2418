//! Certificates that clients show.

use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::{Value, json};
use sluice_tests::client::{handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::tls::Authority;
use sluice_tests::{eventually, token};

fn config(server: &Authority) -> Config {
    let config = Config::ingest()
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("server", "tls_client_ca", json!("clients.pem"))
        .set("server", "tls_client_crl", json!("revoked.pem"))
        .set("decisions", "file", json!("decisions.jsonl"))
        .set("routes.ingest", "upstream", json!("nowhere"));
    server.secure(config)
}

fn start(config: &Config, clients: &Authority) -> Gateway {
    let ca = std::fs::read(clients.ca()).unwrap();
    let revoked = clients.revoked(&[13]);
    let files = [("clients.pem", &*ca), ("revoked.pem", revoked.as_bytes())];
    Gateway::start_with_files(config, &files)
}

/// Streams as this client, with headers that it makes up. Returns the session.
fn streams(gateway: &Gateway, client: Arc<ClientConfig>) -> (Raw, String) {
    let mut peer = Raw::connect(gateway.address()).over_tls_as(client);
    let request = raw::upgrade_request(&meeting("m1", "mic", &token::good()));
    let forged = "X-Client-Certificate-Sha256: forged\r\n\r\n";
    let request = format!("{}{forged}", request.strip_suffix("\r\n").unwrap());
    assert_eq!(peer.request(&request).status, 101);
    peer.write(&raw::text(&handshake().to_string())).unwrap();
    let ack = peer.message();
    assert_eq!(ack["ok"], true, "{ack}");
    (peer, ack["session_id"].as_str().unwrap().to_owned())
}

/// A client whose handshake fails for this reason.
fn fails(gateway: &Gateway, client: Arc<ClientConfig>, reason: &str) {
    let sample = format!("sluice_tls_failures_total{{reason=\"{reason}\"}}");
    let before = gateway.metric(&sample);
    let mut peer = Raw::connect(gateway.address()).over_tls_as(client);
    // The client believes that the handshake is complete before the gateway has looked.
    drop(peer.write(raw::upgrade_request("/echo").as_bytes()));
    eventually("a failed handshake", || {
        (gateway.metric(&sample) > before).then_some(())
    });
}

/// Headers that policies saw of a session.
fn seen(gateway: &Gateway, session: &str) -> Vec<(String, String)> {
    let line = eventually("the record", || {
        let record = std::fs::read_to_string(gateway.data().join("decisions.jsonl")).ok()?;
        let mut lines = record
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.find(|line: &Value| line.to_string().contains(session))
    });
    let headers: Vec<(String, String)> =
        serde_json::from_value(line["input"]["headers"].clone()).unwrap();
    let is_of_it = |(name, _): &(String, String)| name.starts_with("x-client-certificate");
    headers.into_iter().filter(is_of_it).collect()
}

#[test]
fn a_client_shows_a_certificate_of_its_authority_that_was_not_revoked_and_policies_see_it() {
    let (server, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let gateway = start(&config(&server), &clients);
    let good = server.client_with(&clients, 7);
    let (mut live, session) = streams(&gateway, Arc::clone(&good));
    let seen = seen(&gateway, &session);
    let of = |name: &str| {
        let found: Vec<_> = seen.iter().filter(|(known, _)| known == name).collect();
        assert_eq!(found.len(), 1, "{name} in {seen:?}");
        found[0].1.clone()
    };
    assert_eq!(of("x-client-certificate-sha256").len(), 64);
    assert_eq!(
        of("x-client-certificate-issuer"),
        "CN=an authority for tests"
    );
    assert_eq!(
        of("x-client-certificate-names"),
        "DNS:mac-1.example, URI:spiffe://example/mac-1"
    );
    fails(&gateway, server.client(), "client-certificate-missing");
    let revoked = server.client_with(&clients, 13);
    fails(&gateway, Arc::clone(&revoked), "client-certificate-revoked");
    let foreign = server.client_with(&strangers, 7);
    fails(&gateway, Arc::clone(&foreign), "client-certificate-refused");
    // A list that cannot be used changes nothing.
    gateway.replace("revoked.pem", "no list");
    let (status, report) = gateway.admin("POST /reload");
    assert_eq!(status, 422, "{report}");
    assert!(report.contains("revoked.pem"), "{report}");
    fails(&gateway, revoked, "client-certificate-revoked");
    // Another authority with its own list takes effect for newcomers alone.
    gateway.replace("revoked.pem", strangers.revoked(&[]));
    gateway.replace("clients.pem", std::fs::read(strangers.ca()).unwrap());
    let (status, report) = gateway.admin("POST /reload");
    assert_eq!(status, 200, "{report}");
    fails(&gateway, good, "client-certificate-refused");
    live.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
    assert_eq!(live.message()["status"], "finalized");
    drop(streams(&gateway, foreign));
}

#[test]
fn where_certificates_are_optional_a_client_without_one_is_served_and_cannot_forge_one() {
    let (server, clients) = (Authority::new(), Authority::new());
    let config = config(&server).set("server", "tls_client_certificates", json!("optional"));
    let gateway = start(&config, &clients);
    let (_live, session) = streams(&gateway, server.client());
    assert_eq!(seen(&gateway, &session), []);
    fails(
        &gateway,
        server.client_with(&clients, 13),
        "client-certificate-revoked",
    );
}
