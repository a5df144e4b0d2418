//! A client that has a tiny window, does not read, and goes on sending.

use sluice_tests::raw::{self, Raw};
use tungstenite::protocol::frame::coding::{Control, OpCode};

use super::cases::{self, Case, End, LastMessage, Stage};
use super::{World, connect};

/// Replies that a client leaves unread, of 127 bytes each: several times what
/// its window takes.
const PINGS: usize = 64;
const PING: [u8; 125] = [0x42; 125];

/// Goes through it, and panics unless every word arrives that should.
pub fn suffer(world: &World, case: &Case, number: usize, flood: &[u8]) {
    let mut peer = connect(world);
    let mut opening = request(case, number).into_bytes();
    if case.stage == Stage::Stream {
        opening.extend(cases::shake());
    }
    if case.stage != Stage::Connect {
        opening.extend(raw::masked(OpCode::Control(Control::Ping), &PING).repeat(PINGS));
    }
    let _company = match case.end {
        End::Sent(last) => {
            opening.extend(last(number));
            send(&mut peer, &opening);
            send(&mut peer, flood);
            read_replies(&mut peer, case);
            None
        }
        End::Comes(last, ended_by) => {
            opening.extend(last(number));
            send(&mut peer, &opening);
            read_replies(&mut peer, case);
            let company = ended_by(world, number);
            peer.wait_for_input();
            send(&mut peer, flood);
            company
        }
    };
    read_close(&mut peer, case);
}

fn request(case: &Case, number: usize) -> String {
    let end = format!("\r\n{}\r\n", case.headers);
    raw::upgrade_request(&(case.path)(number)).replacen("\r\n\r\n", &end, 1)
}

fn send(peer: &mut Raw, bytes: &[u8]) {
    peer.write(bytes).expect("the gateway reads on");
}

fn read_replies(peer: &mut Raw, case: &Case) {
    assert_eq!(peer.response().status, 101);
    if case.stage == Stage::Stream {
        assert_eq!(peer.message()["type"], "handshake-ack");
    }
    if case.stage != Stage::Connect {
        for _ in 0..PINGS {
            let pong = peer.frame().expect("a Pong");
            assert_eq!(pong.opcode, OpCode::Control(Control::Pong), "{pong:?}");
            assert_eq!(pong.payload, PING);
        }
    }
}

fn read_close(peer: &mut Raw, case: &Case) {
    let mut expected = None;
    if case.last_message != LastMessage::Nothing {
        let message = peer.message();
        let (word, reason) = match case.last_message {
            LastMessage::Status => ("status", "finalized"),
            _ => ("code", message["message"].as_str().expect("a message")),
        };
        assert_eq!(message[word], case.name, "{message}");
        expected = Some(reason.to_owned());
    }
    let close = peer.frame().expect("a Close");
    let (code, reason) = close
        .close()
        .unwrap_or_else(|| panic!("no Close: {close:?}"));
    assert_eq!(code, case.code, "{reason}");
    match expected {
        Some(expected) => assert_eq!(reason, expected),
        None => assert_ne!(reason, ""),
    }
    if case.last_message != LastMessage::Nothing {
        send(
            peer,
            &raw::masked(OpCode::Control(Control::Close), &code.to_be_bytes()),
        );
    }
    assert_eq!(
        peer.frame(),
        None,
        "nothing comes after the Close, and the end is clean"
    );
}

/// Breaks the protocol, and says whether it got to read what comes of it.
pub fn hears_the_close(world: &World, number: usize, flood: &[u8]) -> bool {
    let mut peer = connect(world);
    peer.upgrade(&format!("/open/m{number}"));
    send(&mut peer, &cases::shake());
    assert_eq!(peer.message()["type"], "handshake-ack");
    let mut all = raw::masked(OpCode::Control(Control::Ping), &PING).repeat(PINGS);
    // Not masked.
    all.extend([0x81, 1, b'x']);
    all.extend(flood);
    // A gateway that hangs up makes this fail, sooner or later.
    let _ = peer.write(&all);
    while let Ok(Some(frame)) = peer.try_frame() {
        if frame.close().is_some() {
            return true;
        }
    }
    false
}

/// Somebody else's connection, which ends with this value.
pub struct Company(#[allow(dead_code)] Raw);

impl Company {
    /// One that streams on `path`.
    pub fn streaming(world: &World, path: &str) -> Self {
        let mut peer = connect(world);
        peer.upgrade(path);
        send(&mut peer, &cases::shake());
        Self(peer)
    }
}
