use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::Instant;

use crate::routes::Routes;
use crate::routes::testing::{connect, gateway, request, routes};
use base::limits::Limits;
use upstream::echo::Echo;

const MESSAGE: usize = 500;

/// A client's message, masked with zeros.
fn message() -> Vec<u8> {
    let mut frame = vec![0x82, 0x80 | 126, 0x01, 0xf4, 0, 0, 0, 0];
    frame.extend([7; MESSAGE]);
    frame
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_more_than_its_rate_is_read_at_that_rate_and_loses_nothing() {
    let limits = Limits {
        max_rate: Some(1000),
        ..Limits::default()
    };
    let gateway = gateway(
        routes(&Routes::default(), limits.clone(), Echo),
        Limits::default(),
    );
    let (mut client, server) = duplex(64 * 1024);
    connect(&gateway, server).await;
    client
        .write_all(request("/stream").as_bytes())
        .await
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let began = Instant::now();
    client.write_all(&message().repeat(6)).await.unwrap();
    let mut echoed = vec![0; 6 * (4 + MESSAGE)];
    client.read_exact(&mut echoed).await.unwrap();
    for frame in echoed.chunks(4 + MESSAGE) {
        assert_eq!(frame[..4], [0x82, 126, 0x01, 0xf4]);
        assert!(frame[4..].iter().all(|byte| *byte == 7));
    }
    // Of 3,000 bytes 1,000 may come at once, and the last message may begin before its time.
    let took = began.elapsed();
    let expected = Duration::from_millis(1500)..Duration::from_millis(1600);
    assert!(expected.contains(&took), "{took:?}");
}
