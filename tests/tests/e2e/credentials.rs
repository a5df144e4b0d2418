//! Whatever a client proves with who it is stays between it and the gateway.

use rustix::process::Signal;
use serde_json::{Value, json};
use sluice_tests::backend::{Backend, relaying};
use sluice_tests::client::{Library, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw, upgrade_request};
use sluice_tests::{eventually, token};

/// A credential, with the parts of it that nobody may see.
struct Credential {
    name: &'static str,
    value: String,
    secrets: Vec<String>,
}

fn credentials() -> Vec<Credential> {
    let opaque = |name, value: &str| Credential {
        name,
        value: value.to_owned(),
        secrets: vec![value.split(' ').next_back().unwrap().to_owned()],
    };
    let token = token::good();
    // The first part says only how it is signed.
    let secrets = token.split('.').skip(1).map(str::to_owned).collect();
    vec![
        Credential {
            name: "token",
            value: token,
            secrets,
        },
        opaque(
            "resume token",
            "sluice.resume.kNobodyWasEverToldThisOneHere",
        ),
        opaque(
            "old resume token",
            "q2iJ0cN0XbW3mB7VgB8vB1cPZc6hJ5Y1r0S9o2u4x8E",
        ),
        opaque("basic", "Basic aHVzaC1odXNoOnZlcnktc2VjcmV0"),
        opaque("cookie", "sessionhandle.9f86d081884c7d65"),
    ]
}

/// A request in which a credential stands in one place, by the name of the place.
fn requests(credential: &Credential) -> Vec<(String, String)> {
    let value = &credential.value;
    let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let plain = value.replace(' ', "%20");
    let path = "/api/v1/ws/ingest/meetings/m1?do=confirm";
    let with = |header: &str| {
        let header = format!("\r\n{header}\r\n\r\n");
        upgrade_request(path).replacen("\r\n\r\n", &header, 1)
    };
    let query = |query: &str| upgrade_request(&format!("{path}&{query}"));
    let mut requests = vec![
        ("authorization", with(&format!("Authorization: {value}"))),
        ("a bearer", with(&format!("Authorization: Bearer {value}"))),
        (
            "proxy-authorization",
            with(&format!("Proxy-Authorization: {value}")),
        ),
        ("cookie", with(&format!("Cookie: a=b; handle={value}"))),
        (
            "x-sluice-resume",
            with(&format!("X-Sluice-Resume: {value}")),
        ),
        ("x-api-key", with(&format!("X-Api-Key: {value}"))),
        ("token=", query(&format!("token={plain}"))),
        ("resume=", query(&format!("resume={plain}"))),
        ("token= encoded", query(&format!("%74ok%65n={encoded}"))),
        ("resume= encoded", query(&format!("re%73ume={encoded}"))),
        ("Token=", query(&format!("Token={plain}"))),
        ("access_token=", query(&format!("access_token={plain}"))),
        (
            "the meeting as well",
            with(&format!("X-Sluice-Resume: {value}")).replace("/m1?", &format!("/{encoded}?")),
        ),
        (
            "the source as well",
            with(&format!("Authorization: {value}"))
                .replace("?do", &format!("?source={encoded}&do")),
        ),
    ];
    // What is known for a credential where nothing else says so.
    if value.starts_with("ey") || value.starts_with("sluice.") {
        requests.push((
            "the meeting",
            query("a").replace("/m1?", &format!("/{encoded}?")),
        ));
        requests.push(("the path", upgrade_request(&format!("/nowhere/{encoded}"))));
        requests.push(("the source", query(&format!("source={plain}"))));
    }
    requests
        .into_iter()
        .map(|(place, request)| (format!("{} in {place}", credential.name), request))
        .collect()
}

/// Handshakes with a credential in a field.
fn handshakes(credential: &Credential) -> Vec<Value> {
    let mut handshakes = Vec::new();
    for field in ["token", "authorization", "resume", "resume_token"] {
        let mut message = handshake();
        message[field] = json!(credential.value);
        handshakes.push(message);
    }
    if credential.value.starts_with("ey") || credential.value.starts_with("sluice.") {
        for field in ["device_id", "client", "language", "source", "codec", "type"] {
            let mut message = handshake();
            message[field] = json!(credential.value);
            handshakes.push(message);
        }
    }
    handshakes
}

/// Speaks to the gateway as far as it listens, and gives what it said.
fn converse(gateway: &Gateway, request: &str, message: &Value) -> String {
    let mut peer = Raw::connect(gateway.address());
    assert_eq!(peer.request(request).status, 101);
    let mut said = String::new();
    let greeting = [
        raw::text(&message.to_string()),
        raw::text(r#"{"type":"finalize"}"#),
    ]
    .concat();
    // It may have refused by now.
    let _ = peer.write(&greeting);
    while let Ok(Some(frame)) = peer.try_frame() {
        let text = String::from_utf8_lossy(&frame.payload).into_owned();
        // What leads back is for the client to know.
        let is_ack = text.contains("handshake-ack");
        if !is_ack {
            said += &text;
            said.push('\n');
        }
        if frame.close().is_some() {
            break;
        }
    }
    said
}

/// Everything that the gateway has written anywhere.
fn outputs(
    gateway: &mut Gateway,
    said: String,
    backend: Option<&Backend>,
) -> Vec<(&'static str, String)> {
    let (_, metrics) = gateway.admin("GET /metrics");
    let (_, refusals) = gateway.admin("GET /refusals");
    let (_, sessions) = gateway.admin("GET /sessions?limit=1000");
    let backend = backend.map(|backend| {
        let events = backend
            .events("open")
            .into_iter()
            .chain(backend.events("text"));
        events
            .map(|event| event.to_string())
            .collect::<Vec<_>>()
            .join("\n")
    });
    gateway.signal(Signal::TERM);
    gateway.wait();
    let record = std::fs::read_to_string(gateway.data().join("decisions.jsonl")).unwrap();
    let names: Vec<_> = gateway
        .recordings()
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    vec![
        ("the client's own frames", said),
        ("the log", gateway.output().text()),
        ("the record", record),
        ("the metrics", metrics),
        ("the refusals", refusals),
        ("the sessions", sessions),
        ("names of recordings", names.join("\n")),
        ("the backend", backend.unwrap_or_default()),
    ]
}

fn config(config: Config) -> Config {
    config
        .set("server", "admin_listen", json!("127.0.0.1:0"))
        .set("decisions", "file", json!("decisions.jsonl"))
        .limit("settle", "0s")
        .limit("handshake_timeout", "1s")
}

fn assert_hidden(credentials: &[Credential], outputs: &[(&str, String)]) {
    for (place, text) in outputs {
        for credential in credentials {
            for secret in &credential.secrets {
                let line = text.lines().find(|line| line.contains(secret.as_str()));
                assert!(
                    line.is_none(),
                    "the {} is in {place}: {line:?}",
                    credential.name
                );
            }
        }
    }
}

#[test]
fn no_credential_of_a_client_gets_anywhere_from_any_place_of_its_request() {
    let mut gateway = Gateway::start(&config(Config::ingest()));
    let credentials = credentials();
    let mut said = String::new();
    let mut sent = 0;
    for credential in &credentials {
        for (_, request) in requests(credential) {
            said += &converse(&gateway, &request, &handshake());
            sent += 1;
        }
    }
    let outputs = outputs(&mut gateway, said, None);
    assert!(sent > 70, "{sent}");
    // It was looked through, and for what there was.
    assert!(outputs[2].1.lines().count() > 50, "{}", outputs[2].1);
    assert_hidden(&credentials, &outputs);
}

#[test]
fn no_credential_gets_anywhere_from_an_admitted_client_s_request_and_handshake() {
    let backend = Backend::start(Library::Ws);
    let relayed = relaying(backend.address()).set(
        "upstreams.recordings",
        "forward_headers",
        json!(["user-agent", "x-room"]),
    );
    for (config_of, backend) in [(Config::ingest(), None), (relayed, Some(&backend))] {
        let mut gateway = Gateway::start(&config(config_of));
        // Its own token lets it in, whatever else it brings.
        let good = token::of_user("u-7");
        let credentials = credentials();
        let mut said = String::new();
        let mut speak = |meeting: &str, headers: &str, message: &Value| {
            let path = format!("/api/v1/ws/ingest/meetings/{meeting}?do=confirm");
            let headers = format!("\r\n{headers}");
            let request = upgrade_request(&path).replacen("\r\n\r\n", &headers, 1);
            said += &converse(&gateway, &request, message);
        };
        for (n, credential) in credentials.iter().enumerate() {
            let admitted = format!(
                "Authorization: Bearer {good}\r\nCookie: handle={}\r\nX-Room: blue\r\n\r\n",
                credential.value
            );
            for (m, message) in handshakes(credential).iter().enumerate() {
                speak(&format!("m{n}-{m}"), &admitted, message);
            }
            // A backend is told of the meeting, as its address says.
            if backend.is_none() {
                let bytes = credential.value.bytes();
                let meeting: String = bytes.map(|byte| format!("%{byte:02X}")).collect();
                let mut message = handshake();
                message.as_object_mut().unwrap().remove("meeting_id");
                speak(&meeting, &admitted, &message);
            }
        }
        if let Some(backend) = backend {
            eventually("the backend's streams", || {
                (backend.events("open").len() > 10).then_some(())
            });
        }
        let mut all = outputs(&mut gateway, said, backend);
        let handshakes_go_on = all.pop().expect("the backend's").1;
        let requests_only = handshakes_go_on
            .lines()
            .filter(|line| line.contains("\"open\""));
        all.push((
            "the backend's requests",
            requests_only.collect::<Vec<_>>().join("\n"),
        ));
        assert_hidden(&credentials, &all);
        let parts = good.split('.').skip(1).map(str::to_owned).collect();
        let own = Credential {
            name: "client's own token",
            value: String::new(),
            secrets: parts,
        };
        assert_hidden(&[own], &all);
    }
}

#[test]
fn what_leads_back_to_a_stream_is_nowhere_but_in_its_client_s_hands() {
    let mut gateway = Gateway::start(&config(Config::ingest()));
    let path = meeting("m1", "mic", &token::good());
    let mut asking = handshake();
    asking["features"] = json!(["ack", "resume"]);
    let asking = raw::text(&asking.to_string());
    let with_header = |token: &str| {
        let header = format!("\r\nX-Sluice-Resume: {token}\r\n\r\n");
        upgrade_request(&path).replacen("\r\n\r\n", &header, 1)
    };
    let with_query = |token: &str| upgrade_request(&format!("{path}&resume={token}"));
    let encoded = |token: &str| {
        let token: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
        upgrade_request(&format!("{path}&%72esume={token}"))
    };
    let ways: [&dyn Fn(&str) -> String; 4] = [
        &|_| upgrade_request(&path),
        &with_header,
        &with_query,
        &encoded,
    ];
    let mut tokens: Vec<String> = Vec::new();
    let mut said = String::new();
    for way in ways {
        let request = way(tokens.last().map_or("", String::as_str));
        let mut peer = Raw::connect(gateway.address());
        assert_eq!(peer.request(&request).status, 101);
        peer.write(&asking).unwrap();
        let ack = peer.message();
        let token = ack["resume_token"].as_str();
        tokens.push(token.unwrap_or_else(|| panic!("{ack}")).to_owned());
        peer.reset();
    }
    // And one that was used.
    said += &converse(&gateway, &with_header(&tokens[0]), &handshake());
    assert!(said.contains("resume_refused"), "{said}");
    let outputs = outputs(&mut gateway, said, None);
    let record = &outputs[2].1;
    assert!(
        record.contains("query resume") && record.contains("header x-sluice-resume"),
        "{record}"
    );
    let told = |value: &String| Credential {
        name: "real resume token",
        value: value.clone(),
        secrets: vec![value.rsplit('.').next().unwrap().to_owned()],
    };
    let told: Vec<_> = tokens.iter().map(told).collect();
    assert_hidden(&told, &outputs);
}
