//! Connections of the admin listeners, bounded in number and time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Request};
use axum::middleware::map_request;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Requester;
use super::shares::Shares;
use base::tls::Acceptor;
use base::tls::failure::TlsFailure;
use gateway::server;
use wire::http1::{Answer, Persistence};

/// Maximum number of connections of one listener. Further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// Time after which a peer that does not take what it asked for is cut off.
#[cfg(target_os = "linux")]
const UNREAD: Duration = Duration::from_secs(30);

/// Answer to plain HTTP where TLS is spoken.
const TLS_REQUIRED: Answer = Answer::bad_request("this port speaks TLS: ask by https://");

/// Serves a listener until the process ends. `header_timeout` bounds each TLS handshake, each
/// request's head, and the time between two requests.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Acceptor>,
    router: Router,
    header_timeout: Duration,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let shares = Shares::of(MAX_CONNECTIONS);
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let (stream, requester) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept");
                tokio::time::sleep(server::ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(share) = shares.take(requester.ip(), permits.available_permits()) else {
            tracing::info!(
                client = %requester.ip(),
                "a connection of an operator or a probe was closed: its address has too many"
            );
            continue;
        };
        cut_off_when_unread(&stream);
        let asks = share.asks();
        let router = router
            .clone()
            .layer(Extension(Requester(requester)))
            .layer(map_request(move |request: Request| {
                asks();
                std::future::ready(request)
            }));
        let tls = tls.clone();
        tokio::spawn(async move {
            let speaking = async {
                match tls {
                    None => speak_http(stream, router, header_timeout).await,
                    Some(tls) => speak_tls(stream, &tls, router, header_timeout).await,
                }
            };
            tokio::select! {
                biased;
                () = speaking => {}
                () = share.pushed_out() => {}
            }
            drop(permit);
        });
    }
}

/// Cuts a peer off that does not take what it asked for.
#[cfg(target_os = "linux")]
fn cut_off_when_unread(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    if let Err(error) = socket.set_tcp_user_timeout(Some(UNREAD)) {
        tracing::debug!(%error, "TCP_USER_TIMEOUT could not be set");
    }
}

/// Other systems have no such option. There the bound on connections has to do.
#[cfg(not(target_os = "linux"))]
fn cut_off_when_unread(_: &TcpStream) {}

async fn speak_tls(
    mut stream: TcpStream,
    tls: &Acceptor,
    router: Router,
    header_timeout: Duration,
) {
    let client = stream.peer_addr().map(|peer| peer.ip().to_string());
    let client = client.unwrap_or_default();
    let mut first = [0];
    // A method begins with a letter, and no TLS record does (RFC 8446, section 5.1).
    let peeked = timeout(header_timeout, stream.peek(&mut first)).await;
    if matches!(peeked, Ok(Ok(1))) && first[0].is_ascii_alphabetic() {
        let answer = TLS_REQUIRED.bytes("GET", Persistence::Close);
        // Whoever sent it may be gone.
        drop(timeout(header_timeout, stream.write_all(&answer)).await);
        return;
    }
    match timeout(header_timeout, tls.current().accept(stream)).await {
        Ok(Ok(stream)) => speak_http(stream, router, header_timeout).await,
        Ok(Err(error)) => {
            let reason = TlsFailure::of(&error).word();
            let error = base::text::clean(&error.to_string(), 256);
            tracing::info!(
                client,
                reason,
                error,
                "a TLS handshake with an operator failed"
            );
        }
        Err(_) => {
            let reason = TlsFailure::Late.word();
            tracing::info!(client, reason, "a TLS handshake with an operator failed");
        }
    }
}

async fn speak_http<S>(stream: S, router: Router, header_timeout: Duration)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let answering = server::http()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    if let Err(error) = answering.await {
        tracing::debug!(%error, "an admin connection ended");
    }
}
