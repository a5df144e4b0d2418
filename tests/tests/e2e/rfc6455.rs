//! RFC 6455, the hard parts: what a client may not do ends with the Close alone
//! and the right code, wherever it happens; what it may do does not.

use std::net::Shutdown;

use sluice_tests::DEADLINE;
use sluice_tests::client::handshake;
use sluice_tests::config::Config;
use sluice_tests::gateway::Gateway;
use sluice_tests::raw::{self, Raw, masked};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

const PING: OpCode = OpCode::Control(Control::Ping);
const PONG: OpCode = OpCode::Control(Control::Pong);
const CLOSE: OpCode = OpCode::Control(Control::Close);
const TEXT: OpCode = OpCode::Data(Data::Text);
const CONTINUATION: OpCode = OpCode::Data(Data::Continue);
const FIN: u8 = 0x80;

/// Where a client may break the rules.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// On a route without a handshake.
    Plain,
    BeforeTheHandshake,
    InTheStream,
}

impl Place {
    const ALL: [Self; 3] = [Self::Plain, Self::BeforeTheHandshake, Self::InTheStream];

    fn reach(self, gateway: &Gateway) -> Raw {
        let mut peer = Raw::connect(gateway.address());
        match self {
            Self::Plain => peer.upgrade("/echo"),
            Self::BeforeTheHandshake => peer.upgrade("/ingest/m1"),
            Self::InTheStream => {
                peer.upgrade("/ingest/m1");
                peer.send(TEXT, handshake().to_string().as_bytes());
                assert_eq!(peer.message()["type"], "handshake-ack");
            }
        }
        peer
    }
}

/// The next thing must be the Close, and the last. Returns its reason.
fn closed_alone(peer: &mut Raw, code: u16) -> String {
    let frame = peer.frame().expect("a Close");
    let (closed, reason) = frame
        .close()
        .unwrap_or_else(|| panic!("a Close was expected, and not {frame:?}"));
    assert_eq!(closed, code, "{reason}");
    assert_ne!(reason, "");
    assert_eq!(peer.frame(), None, "nothing comes after the Close");
    reason.to_owned()
}

/// Each of these, at every place, gets the Close with this code and nothing else.
fn violates(code: u16, cases: &[Vec<u8>]) {
    let gateway = Gateway::start(&Config::open());
    for bytes in cases {
        for place in Place::ALL {
            println!("{place:?}: {bytes:x?}");
            let mut peer = place.reach(&gateway);
            peer.write(bytes).unwrap();
            closed_alone(&mut peer, code);
        }
    }
}

/// A frame with another first byte.
fn begin_with(first: u8, mut frame: Vec<u8>) -> Vec<u8> {
    frame[0] = first;
    frame
}

/// A frame that is not the last of its message.
fn part(frame: Vec<u8>) -> Vec<u8> {
    let first = frame[0] & !FIN;
    begin_with(first, frame)
}

#[test]
fn a_frame_without_a_mask() {
    violates(
        1002,
        &[
            vec![0x81, 1, b'x'],
            vec![0x82, 0],
            vec![0x88, 0],
            vec![0x89, 0],
        ],
    );
}

#[test]
fn a_reserved_bit() {
    let set = |bit: u8| begin_with(0x81 | bit, raw::text("x"));
    violates(
        1002,
        &[
            set(0x40),
            set(0x20),
            set(0x10),
            begin_with(0xc9, masked(PING, b"")),
        ],
    );
}

#[test]
fn a_reserved_opcode() {
    let opcodes = (0x3..=0x7).chain(0xb..=0xf);
    let frames = opcodes.map(|opcode| begin_with(FIN | opcode, raw::text("x")));
    violates(1002, &frames.collect::<Vec<_>>());
}

#[test]
fn a_control_frame_in_fragments() {
    violates(
        1002,
        &[PING, PONG, CLOSE].map(|kind| part(masked(kind, b""))),
    );
}

#[test]
fn a_control_frame_over_125_bytes() {
    let long = [0x30; 126];
    violates(1002, &[PING, PONG, CLOSE].map(|kind| masked(kind, &long)));
}

#[test]
fn a_close_of_one_byte() {
    violates(1002, &[masked(CLOSE, &[3])]);
}

#[test]
fn a_close_code_that_may_not_be_sent() {
    let codes = [
        0,
        1,
        999,
        1004,
        1005,
        1006,
        1015,
        1016,
        2999,
        5000,
        u16::MAX,
    ];
    violates(1002, &codes.map(|code| masked(CLOSE, &code.to_be_bytes())));
}

#[test]
fn a_close_reason_that_is_no_text() {
    violates(
        1007,
        &[
            masked(CLOSE, b"\x03\xe8\xff"),
            masked(CLOSE, b"\x03\xe8 \xc3"),
        ],
    );
}

#[test]
fn text_that_is_not_utf8() {
    let broken: [&[u8]; 6] = [
        b"\xff",
        b"\xc3\x28",
        // Overlong, a surrogate, beyond Unicode, and cut short.
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"x\xc3",
    ];
    violates(1007, &broken.map(|text| masked(TEXT, text)));
}

#[test]
fn text_that_is_not_utf8_across_fragments() {
    let broken: [&[&[u8]]; 3] = [
        &[b"\xc3", b"\x28"],
        &[b"\xe2\x82", b"", b"x"],
        &[b"ok", b"\xe2\x82"],
    ];
    let fragments = |parts: &&[&[u8]]| {
        let (last, first) = parts.split_last().unwrap();
        let mut bytes = Vec::new();
        for (number, payload) in first.iter().enumerate() {
            let kind = if number == 0 { TEXT } else { CONTINUATION };
            bytes.extend(part(masked(kind, payload)));
        }
        bytes.extend(masked(CONTINUATION, last));
        bytes
    };
    violates(1007, &broken.iter().map(fragments).collect::<Vec<_>>());
}

#[test]
fn a_character_split_between_fragments_is_no_violation() {
    let gateway = Gateway::start(&Config::open());
    let mut peer = Place::Plain.reach(&gateway);
    let text = "a\u{20ac}b".as_bytes();
    peer.write(&part(masked(TEXT, &text[..2]))).unwrap();
    peer.write(&part(masked(CONTINUATION, &text[2..3])))
        .unwrap();
    peer.send(CONTINUATION, &text[3..]);
    assert_eq!(peer.frame().expect("an echo").payload, text);
}

#[test]
fn a_length_that_nobody_has_is_refused_before_memory_is_taken_for_it() {
    let gateway = Gateway::start(&Config::open());
    let before = gateway.peak_memory();
    // The top bit is never set (section 5.2).
    for (length, code) in [
        (1_u64 << 30, 1009),
        (1 << 62, 1009),
        ((1 << 63) - 1, 1009),
        (1 << 63, 1002),
        (u64::MAX, 1002),
    ] {
        for place in Place::ALL {
            let mut peer = place.reach(&gateway);
            let mut header = vec![0x82, 0xff];
            header.extend(length.to_be_bytes());
            header.extend([1, 2, 3, 4]);
            peer.write(&header).unwrap();
            closed_alone(&mut peer, code);
        }
    }
    let taken = gateway.peak_memory() - before;
    assert!(taken < 64 << 20, "{taken} bytes");
}

#[test]
fn fragments_that_are_too_long_together() {
    let half = [0x55; 200 * 1024];
    let first = part(raw::binary(&half));
    violates(1009, &[[first, masked(CONTINUATION, &half)].concat()]);
}

#[test]
fn a_continuation_of_nothing() {
    let continuation = masked(CONTINUATION, b"x");
    violates(1002, &[continuation.clone(), part(continuation)]);
}

#[test]
fn a_message_within_a_message() {
    let first = part(raw::text("x"));
    let inside = [raw::text("y"), raw::binary(b"y"), part(raw::text("y"))];
    violates(1002, &inside.map(|second| [first.clone(), second].concat()));
}

fn impatient() -> Config {
    Config::open()
        .limit("message_timeout", "300ms")
        .echo_limit("message_timeout", "300ms")
}

#[test]
fn a_message_that_never_ends() {
    let gateway = Gateway::start(&impatient());
    let whole = raw::binary(&[0x55; 640]);
    // Within the header, within the payload, and between two fragments.
    for begun in [
        &whole[..1],
        &whole[..5],
        &whole[..100],
        &part(whole.clone()),
    ] {
        for place in [Place::Plain, Place::InTheStream] {
            let mut peer = place.reach(&gateway);
            peer.write(begun).unwrap();
            let reason = closed_alone(&mut peer, 1002);
            assert_eq!(reason, "message was not finished in time");
        }
    }
}

#[test]
fn endless_empty_fragments() {
    let gateway = Gateway::start(&impatient());
    for place in [Place::Plain, Place::InTheStream] {
        let mut peer = place.reach(&gateway);
        peer.write(&part(raw::text("x"))).unwrap();
        let mut writer = peer.writer();
        std::thread::scope(|scope| {
            let began = std::time::Instant::now();
            scope.spawn(move || {
                use std::io::Write as _;
                let empty = part(masked(CONTINUATION, b"")).repeat(1000);
                while writer.write_all(&empty).is_ok() {
                    assert!(began.elapsed() < DEADLINE, "they go on for ever");
                }
            });
            closed_alone(&mut peer, 1002);
            peer.writer().shutdown(Shutdown::Both).ok();
        });
    }
}

#[test]
fn many_pings_are_all_answered_in_order() {
    let gateway = Gateway::start(&Config::open());
    for place in Place::ALL {
        let mut peer = place.reach(&gateway);
        let mut writer = peer.writer();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                use std::io::Write as _;
                for number in 0..10_000_u32 {
                    writer
                        .write_all(&masked(PING, &number.to_be_bytes()))
                        .unwrap();
                }
            });
            for number in 0..10_000_u32 {
                let pong = peer.frame().expect("a Pong");
                assert_eq!(
                    (pong.opcode, &*pong.payload),
                    (PONG, &number.to_be_bytes()[..])
                );
            }
        });
    }
}

#[test]
fn pings_of_a_client_that_reads_no_pong_take_bounded_memory() {
    let config = Config::open()
        .limit("write_timeout", "500ms")
        .limit("handshake_timeout", "500ms")
        .echo_limit("write_timeout", "500ms");
    let gateway = Gateway::start(&config);
    let before = gateway.peak_memory();
    let pings = masked(PING, &[0x50; 125]).repeat(1000);
    for place in Place::ALL {
        let mut peer = place.reach(&gateway);
        // Until it is given up: without a bound this would never end.
        while peer.write(&pings).is_ok() {}
    }
    let taken = gateway.peak_memory() - before;
    assert!(taken < 64 << 20, "{taken} bytes");
}

#[test]
fn what_comes_behind_a_close_is_not_looked_at() {
    let gateway = Gateway::start(&Config::open());
    for place in Place::ALL {
        let mut peer = place.reach(&gateway);
        let mut bytes = masked(CLOSE, &[&3000_u16.to_be_bytes()[..], b"bye"].concat());
        bytes.extend(raw::text("more"));
        bytes.extend(masked(PING, b"more"));
        bytes.extend(masked(CLOSE, &1000_u16.to_be_bytes()));
        // No mask: it would be a violation.
        bytes.extend([0x81, 1, b'x']);
        peer.write(&bytes).unwrap();
        assert_eq!(closed_alone(&mut peer, 3000), "bye");
    }
}
