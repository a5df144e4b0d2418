//! Another token while the stream runs, and for the client that comes back.

use serde_json::json;

use super::*;

const RENEWING: Manner = Manner {
    features: RequestedFeatures::Asked,
    ..PLAIN
};
const EXPIRING: &str = r#"{"type":"token_expiring","expires_in_ms":60000}"#;

/// A file with a token, and a client that reads it.
fn file() -> (tempfile::TempDir, PathBuf, Tokens) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "first\n").unwrap();
    let tokens = TokenSource::File(path.clone()).into();
    (folder, path, tokens)
}

impl Gateway {
    /// The next message that is no audio.
    async fn hear_text(&mut self) -> Value {
        loop {
            match self.hear().await {
                Message::Binary(_) => {}
                message => return message.to_text().unwrap().parse().unwrap(),
            }
        }
    }
}

#[tokio::test]
async fn another_token_in_the_file_is_sent_when_the_gateway_says_that_the_first_expires() {
    let (_folder, path, tokens) = file();
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        let handshake = gateway.hear_json().await;
        assert_eq!(handshake["features"], json!(["ack", "resume", "renew"]));
        gateway.say(ACK).await;
        gateway.say(EXPIRING).await;
        std::fs::write(&path, "second\n").unwrap();
        let sent = gateway.hear_text().await;
        assert_eq!(sent, json!({"type": "auth", "token": "second"}));
        // It is refused, so the client waits for yet another one.
        let refused = r#"{"type":"status","status":"renewal_refused","message":"no"}"#;
        gateway.say(refused).await;
        std::fs::write(&path, "third\n").unwrap();
        let sent = gateway.hear_text().await;
        assert_eq!(sent, json!({"type": "auth", "token": "third"}));
        gateway.say(r#"{"type":"status","status":"renewed"}"#).await;
        gateway.close(4003, "enough").await;
        gateway.drain().await
    })
    .await;
    // An hour in real time: it ends long before, or this test never does.
    let audio = Recording::new(16_000 * 3600).audio();
    let manner = Manner {
        pace: SendPace::RealTime,
        ..RENEWING
    };
    let outcome = stream(&target, tokens, audio, manner, &mut Progress::Silent).await;
    assert!(outcome.to_string().contains("enough"), "{outcome}");
    gateway.await.unwrap();
}

#[tokio::test]
async fn who_has_one_token_alone_does_not_ask_when_it_expires() {
    let (target, gateway) = gateway(|mut gateway: Gateway| async move {
        let handshake = gateway.hear_json().await;
        gateway.close(4003, "enough").await;
        gateway.drain().await;
        handshake
    })
    .await;
    let tokens = TokenSource::Given("first".parse().unwrap()).into();
    let audio = Recording::new(1).audio();
    stream(&target, tokens, audio, RENEWING, &mut Progress::Silent).await;
    let handshake = gateway.await.unwrap();
    assert_eq!(handshake["features"], json!(["ack", "resume"]));
}

#[tokio::test]
async fn who_comes_back_brings_the_token_that_the_file_has_by_then() {
    let (_folder, path, tokens) = file();
    let current = async || tokens.current().await.unwrap().unwrap().text().to_owned();
    assert_eq!(current().await, "first");
    std::fs::write(&path, "second").unwrap();
    assert_eq!(current().await, "second");
    // While somebody replaces the file, the one before is still good.
    std::fs::remove_file(&path).unwrap();
    assert_eq!(current().await, "second");
}
