//! Streams through, to a backend that speaks WebSocket.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluice_tests::backend::{Backend, path, relaying, sha256};
use sluice_tests::client::{Client, Event, Library, handshake, meeting};
use sluice_tests::gateway::Gateway;
use sluice_tests::{speech, token, with_both_clients};

fn start(library: Library, gateway: &Gateway, orders: &str) -> Client {
    let mut client = Client::connect(library, gateway, &path(orders));
    client.handshake();
    client.expect_ack();
    client
}

/// What the backend said at the end of the only stream, without the event.
fn end(backend: &Backend) -> (String, u64, Value, String) {
    let end = backend.event("end");
    (
        end["sha256"].as_str().unwrap_or_default().to_owned(),
        end["bytes"].as_u64().unwrap_or_default(),
        end["code"].clone(),
        end["reason"].as_str().unwrap_or_default().to_owned(),
    )
}

fn header(backend: &Backend, name: &str) -> Value {
    let open = backend.event("open");
    let headers: BTreeMap<String, Value> =
        serde_json::from_value(open["headers"].clone()).expect("headers");
    let find = headers
        .into_iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name));
    find.map(|(_, value)| value).unwrap_or_default()
}

with_both_clients! {
    fn speech_goes_up_and_what_the_backend_says_comes_down_in_order(library) {
        let backend = Backend::start(library);
        let gateway = Gateway::start(&relaying(backend.address()));
        let clip = speech::long_clip();
        let mut client = start(library, &gateway, "tell,early");
        assert_eq!(client.message(), json!({"type": "welcome"}));
        client.stream(&clip, 3200);
        client.json(&json!({"type": "pause"}));
        client.json(&json!({"type": "from-the-future"}));
        client.json(&json!({"type": "finalize"}));
        let mut heard = 0;
        for chunk in clip.pcm.chunks(3200) {
            heard += chunk.len();
            assert_eq!(told(&mut client), json!({"type": "heard", "bytes": heard}));
        }
        assert_eq!(told(&mut client), json!({"type": "transcript", "text": "the last words"}));
        let finalized = told(&mut client);
        assert_eq!((&finalized["status"], &finalized["bytes"]), (&json!("finalized"), &json!(clip.pcm.len())));
        assert!(finalized["duration_ms"].is_u64(), "{finalized}");
        assert_eq!(client.event(), Event::Close(1000, "finalized".to_owned()));
        let expected = (sha256(&clip.pcm), clip.pcm.len() as u64, json!(1000), "finalized".to_owned());
        assert_eq!(end(&backend), expected);
        let texts: Vec<Value> = backend.events("text").iter()
            .map(|event| serde_json::from_str(event["data"].as_str().unwrap()).unwrap())
            .collect();
        assert_eq!(texts, [handshake(), json!({"type": "pause"}), json!({"type": "from-the-future"}), json!({"type": "finalize"})]);
    }

    fn a_plain_route_relays_both_kinds_of_message_and_the_clients_close(library) {
        let backend = Backend::start(library);
        let gateway = Gateway::start(&relaying(backend.address()));
        let mut client = Client::connect(library, &gateway, "/relay?do=echo");
        client.text("grüße");
        assert_eq!(client.event(), Event::Text("grüße".to_owned()));
        for size in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let payload: Vec<u8> = (0_u8..=255).cycle().take(size).collect();
            client.binary(&payload);
            assert_eq!(client.event(), Event::Binary(payload), "{size}");
        }
        client.close(4321, "bye");
        assert_eq!(client.event(), Event::Close(4321, "bye".to_owned()));
        let (_, _, code, reason) = end(&backend);
        assert_eq!((code, reason.as_str()), (json!(4321), "bye"));
    }

    fn a_backend_that_closes_in_the_middle_is_passed_on_or_translated(library) {
        let backend = Backend::start(library);
        let gateway = Gateway::start(&relaying(backend.address()));
        for code in [1000, 3001, 4000, 4999] {
            let mut client = start(library, &gateway, &format!("tell,close-after:640,close:{code}"));
            client.binary(&[0; 640]);
            assert_eq!(client.message()["type"], "heard");
            client.expect_close(code, "enough");
        }
        for code in [1001, 1011] {
            let mut client = start(library, &gateway, &format!("close-after:640,close:{code}"));
            client.binary(&[0; 640]);
            let frame = client.expect_refusal_saying(4006, "upstream_unavailable", "the upstream closed the stream");
            assert_eq!(frame["retryable"], true);
        }
        let mut client = start(library, &gateway, "abort-after:640");
        client.binary(&[0; 640]);
        client.expect_refusal_saying(4006, "upstream_unavailable", "the upstream was lost");
    }

    fn a_backend_that_refuses_does_so_in_its_own_words(library) {
        let backend = Backend::start(library);
        let gateway = Gateway::start(&relaying(backend.address()));
        for (orders, close_code, code, message) in [
            ("refuse", 4100, "quota", "no quota left"),
            ("close:4001", 4001, "upstream_refused", "who are you"),
            ("close:1011", 4006, "upstream_unavailable", "the upstream refused the stream"),
        ] {
            let mut client = Client::connect(library, &gateway, &path(orders));
            client.handshake();
            let frame = client.expect_refusal_saying(close_code, code, message);
            assert_eq!(frame["retryable"], orders != "close:4001", "{orders}");
        }
    }
}

/// The next message, but for answers to what the client itself asked.
fn told(client: &mut Client) -> Value {
    loop {
        let message = client.message();
        if message["status"] != "paused" {
            return message;
        }
    }
}

#[test]
fn the_backend_learns_who_the_client_is_and_a_client_cannot_pretend() {
    let backend = Backend::start(Library::Websockets);
    let config = relaying(backend.address())
        .set("upstreams.recordings", "attributes", json!(["auth.email"]))
        .set(
            "upstreams.recordings",
            "forward_headers",
            json!(["x-device"]),
        );
    let gateway = Gateway::start(&config);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut client = Client::idle(Library::Websockets);
    let forged = [
        ("X-Sluice-User", "root"),
        ("X-Sluice-Session", "forged"),
        ("X-Sluice-Anything", "forged"),
        ("Cookie", "secret"),
        ("X-Device", "mac"),
        ("traceparent", trace),
    ];
    let path = meeting("a%2Fb%3Fc", "system", &token::good());
    client.open(&gateway, &path, &forged);
    client.json(&json!({"type": "handshake", "sample_rate": 16000, "device_id": "d"}));
    let session = client.expect_ack();
    client.json(&json!({"type": "close"}));
    assert_eq!(client.message()["type"], "transcript");
    client.expect_close(1000, "closed");
    let claims = token::claims();
    for (name, expected) in [
        ("x-sluice-user", &claims["user_id"]),
        ("x-sluice-tenant", &claims["tenant_id"]),
        ("x-sluice-auth-email", &claims["email"]),
        ("x-sluice-session", &json!(session)),
        ("x-device", &json!("mac")),
        ("traceparent", &json!(trace)),
        ("cookie", &Value::Null),
        ("authorization", &Value::Null),
        ("x-sluice-anything", &Value::Null),
    ] {
        assert_eq!(&header(&backend, name), expected, "{name}");
    }
    let open = backend.event("open");
    assert_eq!(open["path"], "/in/a%2Fb%3Fc?source=sys&do=");
    assert!(!open.to_string().contains(&token::good()[..20]), "{open}");
}
