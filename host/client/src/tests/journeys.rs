//! Streams over several connections, with a clock that is paused: the pipes
//! are in memory, so that nothing is waited for but time itself.

use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;

const ASKING: Manner = Manner {
    pace: SendPace::Unbounded,
    features: RequestedFeatures::Asked,
    retry_for: Duration::from_mins(1),
};
const FINALIZED: &str = r#"{"type":"status","status":"finalized","bytes":4000,"duration_ms":125}"#;

/// A connection, as the gateway sees it.
struct Call {
    gateway: Gateway<DuplexStream>,
    /// What its client came back with.
    resume: Option<String>,
    at: Instant,
}

type Calls = mpsc::UnboundedReceiver<Call>;

impl Call {
    /// Takes the handshake, and the stream.
    async fn takes(&mut self, token: &str, from_bytes: Option<usize>) {
        let handshake = self.gateway.hear_json().await;
        assert_eq!(handshake["features"], serde_json::json!(["ack", "resume"]));
        let ack = serde_json::json!({
            "type": "handshake-ack", "ok": true, "status": "ready", "session_id": "s-1",
            "features": ["ack", "resume"], "resume_token": token, "from_bytes": from_bytes,
        });
        self.gateway.say(&ack.to_string()).await;
    }

    async fn keeps(&mut self, bytes: usize) {
        let ack = format!(r#"{{"type":"ack","bytes":{bytes}}}"#);
        self.gateway.say(&ack).await;
    }

    /// Refuses with an error frame.
    async fn refuses(mut self, code: u16, retryable: bool, after: Option<u64>) {
        self.gateway.hear_json().await;
        let frame = serde_json::json!({
            "type": "error", "close_code": code, "retryable": retryable, "retry_after_ms": after,
        });
        self.gateway.say(&frame.to_string()).await;
        self.gateway.close(code, "no").await;
        self.gateway.drain().await;
    }

    async fn finalizes(mut self) {
        self.gateway.say(FINALIZED).await;
        self.gateway.close(1000, "finalized").await;
        self.gateway.drain().await;
    }
}

/// Streams to a gateway that answers its calls as `script` says, and nobody
/// after it.
async fn journey<F, T>(
    recording: &Recording,
    manner: Manner,
    script: impl FnOnce(Calls) -> F,
) -> (StreamOutcome, T)
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let (calling, calls) = mpsc::unbounded_channel();
    let gateway = tokio::spawn(script(calls));
    let dial = async move |resume: Option<&ResumeToken>| {
        let nobody = || StreamOutcome::Lost(anyhow::anyhow!("nobody is there"));
        let target: Target = "ws://gateway/m".parse().unwrap();
        let request = target.request(None, resume).unwrap();
        let token = request.headers().get("x-sluice-resume");
        let resume = token.map(|token| token.to_str().unwrap().to_owned());
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (client, server) = tokio::join!(
            tokio_tungstenite::client_async(request, near),
            tokio_tungstenite::accept_async(far)
        );
        let call = Call {
            gateway: Gateway(server.unwrap()),
            resume,
            at: Instant::now(),
        };
        calling.send(call).map_err(|_| nobody())?;
        Ok(client.unwrap().0)
    };
    let audio = recording.audio();
    let outcome = journey::run(dial, audio, manner, Arc::default(), &mut Progress::Silent).await;
    (outcome, gateway.await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_goes_on_from_the_byte_that_the_gateway_names() {
    let recording = Recording::new(SAMPLES);
    let pcm = recording.pcm();
    let (outcome, audio) = journey(&recording, ASKING, |mut calls| async move {
        let mut first = calls.recv().await.unwrap();
        assert_eq!(first.resume, None);
        first.takes("t-1", None).await;
        let mut audio = first.gateway.hear().await.into_data().to_vec();
        first.keeps(1500).await;
        drop(first);
        // In the middle of a sample: a byte is a byte.
        audio.truncate(1601);
        let mut second = calls.recv().await.unwrap();
        assert_eq!(second.resume.as_deref(), Some("t-1"));
        second.takes("t-2", Some(1601)).await;
        audio.extend(second.gateway.hear().await.into_data());
        drop(second);
        let mut third = calls.recv().await.unwrap();
        assert_eq!(
            third.resume.as_deref(),
            Some("t-2"),
            "the token is the last one"
        );
        third.takes("t-3", Some(audio.len())).await;
        audio.extend(third.gateway.hear_audio().await);
        third.finalizes().await;
        audio
    })
    .await;
    assert_eq!(outcome.to_string(), "finalized: 4000 bytes, 0.1 s");
    assert!(audio == pcm);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_heard_no_ack_comes_back_with_the_token_that_it_has() {
    let recording = Recording::new(SAMPLES);
    let (outcome, ()) = journey(&recording, ASKING, |mut calls| async move {
        let mut first = calls.recv().await.unwrap();
        first.takes("t-1", None).await;
        drop(first);
        for _ in 0..3 {
            let mut cut = calls.recv().await.unwrap();
            assert_eq!(cut.resume.as_deref(), Some("t-1"));
            cut.gateway.hear_json().await;
        }
        let mut last = calls.recv().await.unwrap();
        assert_eq!(last.resume.as_deref(), Some("t-1"));
        last.takes("t-2", Some(0)).await;
        last.gateway.hear_audio().await;
        last.finalizes().await;
    })
    .await;
    assert_eq!(outcome.exit_code(), 0, "{outcome}");
}

#[tokio::test(start_paused = true)]
async fn the_end_is_waited_for_across_a_cut() {
    let recording = Recording::new(SAMPLES);
    let (outcome, ()) = journey(&recording, ASKING, |mut calls| async move {
        let mut first = calls.recv().await.unwrap();
        first.takes("t-1", None).await;
        first.gateway.hear_audio().await;
        drop(first);
        // It was finalized, and is asked only what became of it.
        let mut second = calls.recv().await.unwrap();
        assert_eq!(second.resume.as_deref(), Some("t-1"));
        second.takes("t-2", Some(4000)).await;
        second.finalizes().await;
    })
    .await;
    assert_eq!(outcome.to_string(), "finalized: 4000 bytes, 0.1 s");
}

#[tokio::test(start_paused = true)]
async fn the_end_is_asked_for_again_where_it_did_not_arrive() {
    let recording = Recording::new(SAMPLES);
    let (outcome, rest) = journey(&recording, ASKING, |mut calls| async move {
        let mut first = calls.recv().await.unwrap();
        first.takes("t-1", None).await;
        first.gateway.hear_audio().await;
        drop(first);
        let mut second = calls.recv().await.unwrap();
        second.takes("t-2", Some(3999)).await;
        let rest = second.gateway.hear_audio().await;
        second.finalizes().await;
        rest
    })
    .await;
    assert_eq!(outcome.exit_code(), 0, "{outcome}");
    assert_eq!(rest, recording.pcm()[3999..]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_given_up_goes_on_as_a_new_one() {
    let recording = Recording::new(SAMPLES);
    let (outcome, rest) = journey(&recording, ASKING, |mut calls| async move {
        let mut first = calls.recv().await.unwrap();
        first.takes("t-1", None).await;
        first.gateway.hear().await;
        first.keeps(3200).await;
        drop(first);
        let second = calls.recv().await.unwrap();
        assert_eq!(second.resume.as_deref(), Some("t-1"));
        second.refuses(4011, false, None).await;
        let mut third = calls.recv().await.unwrap();
        assert_eq!(third.resume, None);
        third.takes("u-1", None).await;
        let rest = third.gateway.hear_audio().await;
        third.finalizes().await;
        rest
    })
    .await;
    assert_eq!(outcome.exit_code(), 0, "{outcome}");
    assert_eq!(rest, recording.pcm()[3200..]);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_asks_for_time_gets_it() {
    let recording = Recording::new(SAMPLES);
    let (outcome, waited) = journey(&recording, ASKING, |mut calls| async move {
        let first = calls.recv().await.unwrap();
        let refused = first.at;
        first.refuses(1013, true, Some(7000)).await;
        let mut second = calls.recv().await.unwrap();
        let waited = second.at - refused;
        second.takes("t-1", None).await;
        second.gateway.hear_audio().await;
        second.finalizes().await;
        waited
    })
    .await;
    assert_eq!(outcome.exit_code(), 0, "{outcome}");
    assert!(waited >= Duration::from_secs(7), "{waited:?}");
    assert!(waited < Duration::from_secs(8), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_always_refused_gives_up_with_the_last_refusal() {
    let recording = Recording::new(SAMPLES);
    let started = Instant::now();
    let (outcome, calls) = journey(&recording, ASKING, |mut calls| async move {
        let mut count = 0;
        while let Some(call) = calls.recv().await {
            count += 1;
            call.refuses(4002, true, None).await;
        }
        count
    })
    .await;
    assert_eq!(outcome.exit_code(), 3, "{outcome}");
    assert!(outcome.to_string().contains("4002"), "{outcome}");
    let waited = started.elapsed();
    assert!(waited <= Duration::from_secs(61), "{waited:?}");
    assert!((8..40).contains(&calls), "{calls} calls");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_retried_ends_the_journey() {
    let recording = Recording::new(SAMPLES);
    let (outcome, ()) = journey(&recording, ASKING, |mut calls| async move {
        let mut first = calls.recv().await.unwrap();
        first.takes("t-1", None).await;
        drop(first);
        let second = calls.recv().await.unwrap();
        second.refuses(4001, false, None).await;
    })
    .await;
    assert_eq!(outcome.exit_code(), 3, "{outcome}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_acknowledges_nothing_is_not_guessed_about() {
    let recording = Recording::new(SAMPLES);
    let (outcome, ()) = journey(&recording, ASKING, |mut calls| async move {
        let mut first = calls.recv().await.unwrap();
        first.gateway.hear_json().await;
        first.gateway.say(ACK).await;
        first.gateway.hear().await;
    })
    .await;
    assert_eq!(outcome.exit_code(), 4, "{outcome}");
    assert!(
        !outcome.to_string().contains("nobody is there"),
        "{outcome}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_fell_silent_is_left_without_a_close_and_found_again() {
    // Two minutes of audio, so that silence is all that can end it.
    let recording = Recording::new(16_000 * 120);
    let manner = Manner {
        pace: SendPace::RealTime,
        ..ASKING
    };
    let (outcome, (left, waited)) = journey(&recording, manner, |mut calls| async move {
        let mut first = calls.recv().await.unwrap();
        let began = first.at;
        first.takes("t-1", None).await;
        let left = first.gateway.drain().await;
        let mut second = calls.recv().await.unwrap();
        let waited = second.at - began;
        assert_eq!(second.resume.as_deref(), Some("t-1"));
        second.takes("t-2", Some(0)).await;
        // What was spoken meanwhile comes at once.
        let heard = Instant::now();
        for _ in 0..700 {
            assert!(second.gateway.hear().await.is_binary());
        }
        assert!(heard.elapsed() < Duration::from_secs(1));
        second.gateway.close(4100, "enough").await;
        second.gateway.drain().await;
        (left, waited)
    })
    .await;
    assert_eq!(outcome.exit_code(), 3, "{outcome}");
    assert!(!left.iter().any(Message::is_close), "a Close ends a stream");
    let pings = left.iter().filter(|message| message.is_text()).count();
    assert_eq!(pings, 2, "each half minute");
    assert!(waited >= Duration::from_secs(75), "{waited:?}");
    assert!(waited < Duration::from_secs(77), "{waited:?}");
}
