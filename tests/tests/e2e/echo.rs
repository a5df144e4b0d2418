//! A plain WebSocket server, for conformance suites.

use sluice_tests::client::{Client, Event};
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw};
use sluice_tests::with_both_clients;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

with_both_clients! {
    fn messages_come_back_as_they_were(library) {
        let gateway = Gateway::start(&Config::ingest());
        let mut client = Client::connect(library, &gateway, "/echo");
        for text in ["", "hello", "{\"type\":\"ping\"}", "çığ 🌊\u{0}", &"wave ".repeat(40_000)] {
            client.text(text);
            assert_eq!(client.event(), Event::Text(text.to_owned()));
        }
        for length in [0, 1, 125, 126, 65_535, 65_536, 256 * 1024] {
            let message: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            client.binary(&message);
            assert_eq!(client.event(), Event::Binary(message));
        }
        client.close(1000, "thanks");
        assert!(matches!(client.event(), Event::Close(1000, _)));
    }

    fn many_messages_come_back_in_order(library) {
        let gateway = Gateway::start(&Config::ingest());
        let mut client = Client::connect(library, &gateway, "/echo");
        for number in 0..500 {
            client.text(&number.to_string());
        }
        for number in 0..500 {
            assert_eq!(client.event(), Event::Text(number.to_string()));
        }
    }

    fn a_route_that_drops_says_nothing(library) {
        let gateway = Gateway::start(&Config::ingest());
        let mut client = Client::connect(library, &gateway, "/discard");
        client.text("hello");
        client.binary(&[1, 2, 3]);
        client.close(1000, "");
        assert!(matches!(client.event(), Event::Close(1000, _)));
    }
}

#[test]
fn a_message_in_parts_comes_back_whole_and_pings_pass_between_them() {
    let gateway = Gateway::start(&Config::ingest());
    let mut peer = Raw::connect(gateway.address());
    peer.upgrade("/echo");
    let part = |opcode, payload: &[u8], last: bool| {
        let mut frame = raw::masked(OpCode::Data(opcode), payload);
        if !last {
            frame[0] &= 0x7f;
        }
        frame
    };
    let snowman = "☃".as_bytes();
    peer.write(&part(Data::Text, &snowman[..1], false)).unwrap();
    peer.send(OpCode::Control(Control::Ping), b"between");
    peer.write(&part(Data::Continue, &snowman[1..], false))
        .unwrap();
    peer.write(&part(Data::Continue, b"", true)).unwrap();
    let pong = peer.frame().expect("a pong");
    assert_eq!(
        (pong.opcode, &pong.payload[..]),
        (OpCode::Control(Control::Pong), &b"between"[..])
    );
    let message = peer.frame().expect("a message");
    assert_eq!(
        (message.opcode, &message.payload[..]),
        (OpCode::Data(Data::Text), snowman)
    );
}
