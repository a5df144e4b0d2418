use tokio::time::Instant;

use super::*;

const FINALIZED: &str = r#"{"type":"status","status":"finalized","bytes":4000,"duration_ms":125}"#;

#[tokio::test]
async fn audio_arrives_byte_for_byte_and_is_confirmed() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        let handshake = gateway.hear_json().await;
        gateway.say(ACK).await;
        let audio = gateway.hear_audio().await;
        gateway.say(FINALIZED).await;
        gateway.close(1000, "finalized").await;
        (handshake, audio, gateway.drain().await)
    })
    .await;
    let recording = Recording::new(SAMPLES);
    let outcome = fast(&target, &recording).await;
    assert_eq!(outcome.to_string(), "finalized: 4000 bytes, 0.1 s");
    assert_eq!(outcome.exit_code(), 0);
    let (handshake, audio, rest) = gateway.await.unwrap();
    assert_eq!(audio, recording.pcm());
    assert_eq!(handshake["type"], "handshake");
    assert_eq!(handshake["sample_rate"], 16_000);
    assert_eq!(handshake["channels"], 1);
    assert_eq!(handshake["codec"], "pcm_s16le");
    assert_eq!(handshake.get("features"), None, "nothing that is not known");
    assert!(
        handshake["device_id"]
            .as_str()
            .is_some_and(|id| !id.is_empty())
    );
    assert!(
        matches!(rest.as_slice(), [Message::Close(Some(_))]),
        "the Close is answered: {rest:?}"
    );
}

#[tokio::test]
async fn nothing_is_sent_before_the_ack() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway.hear_json().await;
        // A ping and its pong prove that the client is past the handshake.
        gateway.say(r#"{"type":"ping"}"#).await;
        let next = gateway.hear_json().await;
        gateway.say(ERROR).await;
        gateway.close(4001, "auth failed: token expired").await;
        let rest = gateway.drain().await;
        (next, rest)
    })
    .await;
    fast(&target, &Recording::new(SAMPLES)).await;
    let (next, rest) = gateway.await.unwrap();
    assert_eq!(next["type"], "pong");
    assert!(rest.iter().all(Message::is_close), "{rest:?}");
}

#[tokio::test]
async fn pings_are_answered_in_mid_stream_and_while_waiting_for_the_end() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway.hear_json().await;
        gateway.say(ACK).await;
        gateway.say(r#"{"type":"ping"}"#).await;
        let mut pongs = 0;
        loop {
            match gateway.hear().await {
                Message::Binary(_) => {}
                message if message.to_text().unwrap().contains("pong") => pongs += 1,
                _ => break,
            }
        }
        gateway.say(r#"{"type":"ping"}"#).await;
        // The first may have been overtaken by `finalize`.
        while pongs < 2 {
            assert_eq!(gateway.hear_json().await["type"], "pong");
            pongs += 1;
        }
        gateway.say(FINALIZED).await;
        gateway.close(1000, "").await;
        gateway.drain().await
    })
    .await;
    let outcome = fast(&target, &Recording::new(SAMPLES)).await;
    assert_eq!(outcome.exit_code(), 0, "{outcome}");
    gateway.await.unwrap();
}

#[tokio::test]
async fn messages_of_unknown_types_are_passed_over() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway.hear_json().await;
        for noise in [
            "not JSON",
            "[]",
            r#"{"type":5}"#,
            r#"{"type":"weather"}"#,
            ACK,
            r#"{"type":"pong"}"#,
        ] {
            gateway.say(noise).await;
        }
        gateway.hear_audio().await;
        gateway.say(r#"{"type":"status","status":"paused"}"#).await;
        gateway.say(FINALIZED).await;
        gateway.close(1000, "").await;
        gateway.drain().await
    })
    .await;
    let outcome = fast(&target, &Recording::new(SAMPLES)).await;
    assert_eq!(outcome.exit_code(), 0, "{outcome}");
    gateway.await.unwrap();
}

#[tokio::test]
async fn the_token_travels_in_the_header_and_the_source_in_the_query() {
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
    let (address, accepting) = listen().await;
    let serving = tokio::spawn(async move {
        let mut seen = None;
        #[expect(clippy::result_large_err, reason = "tungstenite's signature")]
        let note = |request: &Request, response: Response| {
            let token = request.headers().get("authorization").cloned();
            seen = Some((request.uri().to_string(), token));
            Ok(response)
        };
        let stream = accepting.await.unwrap();
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, note)
            .await
            .unwrap();
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
        seen.unwrap()
    });
    let token: BearerToken = " abc.def.ghi\n".parse().unwrap();
    let target = target(address).with_source("sys");
    let audio = Recording::new(1).audio();
    let tokens = TokenSource::Given(token).into();
    stream(&target, tokens, audio, PLAIN, &mut Progress::Silent).await;
    let (uri, header) = serving.await.unwrap();
    assert_eq!(uri, "/ws/ingest/meetings/m1?source=sys");
    assert_eq!(header.unwrap(), "Bearer abc.def.ghi");
}

/// The one test of time: with a paused clock, so that it is exact.
#[tokio::test(start_paused = true)]
async fn real_time_sends_a_chunk_each_tenth_of_a_second() {
    use futures_util::{future, sink, stream};
    let started = Instant::now();
    let (sent, mut log) = tokio::sync::mpsc::unbounded_channel();
    let sink = Box::pin(sink::unfold((), move |(), message: Message| {
        sent.send((started.elapsed().as_millis(), message)).unwrap();
        future::ok::<_, tokio_tungstenite::tungstenite::Error>(())
    }));
    // The ack, and then nothing.
    let stream = stream::iter([Ok(Message::text(ACK))]).chain(stream::pending());
    let recording = Recording::new(4000);
    let manner = Manner {
        pace: SendPace::RealTime,
        ..PLAIN
    };
    let mut upload = upload::Upload::new(recording.audio(), manner, Arc::default());
    let outcome = conversation::run(sink, stream, &mut upload, &mut Progress::Silent).await;
    assert_eq!(outcome.exit_code(), 4, "{outcome}");
    assert!(
        outcome.to_string().contains("did not confirm within 60 s"),
        "{outcome}"
    );
    let mut sizes = Vec::new();
    while let Ok((at, message)) = log.try_recv() {
        if let Message::Binary(bytes) = message {
            sizes.push((at, bytes.len()));
        }
    }
    assert_eq!(sizes, [(0, 3200), (100, 3200), (200, 1600)]);
}
