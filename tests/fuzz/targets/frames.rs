//! Bytes from a client, in pieces: the reader understands what a plain
//! reading of RFC 6455 understands, holds no more than its bound, and what it
//! understood comes out of the writer as it went in.
#![no_main]

use bytes::BytesMut;
use gateway::socket::cause::Cause;
use gateway::socket::close_message::CloseMessage;
use libfuzzer_sys::fuzz_target;
use wire::frame::{FrameReader, Message, ReadError, Violation};

use crate::model::End;

#[path = "frames/model.rs"]
mod model;
#[path = "frames/pipe.rs"]
mod pipe;
#[path = "frames/relay.rs"]
mod relay;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (cut, max_message, bytes) = input;
    let max_message = usize::from(max_message) * 2;
    let (messages, end) = read(bytes, cut, max_message);
    let (expected, expected_end) = model::read(bytes, max_message);
    assert_eq!(messages, expected);
    assert_eq!(end, expected_end);
    for message in &messages {
        relay::goes_through(message, cut);
    }
});

/// Reads to the end, as the stages do: nothing is read after a Close.
fn read(bytes: &[u8], cut: u8, max_message: usize) -> (Vec<Message>, End) {
    let mut reader =
        FrameReader::of_client(pipe::Pieces::new(bytes, cut), max_message, BytesMut::new());
    // A whole message, the frame of a Ping inside of it, and one piece.
    let bound = max_message + 14 + 125 + pipe::longest(cut);
    let mut messages = Vec::new();
    loop {
        let next = pipe::finish(|cx| {
            let polled = reader.poll_next(cx);
            assert!(
                reader.buffered() <= bound,
                "{} bytes held",
                reader.buffered()
            );
            polled
        });
        match next {
            Ok(Message::Close(close)) => {
                let code = close.as_ref().map(|close| close.code);
                assert!(code.is_none_or(model::may_be_sent), "{code:?} was taken");
                messages.push(Message::Close(close));
                return (messages, End::Closed);
            }
            Ok(message) => messages.push(message),
            Err(error) => return (messages, told(error)),
        }
    }
}

/// The end, once it is sure that the client is told its code and no other.
fn told(error: ReadError) -> End {
    let (end, code) = match &error {
        ReadError::Eof => return End::Eof,
        ReadError::Io(error) => panic!("a pipe in memory broke: {error}"),
        ReadError::Violation(Violation::Protocol(_)) => (End::Protocol, 1002),
        ReadError::Violation(Violation::NotUtf8) => (End::NotUtf8, 1007),
        ReadError::Violation(Violation::TooBig) => (End::TooBig, 1009),
        ReadError::Violation(Violation::Unfinished) => panic!("the reader has no clock"),
    };
    let close_message = CloseMessage::of(&Cause::from(error));
    assert_eq!(close_message.close_code(), code);
    // Violations of RFC 6455 get the Close alone.
    assert_eq!(close_message.error_frame("session"), None);
    end
}
