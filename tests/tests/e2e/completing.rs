//! A stream whose client has finalized, and whose backend takes its time to say that it has all.

use serde_json::{Value, json};
use sluice_tests::backend::{self, Backend, relaying};
use sluice_tests::client::{Client, Library, handshake};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::proxy::{Fault, Proxy};
use sluice_tests::raw::{self, Raw};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const BYTES: usize = 32_000;

/// A gateway, and the way to its backend, which can be stopped.
struct Slow {
    backend: Backend,
    way: Proxy,
    gateway: Gateway,
}

impl Slow {
    fn start(change: impl FnOnce(Config) -> Config) -> Self {
        let backend = Backend::start(Library::Ws);
        let way = Proxy::start(backend.address());
        let config = relaying(way.address())
            .set("upstreams.recordings", "receipts", json!("confirmed"))
            .limit("write_timeout", "60s");
        Self {
            backend,
            gateway: Gateway::start(&change(config)),
            way,
        }
    }

    fn path(resume: Option<&str>) -> String {
        let path = backend::path("confirm");
        resume.map_or(path.clone(), |token| format!("{path}&resume={token}"))
    }

    /// A stream that its client has finalized, and whose backend does not hear of it; and what
    /// leads back to it.
    fn finalized(&self) -> (Raw, String) {
        let mut peer = Raw::connect(self.gateway.address());
        peer.upgrade(&Self::path(None));
        let mut asking = handshake();
        asking["features"] = json!(["ack", "resume"]);
        peer.write(&raw::text(&asking.to_string())).unwrap();
        let ready = peer.message();
        let token = ready["resume_token"].as_str().expect("a token").to_owned();
        for chunk in [7; BYTES].chunks(3200) {
            peer.send(OpCode::Data(Data::Binary), chunk);
        }
        while peer.message()["bytes"] != BYTES {}
        self.way.set(Fault::Stall);
        peer.write(&raw::text(r#"{"type":"finalize"}"#)).unwrap();
        (peer, token)
    }
}

/// The next message that is neither a receipt nor the backend's own.
fn said(peer: &mut Raw) -> Value {
    loop {
        let message = peer.message();
        if message["type"] != "ack" && message["type"] != "transcript" {
            return message;
        }
    }
}

fn pings(peer: &mut Raw) {
    peer.write(&raw::text(r#"{"type":"ping"}"#)).unwrap();
    assert_eq!(said(peer), json!({"type": "pong"}));
    let ping = OpCode::Control(Control::Ping);
    peer.send(ping, b"still there?");
    let pong = peer.frame().expect("a Pong");
    assert_eq!(pong.opcode, OpCode::Control(Control::Pong));
    assert_eq!(pong.payload, b"still there?");
}

fn confirmed(peer: &mut Raw) {
    let finalized = said(peer);
    let expected = (&json!("finalized"), &json!(BYTES));
    assert_eq!((&finalized["status"], &finalized["bytes"]), expected);
    let close = peer.frame().expect("a Close");
    assert_eq!(close.close().map(|(code, _)| code), Some(1000));
}

#[test]
fn pings_are_answered_while_a_stream_is_completed() {
    let slow = Slow::start(|config| config);
    let (mut peer, _) = slow.finalized();
    for _ in 0..3 {
        pings(&mut peer);
    }
    // What comes behind the end is of no stream, and does no harm.
    peer.send(OpCode::Data(Data::Binary), &[9; 3200]);
    peer.write(&raw::text(r#"{"type":"pause"}"#)).unwrap();
    pings(&mut peer);
    slow.way.set(Fault::None);
    confirmed(&mut peer);
    assert_eq!(slow.backend.whole()["bytes"], BYTES);
}

#[test]
fn a_client_that_closes_behind_its_finalize_has_its_stream_completed() {
    let slow = Slow::start(|config| config);
    let (mut peer, _) = slow.finalized();
    pings(&mut peer);
    let close = OpCode::Control(Control::Close);
    peer.send(close, &1001_u16.to_be_bytes());
    slow.way.set(Fault::None);
    let finalized = said(&mut peer);
    assert_eq!(finalized["bytes"], BYTES);
    // All is well, so its own code comes back.
    let close = peer.frame().expect("a Close");
    assert_eq!(close.close().map(|(code, _)| code), Some(1001));
    assert_eq!(slow.backend.whole()["bytes"], BYTES);
}

#[test]
fn who_comes_back_to_a_stream_that_is_completed_waits_for_its_end_and_never_gets_it() {
    let slow = Slow::start(|config| config.limit("admission_timeout", "500ms"));
    let (mut peer, token) = slow.finalized();
    pings(&mut peer);
    peer.reset();
    let path = Slow::path(Some(&token));
    let again = || {
        let mut client = Client::connect(Library::Ws, &slow.gateway, &path);
        let mut asking = handshake();
        asking["features"] = json!(["ack", "resume"]);
        client.json(&asking);
        client
    };
    let refusal = again().expect_refusal(4002, "ingest_exists");
    assert_eq!(refusal["retryable"], true);
    slow.way.set(Fault::None);
    let whole = slow.backend.whole();
    assert_eq!(whole["bytes"], BYTES);
    slow.gateway.output().find("the end of the stream", |line| {
        let ended = line.contains("connection ended") && line.contains("finalized");
        ended.then_some(())
    });
    let mut client = again();
    let ready = client.message();
    assert_eq!(
        (&ready["status"], &ready["from_bytes"]),
        (&json!("ready"), &json!(BYTES))
    );
    let finalized = client.message();
    assert_eq!(
        (&finalized["status"], &finalized["bytes"]),
        (&json!("finalized"), &json!(BYTES))
    );
    client.expect_close(1000, "finalized");
    assert_eq!(slow.backend.events("open").len(), 1);
}
