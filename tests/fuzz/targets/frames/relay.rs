//! A message that was read, written to the other side and read there.

use bytes::BytesMut;
use tokio_tungstenite::tungstenite::protocol::frame::FrameSocket;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use wire::frame::{FrameReader, FrameWriter, Message};

use crate::pipe::{Pieces, Sink, finish};

/// Asserts that `message` is the same behind the gateway, towards a client (as
/// tungstenite reads it) and towards a server (as another gateway reads it).
pub fn goes_through(message: &Message, cut: u8) {
    let (opcode, payload) = match message {
        Message::Text(payload) => (OpCode::Data(Data::Text), payload),
        Message::Binary(payload) => (OpCode::Data(Data::Binary), payload),
        // A Ping comes back as a Pong with the same payload.
        Message::Ping(payload) => (OpCode::Control(Control::Pong), payload),
        Message::Pong(_) | Message::Close(_) => return,
    };

    let mut to_client = Sink::new(cut);
    write(FrameWriter::new(&mut to_client), message);
    let frame = FrameSocket::new(&to_client.taken[..])
        .read(None)
        .expect("the frame is sound")
        .expect("the frame is whole");
    assert!(frame.header().is_final && frame.header().mask.is_none());
    assert_eq!(frame.header().opcode, opcode);
    assert_eq!(frame.payload(), &payload[..]);
    assert_eq!(frame.len(), to_client.taken.len());
    assert_eq!(
        read_back(FrameReader::of_server(
            Pieces::new(&to_client.taken, cut),
            payload.len(),
            BytesMut::new(),
        )),
        answer(message)
    );

    let mut to_server = Sink::new(cut);
    write(FrameWriter::to_server(&mut to_server), message);
    let reader = FrameReader::of_client(
        Pieces::new(&to_server.taken, cut),
        payload.len(),
        BytesMut::new(),
    );
    assert_eq!(read_back(reader), answer(message));
}

fn answer(message: &Message) -> Message {
    match message {
        Message::Ping(payload) => Message::Pong(payload.clone()),
        message => message.clone(),
    }
}

fn write(mut writer: FrameWriter<&mut Sink>, message: &Message) {
    match message {
        Message::Text(payload) => writer.text(payload),
        Message::Binary(payload) => writer.binary(payload),
        Message::Ping(payload) => writer.pong(payload),
        Message::Pong(_) | Message::Close(_) => {}
    }
    finish(|cx| writer.poll_flush(cx)).expect("a sink in memory takes everything");
    assert_eq!(writer.queued(), 0);
}

fn read_back(mut reader: FrameReader<Pieces<'_>>) -> Message {
    let message = finish(|cx| reader.poll_next(cx)).expect("what was written can be read");
    assert_eq!(reader.buffered(), 0);
    message
}
