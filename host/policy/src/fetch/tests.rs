//! A registry that is there, and does not get on.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;

/// A registry that says so much to whoever asks, and then nothing more.
async fn silent_after(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut peer, _)) = listener.accept().await {
            let _ = peer.read(&mut [0; 4096]).await;
            peer.write_all(answer).await.unwrap();
            held.push(peer);
        }
    });
    host
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_too_slow_is_named_with_the_time_that_it_had() {
    let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{";
    for answer in [&b""[..], &begun[..]] {
        let host = silent_after(answer).await;
        let digest = "0".repeat(64);
        let text = format!("oci+http://{host}/policies/mine@sha256:{digest}");
        let folder = tempfile::tempdir().unwrap();
        let fetcher = Fetcher::new(folder.path(), &Credentials::default(), &[]);
        let began = Instant::now();
        let error = fetcher
            .fetch(
                &Reference::parse(&text).unwrap().unwrap(),
                &Signatures::NotAsked,
            )
            .await
            .unwrap_err();
        let said = format!("the registry {host} did not send everything within 60 s");
        assert_eq!(error.to_string(), said);
        assert!(error.help().contains("try again"), "{}", error.help());
        assert_eq!(began.elapsed().as_secs(), 60);
    }
}
