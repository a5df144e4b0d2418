use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[track_caller]
fn refusal(outcome: &StreamOutcome) -> &GatewayRefusal {
    assert_eq!(outcome.exit_code(), 3, "{outcome}");
    match outcome {
        StreamOutcome::Refused(refusal) => refusal,
        _ => panic!("{outcome}"),
    }
}

#[tokio::test]
async fn a_refusal_shows_the_error_frame_and_the_close() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway.say(ERROR).await;
        gateway.close(4001, "auth failed: token expired").await;
        gateway.drain().await
    })
    .await;
    let outcome = fast(&target, &Recording::new(SAMPLES)).await;
    assert_eq!(refusal(&outcome).error.as_deref(), Some(ERROR));
    let shown = outcome.to_string();
    assert!(shown.contains(r#"  "code": "auth_failed","#), "{shown}");
    assert!(
        shown.ends_with("closed by the gateway: 4001 auth failed: token expired"),
        "{shown}"
    );
    gateway.await.unwrap();
}

#[tokio::test]
async fn a_refusal_in_mid_stream_is_seen_at_once() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway.hear_json().await;
        gateway.say(ACK).await;
        assert!(gateway.hear().await.is_binary());
        gateway.say(ERROR).await;
        gateway.close(4003, "superseded").await;
        gateway.drain().await
    })
    .await;
    // An hour in real time: it ends long before, or this test never does.
    let recording = Recording::new(16_000 * 3600);
    let manner = Manner {
        pace: SendPace::RealTime,
        ..PLAIN
    };
    let audio = recording.audio();
    let outcome = stream(
        &target,
        Tokens::default(),
        audio,
        manner,
        &mut Progress::Silent,
    )
    .await;
    let close = refusal(&outcome).close.as_ref().unwrap();
    assert_eq!(
        (close.code, close.reason.as_str()),
        (Some(4003), "superseded")
    );
    assert!(gateway.await.unwrap().len() < 100, "it went on sending");
}

#[tokio::test]
async fn a_refusal_is_seen_by_a_client_whose_audio_nobody_reads() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway.hear_json().await;
        gateway.say(ACK).await;
        assert!(gateway.hear().await.is_binary());
        gateway.say(ERROR).await;
        gateway.close(4009, "stream limit").await;
        gateway
    })
    .await;
    // Far more than the buffers between the two can hold.
    let recording = Recording::new(8_000_000);
    let outcome = fast(&target, &recording).await;
    assert_eq!(refusal(&outcome).close.as_ref().unwrap().code, Some(4009));
    drop(gateway.await.unwrap());
}

#[tokio::test]
async fn a_close_alone_is_a_refusal() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway.hear_json().await;
        gateway.say(ACK).await;
        gateway.close(1009, "").await;
        gateway.drain().await
    })
    .await;
    let outcome = fast(&target, &Recording::new(SAMPLES)).await;
    assert_eq!(refusal(&outcome).error, None);
    assert_eq!(
        outcome.to_string().trim_end(),
        "closed by the gateway: 1009"
    );
    gateway.await.unwrap();
}

#[tokio::test]
async fn an_error_instead_of_the_last_close_is_a_refusal() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway.hear_json().await;
        gateway.say(ACK).await;
        gateway.hear_audio().await;
        gateway
            .say(r#"{"type":"status","status":"finalized","bytes":4000,"duration_ms":125}"#)
            .await;
        gateway.say(ERROR).await;
        gateway.close(4006, "").await;
        gateway.drain().await
    })
    .await;
    refusal(&fast(&target, &Recording::new(SAMPLES)).await);
    gateway.await.unwrap();
}

#[tokio::test]
async fn an_error_without_a_close_says_so() {
    let (target, gateway) =
        gateway(|mut gateway: Gateway| async move { gateway.say(ERROR).await }).await;
    let outcome = fast(&target, &Recording::new(SAMPLES)).await;
    assert_eq!(refusal(&outcome).close, None);
    assert!(
        outcome.to_string().contains("without a Close frame"),
        "{outcome}"
    );
    gateway.await.unwrap();
}

#[tokio::test]
async fn an_end_without_a_word_is_a_lost_connection() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway.hear_json().await;
        gateway.say(ACK).await;
    })
    .await;
    let outcome = fast(&target, &Recording::new(SAMPLES)).await;
    assert_eq!(outcome.exit_code(), 4, "{outcome}");
    gateway.await.unwrap();
}

#[tokio::test]
async fn nobody_listening_is_named() {
    let (address, accepting) = listen().await;
    accepting.abort();
    assert!(accepting.await.unwrap_err().is_cancelled());
    let outcome = fast(&target(address), &Recording::new(SAMPLES)).await;
    assert_eq!(outcome.exit_code(), 4);
    let shown = outcome.to_string();
    assert!(
        shown.contains(&address.to_string()) && shown.contains("refused"),
        "{shown}"
    );
}

#[tokio::test]
async fn an_http_answer_is_shown_with_its_status() {
    let (address, accepting) = listen().await;
    let serving = tokio::spawn(async move {
        let mut stream = accepting.await.unwrap();
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot here\n";
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap()
    });
    let outcome = fast(&target(address), &Recording::new(SAMPLES)).await;
    assert_eq!(outcome.exit_code(), 4);
    assert!(
        outcome.to_string().contains("HTTP 404 Not Found"),
        "{outcome}"
    );
    drop(outcome);
    serving.await.unwrap();
}

#[tokio::test]
async fn what_a_gateway_says_cannot_move_the_cursor() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway
            .say("{\"type\":\"error\",\"message\":\"\\u001b[2Jx\u{9b}31m\"}")
            .await;
        gateway.close(4005, "\u{1b}[31mred").await;
        gateway.drain().await
    })
    .await;
    let shown = fast(&target, &Recording::new(SAMPLES)).await.to_string();
    assert!(
        !shown.chars().any(|c| c.is_control() && c != '\n'),
        "{shown:?}"
    );
    gateway.await.unwrap();
}

#[tokio::test]
async fn a_file_that_breaks_off_is_a_local_error() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        gateway.hear_json().await;
        gateway.say(ACK).await;
        gateway.drain().await
    })
    .await;
    let recording = Recording::new(SAMPLES);
    let whole = std::fs::read(&recording.path).unwrap();
    let outcome = fast(&target, &Recording::of_bytes(&whole[..3000])).await;
    assert_eq!(outcome.exit_code(), 1, "{outcome}");
    assert!(
        outcome.to_string().contains("breaks off in the middle"),
        "{outcome}"
    );
    let rest = gateway.await.unwrap();
    assert!(
        rest.last().is_some_and(Message::is_close),
        "the gateway is told: {rest:?}"
    );
}
