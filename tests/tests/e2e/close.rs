//! How connections end, and that the peer gets to know why.

use serde_json::{Value, json};
use sluice_tests::client::{Client, Event, handshake, meeting};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::{token, with_both_clients};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

with_both_clients! {
    fn the_clients_own_close_is_echoed(library) {
        let gateway = Gateway::start(&Config::ingest());
        let mut client = Client::idle(library);
        for code in [1000, 1001, 3000, 4999] {
            client.open(&gateway, &meeting("m1", "mic", &token::good()), &[]);
            client.handshake();
            client.expect_ack();
            client.close(code, "done");
            assert!(matches!(client.event(), Event::Close(echoed, _) if echoed == code));
        }
    }

    fn a_close_before_the_handshake_is_echoed(library) {
        let gateway = Gateway::start(&Config::ingest());
        let mut client = Client::connect(library, &gateway, &meeting("m1", "mic", &token::good()));
        client.close(1000, "");
        assert!(matches!(client.event(), Event::Close(1000, _)));
        assert_eq!(gateway.recordings(), Vec::<std::path::PathBuf>::new());
    }

    fn a_message_over_the_limit_gets_the_close_alone(library) {
        let gateway = Gateway::start(&Config::ingest().limit("max_message", "64KiB"));
        let mut client = Client::connect(library, &gateway, &meeting("m1", "mic", &token::good()));
        client.handshake();
        client.expect_ack();
        client.binary(&[1; 64 * 1024]);
        client.binary(&[2; 64 * 1024 + 1]);
        let end = client.event();
        assert!(matches!(end, Event::Close(1009, _)), "{end:?}");
        let (_, pcm) = sluice_tests::speech::read_wav(&gateway.recording());
        assert_eq!(pcm, [1; 64 * 1024], "what came before is kept");
    }
}

#[test]
fn a_close_without_a_code_is_answered() {
    let gateway = Gateway::start(&Config::ingest());
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade("/echo");
    peer.send(OpCode::Control(Control::Close), &[]);
    let close = peer.frame().expect("a Close");
    assert_eq!(close.opcode, OpCode::Control(Control::Close));
    assert!(
        close.payload.is_empty() || close.close().is_some_and(|(code, _)| code == 1000),
        "{close:?}"
    );
    assert_eq!(peer.frame(), None);
}

#[test]
fn clients_that_vanish_at_any_stage_leave_a_gateway_that_serves() {
    let mut gateway = Gateway::start(&Config::ingest());
    let good = meeting("m1", "mic", &token::good());
    let begin = raw::upgrade_request(&good).into_bytes();
    let hello = [begin.clone(), raw::text(&handshake().to_string())].concat();
    let audio = [hello.clone(), raw::binary(&[0; 3200])].concat();
    let refused = raw::upgrade_request(&meeting("m1", "mic", "nonsense")).into_bytes();
    for stage in [&b"GET"[..], &begin, &hello, &audio, &refused] {
        for _ in 0..10 {
            let mut peer = Raw::connect(gateway.address());
            peer.write(stage).unwrap();
            peer.reset();
        }
    }
    let mut answered = Raw::connect(gateway.address());
    answered.upgrade(&good.replace("m1", "m2"));
    answered.send(
        OpCode::Data(Data::Text),
        handshake().to_string().replace("m1", "m2").as_bytes(),
    );
    answered.frame().expect("an ack");
    answered.reset();
    // The claims of the dead are given back, so that this ends in an ack.
    sluice_tests::eventually("the claim of the dead", || {
        let mut client = Client::connect(sluice_tests::client::Library::Ws, &gateway, &good);
        client.handshake();
        (client.message()["status"] == json!("ready")).then_some(())
    });
    // Whether it has survived a bug is looked at when it is dropped.
    assert!(gateway.runs());
}

#[test]
fn a_peer_that_does_not_read_is_let_go() {
    let config = Config::ingest()
        .echo_limit("write_timeout", "300ms")
        .echo_limit("close_timeout", "300ms")
        .set("server", "admin_listen", json!("127.0.0.1:0"));
    let mut gateway = Gateway::start(&config);
    let mut peer = Raw::connect_with_small_window(gateway.address());
    peer.upgrade("/echo");
    // It echoes into a window that is never read, until it gives up on the
    // peer: then writing fails. Without a limit this would never end.
    let message = raw::binary(&[0x55; 128 * 1024]);
    while peer.write(&message).is_ok() {}
    let line = gateway.output().find("its log entry", |line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["message"] == "connection ended").then_some(event)
    });
    let entry = line.expect("the gateway runs");
    assert_eq!(entry["cause"], "stalled", "{entry}");
    assert_eq!(entry["delivery"], "not-read", "{entry}");
    let not_read = r#"sluice_close_deliveries_total{delivery="not-read"}"#;
    assert_eq!(gateway.metric(not_read), 1.0);
    assert!(gateway.runs());
}
