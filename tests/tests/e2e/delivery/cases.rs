//! Everything that may end a connection, and what its client must read.

use serde_json::json;
use sluice_tests::client::{handshake, meeting};
use sluice_tests::raw;
use sluice_tests::token::{self, claims_with, now};
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::World;
use super::victim::Company;

pub struct Case {
    /// Code of the error frame, or another unique name.
    pub name: &'static str,
    pub code: u16,
    pub last_message: LastMessage,
    pub path: fn(usize) -> String,
    /// Lines of the request's head.
    pub headers: &'static str,
    pub stage: Stage,
    pub end: End,
}

/// Message before the Close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastMessage {
    /// An error frame whose code is the case's name.
    Error,
    /// A status which is the case's name.
    Status,
    /// Nothing: framing is lost.
    Nothing,
}

/// How far a client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is upgraded.
    Connect,
    /// Its messages are read.
    Handshake,
    /// It is acknowledged.
    Stream,
}

/// What ends a connection.
pub enum End {
    /// What the client sends, at once and before its flood; it reads nothing
    /// before.
    Sent(fn(usize) -> Vec<u8>),
    /// What comes with time, or from somebody else, after the client has sent
    /// this. The client has read its replies, and reads nothing more.
    Comes(fn(usize) -> Vec<u8>, fn(&World, usize) -> Option<Company>),
}

/// A path that a token opens.
pub fn path(route: &str, number: usize) -> String {
    format!("/{route}/m{number}?token={}", token::good())
}

/// A path on which somebody streams; no other case has its meeting.
pub fn taken() -> String {
    path("single", super::CLIENTS)
}

fn nothing(_: usize) -> Vec<u8> {
    Vec::new()
}

fn alone(_: &World, _: usize) -> Option<Company> {
    None
}

/// A refusal that the upgrade request alone brings about.
const fn refused(name: &'static str, code: u16, path: fn(usize) -> String) -> Case {
    Case {
        name,
        code,
        last_message: LastMessage::Error,
        path,
        headers: "",
        stage: Stage::Connect,
        end: End::Sent(nothing),
    }
}

/// An end that comes after the upgrade.
const fn ended(
    name: &'static str,
    code: u16,
    stage: Stage,
    path: fn(usize) -> String,
    end: End,
) -> Case {
    let last_message = LastMessage::Error;
    let headers = "";
    Case {
        name,
        code,
        last_message,
        path,
        headers,
        stage,
        end,
    }
}

/// The Close alone.
const fn violated(name: &'static str, code: u16, path: fn(usize) -> String, end: End) -> Case {
    let case = ended(name, code, Stage::Stream, path, end);
    Case {
        last_message: LastMessage::Nothing,
        ..case
    }
}

/// Refusals whose timings nobody can set, or nobody did: where there is no route, and of the main
/// job's own.
pub fn by_default() -> [Case; 2] {
    [
        refused("not_found", 4004, |_| "/nowhere".to_owned()),
        refused("auth_failed", 4001, |number| {
            meeting(&format!("m{number}"), "mic", "nonsense")
        }),
    ]
}

pub fn overloaded() -> Case {
    refused("overloaded", 1013, |number| format!("/open/m{number}"))
}

pub fn draining() -> Case {
    refused("draining", 1001, |number| format!("/open/m{number}"))
}

/// The gateway ends while clients stream.
pub fn ending() -> Case {
    let stops = |world: &World, _| {
        if world.together.wait().is_leader() {
            world.gateway.signal(rustix::process::Signal::TERM);
        }
        None
    };
    let path = |number| format!("/open/m{number}");
    ended(
        "draining",
        1001,
        Stage::Stream,
        path,
        End::Comes(nothing, stops),
    )
}

/// All that can happen to clients of one gateway. Those that take time first.
pub fn usual() -> Vec<Case> {
    let open = |number| format!("/open/m{number}");
    vec![
        ended(
            "token_expired",
            4010,
            Stage::Stream,
            |number| {
                let token = token::sign(&claims_with(json!({"exp": now() + 3})));
                format!("/auth/m{number}?token={token}")
            },
            End::Comes(nothing, alone),
        ),
        ended(
            "idle_timeout",
            4008,
            Stage::Stream,
            |number| format!("/idle/m{number}"),
            End::Comes(nothing, alone),
        ),
        ended(
            "handshake_timeout",
            4000,
            Stage::Handshake,
            |number| format!("/late/m{number}"),
            End::Comes(nothing, alone),
        ),
        violated(
            "unfinished",
            1002,
            |number| format!("/unfinished/m{number}"),
            End::Comes(unfinished, alone),
        ),
        ended(
            "superseded",
            4003,
            Stage::Stream,
            takeover,
            End::Comes(nothing, |world, number| {
                Some(Company::streaming(world, &takeover(number)))
            }),
        ),
        ended(
            "stream_limit",
            4009,
            Stage::Stream,
            |number| format!("/brief/m{number}"),
            End::Comes(nothing, alone),
        ),
        refused("resume_refused", 4011, |number| {
            format!("/open/m{number}?resume=leads-nowhere")
        }),
        refused("no", 4321, |number| format!("/own/m{number}")),
        refused("auth_failed", 4001, |number| {
            format!("/auth/m{number}?token=nonsense")
        }),
        refused("ingest_exists", 4002, |_| taken()),
        refused("policy_failed", 4007, |number| format!("/trap/m{number}")),
        refused("rate_limited", 1013, |_| "/limited/m0".to_owned()),
        Case {
            headers: "Origin: https://example.org\r\n",
            ..refused("policy_denied", 4005, open)
        },
        ended(
            "handshake_invalid",
            4000,
            Stage::Handshake,
            open,
            End::Sent(|_| raw::binary(&[0; 640])),
        ),
        ended(
            "invalid_sample_rate",
            4000,
            Stage::Handshake,
            |number| format!("/strict/m{number}"),
            End::Sent(|_| raw::text(&handshake().to_string().replace("16000", "8000"))),
        ),
        ended(
            "upstream_unavailable",
            4006,
            Stage::Handshake,
            |number| format!("/closed/m{number}"),
            End::Sent(|_| shake()),
        ),
        ended(
            "upstream_unavailable",
            4006,
            Stage::Stream,
            |number| format!("/lost/m{number}"),
            End::Sent(|_| raw::binary(&[0; 640])),
        ),
        ended(
            "internal_error",
            4000,
            Stage::Handshake,
            |number| format!("/bug/m{number}"),
            End::Sent(|_| shake()),
        ),
        Case {
            last_message: LastMessage::Status,
            ..ended(
                "finalized",
                1000,
                Stage::Stream,
                open,
                End::Sent(|_| raw::text(r#"{"type":"finalize"}"#)),
            )
        },
        violated("protocol error", 1002, open, End::Sent(protocol_error)),
        violated("not UTF-8", 1007, open, End::Sent(not_utf8)),
        violated("too big", 1009, open, End::Sent(too_big)),
    ]
}

fn takeover(number: usize) -> String {
    path("takeover", number)
}

pub fn shake() -> Vec<u8> {
    raw::text(&handshake().to_string())
}

/// A message whose end does not come.
fn unfinished(_: usize) -> Vec<u8> {
    let mut message = raw::binary(&[0; 640]);
    message.truncate(100);
    message
}

/// In a message, in one of fragments, and in the reason of a Close.
fn not_utf8(number: usize) -> Vec<u8> {
    let text = OpCode::Data(Data::Text);
    let mut begun = raw::masked(text, b"\xc3");
    begun[0] = 0x01;
    let kinds = [
        raw::masked(text, b"\xc3\x28"),
        [begun, raw::masked(OpCode::Data(Data::Continue), b"\x28")].concat(),
        raw::masked(OpCode::Control(Control::Close), b"\x03\xe8\xc3\x28"),
    ];
    kinds[number % kinds.len()].clone()
}

/// In a frame, over fragments, and by a length that nobody will ever send.
fn too_big(number: usize) -> Vec<u8> {
    let mut begun = raw::binary(&[0; 200 * 1024]);
    begun[0] = 0x02;
    let more = raw::masked(OpCode::Data(Data::Continue), &[0; 60 * 1024]);
    let endless = [&[0x82, 0xff][..], &(1_u64 << 62).to_be_bytes(), &[0; 4]].concat();
    let kinds = [
        raw::binary(&[0; 256 * 1024 + 1]),
        [begun, more].concat(),
        endless,
    ];
    kinds[number % kinds.len()].clone()
}

/// Every kind of them in turn.
fn protocol_error(number: usize) -> Vec<u8> {
    let first = |mut frame: Vec<u8>, byte: u8| {
        frame[0] = byte;
        frame
    };
    let text = || raw::text("x");
    let control = |kind, payload: &[u8]| raw::masked(OpCode::Control(kind), payload);
    let kinds = [
        vec![0x81, 1, b'x'],
        first(text(), 0xc1),
        first(text(), 0xa1),
        first(text(), 0x91),
        first(text(), 0x83),
        first(text(), 0x8b),
        first(control(Control::Ping, b"x"), 0x09),
        control(Control::Ping, &[0; 126]),
        control(Control::Close, &[3]),
        control(Control::Close, &1005_u16.to_be_bytes()),
        raw::masked(OpCode::Data(Data::Continue), b"x"),
        [first(text(), 0x01), text()].concat(),
    ];
    kinds[number % kinds.len()].clone()
}
