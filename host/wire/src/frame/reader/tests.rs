use std::future::poll_fn;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const MAX: usize = 1000;

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = FrameHeader {
        mask: Some([1, 2, 3, 4]),
        ..FrameHeader::default()
    };
    header.is_final = first & 0x80 != 0;
    header.opcode = OpCode::from(first & 0x0f);
    let mut bytes = Vec::new();
    header.format(payload.len() as u64, &mut bytes).unwrap();
    bytes[0] |= first & 0x70;
    let mut masked = payload.to_vec();
    apply_mask(&mut masked, [1, 2, 3, 4]);
    bytes.extend(masked);
    bytes
}

/// A frame whose length is written in more bytes than it needs.
fn longer(form: u8, length: u64, payload: &[u8]) -> Vec<u8> {
    let wide = length.to_be_bytes();
    let extra = if form == 126 { &wide[6..] } else { &wide[..] };
    [&[0x82, 0x80 | form], extra, &[0; 4], payload].concat()
}

async fn read(bytes: &[u8]) -> (Result<Message, ReadError>, FrameReader<DuplexStream>) {
    let (mut client, host) = duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    drop(client);
    let mut reader = FrameReader::of_client(host, MAX, BytesMut::new());
    let message = poll_fn(|cx| reader.poll_next(cx)).await;
    (message, reader)
}

async fn violation(bytes: &[u8]) -> Violation {
    match read(bytes).await.0 {
        Err(ReadError::Violation(violation)) => violation,
        other => panic!("{other:?}"),
    }
}

fn protocol(violation: Violation) -> bool {
    matches!(violation, Violation::Protocol(_))
}

#[tokio::test]
async fn a_message_is_whole_wherever_the_bytes_are_cut() {
    let text = "grüße";
    let mut bytes = frame(0x01, &text.as_bytes()[..3]);
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x80, &text.as_bytes()[3..]));
    for chunk in 1..bytes.len() {
        let (mut client, host) = duplex(chunk);
        let bytes = bytes.clone();
        let writing = tokio::spawn(async move {
            for part in bytes.chunks(chunk) {
                client.write_all(part).await.unwrap();
            }
            client
        });
        let mut reader = FrameReader::of_client(host, MAX, BytesMut::new());
        let first = poll_fn(|cx| reader.poll_next(cx)).await.unwrap();
        assert_eq!(first, Message::Ping(Bytes::from_static(b"ping")));
        assert!(reader.unfinished_since().is_some());
        let second = poll_fn(|cx| reader.poll_next(cx)).await.unwrap();
        assert_eq!(second, Message::Text(Bytes::from_static(text.as_bytes())));
        assert!(reader.unfinished_since().is_none());
        writing.await.unwrap();
    }
}

#[tokio::test]
async fn what_rfc_6455_forbids_is_a_protocol_error() {
    let mut unmasked = Vec::new();
    FrameHeader::default().format(0, &mut unmasked).unwrap();
    let cases = [
        ("no mask", unmasked),
        ("rsv1", frame(0xc1, b"x")),
        ("rsv2", frame(0xa1, b"x")),
        ("rsv3", frame(0x91, b"x")),
        ("opcode 3", frame(0x83, b"x")),
        ("opcode 11", frame(0x8b, b"x")),
        ("fragmented ping", frame(0x09, b"x")),
        ("long ping", frame(0x89, &[0; 126])),
        ("continuation of nothing", frame(0x80, b"x")),
        (
            "message in a message",
            [frame(0x01, b"x"), frame(0x81, b"x")].concat(),
        ),
        ("2 bytes for a length of 5", longer(126, 5, b"hello")),
        ("8 bytes for a length of 5", longer(127, 5, b"hello")),
        ("8 bytes for a length of 200", longer(127, 200, &[0; 200])),
        ("close of one byte", frame(0x88, &[3])),
        ("close 1005", frame(0x88, &1005u16.to_be_bytes())),
        ("close 999", frame(0x88, &999u16.to_be_bytes())),
        ("close 5000", frame(0x88, &5000u16.to_be_bytes())),
    ];
    for (name, bytes) in cases {
        assert!(protocol(violation(&bytes).await), "{name}");
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused_as_soon_as_it_is_known() {
    assert_eq!(violation(&frame(0x81, &[0xff])).await, Violation::NotUtf8);
    assert_eq!(violation(&frame(0x01, &[0xff])).await, Violation::NotUtf8);
    assert_eq!(
        violation(&frame(0x81, "ü".as_bytes().split_last().unwrap().1)).await,
        Violation::NotUtf8
    );
    let reason = [&1000u16.to_be_bytes()[..], &[0xff]].concat();
    assert_eq!(violation(&frame(0x88, &reason)).await, Violation::NotUtf8);
    let split = [frame(0x01, &[0xc3]), frame(0x80, &[0xbc])].concat();
    assert_eq!(
        read(&split).await.0.unwrap(),
        Message::Text(Bytes::from_static("ü".as_bytes()))
    );
}

#[tokio::test]
async fn a_length_beyond_the_bound_is_refused_before_its_payload_is_there() {
    let mut huge = vec![0x82, 0xff];
    huge.extend((1u64 << 62).to_be_bytes());
    huge.extend([0; 4]);
    let (message, reader) = read(&huge).await;
    assert!(matches!(
        message,
        Err(ReadError::Violation(Violation::TooBig))
    ));
    assert!(reader.received.capacity() < 100);
    let fits = [frame(0x02, &[0; MAX - 1]), frame(0x80, &[0; 1])].concat();
    assert!(read(&fits).await.0.is_ok());
    let fragments = [frame(0x02, &[0; MAX]), frame(0x80, &[0; 1])].concat();
    assert_eq!(violation(&fragments).await, Violation::TooBig);
}

#[tokio::test]
async fn an_idle_reader_holds_no_buffer() {
    let (message, reader) = read(&frame(0x82, &[7; 500])).await;
    assert_eq!(message.unwrap(), Message::Binary(vec![7; 500].into()));
    assert_eq!(reader.received.capacity(), 0);
}

#[tokio::test]
async fn a_servers_frames_are_read_unmasked_beginning_with_what_came_with_its_answer() {
    let (mut server, host) = duplex(1 << 20);
    let early = BytesMut::from(&b"\x81\x05hel"[..]);
    server.write_all(b"lo\x81\x80\0\0\0\0").await.unwrap();
    let mut reader = FrameReader::of_server(host, MAX, early);
    let message = poll_fn(|cx| reader.poll_next(cx)).await.unwrap();
    assert_eq!(message, Message::Text(Bytes::from_static(b"hello")));
    let masked = poll_fn(|cx| reader.poll_next(cx)).await.unwrap_err();
    assert!(matches!(masked, ReadError::Violation(violation) if protocol(violation)));
}
