//! The listener: accepts, speaks HTTP, and hands every upgrade to its driver.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::Instrument as _;

use crate::gateway::Gateway;
use crate::lanes::Seat;
use crate::metrics;
use crate::socket;
use crate::watchdog::watched;

/// Bytes of a request's head. Tokens are a few KiB at the most.
const MAX_HEAD: usize = 32 * 1024;
/// How long the host waits after it could not accept.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the gateway closes, as many as there are seats.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    gateway: Arc<Gateway>,
    header_timeout: Duration,
) {
    let shutdown = gateway.shutdown.clone();
    let accepting = async {
        loop {
            if gateway.lanes.is_full() {
                metrics::accept_waits();
            }
            let socket = gateway.lanes.socket().await;
            match listener.accept().await {
                Ok((stream, remote)) => {
                    let seat = gateway.lanes.seat(socket);
                    let (shared, tls) = (Arc::clone(&gateway), tls.clone());
                    let taking = take(stream, tls, remote, seat, shared, header_timeout);
                    // A shutdown waits for it, as for all that comes after.
                    gateway.tasks.spawn(watched(taking));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.closing() => {}
        () = accepting => {}
    }
}

async fn take(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    remote: SocketAddr,
    seat: Seat,
    gateway: Arc<Gateway>,
    header_timeout: Duration,
) {
    let deadline = Instant::now() + header_timeout;
    // Acks and refusals are small and must not wait for more to say.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let Some(tls) = tls else {
        return speak_http(stream, remote, seat, gateway, deadline).await;
    };
    // Never in the accept loop: a client that stalls here holds up nobody else.
    match timeout_at(deadline, shake_hands(stream, &tls)).await {
        Ok(Ok(Greeted::Tls(stream))) => speak_http(*stream, remote, seat, gateway, deadline).await,
        Ok(Ok(Greeted::Plain(stream))) => ask_for_tls(stream, remote, deadline).await,
        Ok(Err(error)) => tracing::debug!(%error, %remote, "the TLS handshake failed"),
        Err(_) => tracing::debug!(%remote, "the TLS handshake took too long"),
    }
}

/// What a client on a TLS listener turned out to speak.
enum Greeted {
    Tls(Box<TlsStream<TcpStream>>),
    /// Something that begins like a request of plain HTTP.
    Plain(TcpStream),
}

async fn shake_hands(stream: TcpStream, tls: &TlsAcceptor) -> std::io::Result<Greeted> {
    let mut first = [0];
    // A method begins with a letter, and no TLS record does (RFC 8446, section 5.1).
    if stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic() {
        return Ok(Greeted::Plain(stream));
    }
    Ok(Greeted::Tls(Box::new(tls.accept(stream).await?)))
}

/// Answers whoever typed `ws:` for `wss:`; an alert of TLS would say nothing.
async fn ask_for_tls(stream: TcpStream, remote: SocketAddr, deadline: Instant) {
    let answer = service_fn(|_: hyper::Request<Incoming>| async {
        let refusal = socket::accept::tls_required();
        metrics::http_refused(refusal.status().as_u16());
        Ok::<_, Infallible>(refusal)
    });
    let answering = http().serve_connection(TokioIo::new(stream), answer);
    match timeout_at(deadline, answering).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, %remote, "HTTP without TLS ended"),
        Err(_) => tracing::debug!(%remote, "HTTP without TLS took too long"),
    }
}

/// HTTP/1.1 as both listeners speak it.
#[must_use]
pub fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // A client whose side ends right behind its request is answered too.
    http.half_close(true).max_buf_size(MAX_HEAD);
    http
}

/// The seat of a connection until it is upgraded.
type Waiting = Arc<Mutex<Option<Seat>>>;

/// Speaks HTTP/1.1 over any byte stream, until it is upgraded or ends. It must
/// be upgraded by the deadline, however many other requests it makes before:
/// it has a place all the while. A gateway that closes waits for it too, because
/// a client in the middle of its request can be told nothing before its 101.
pub async fn speak_http<I>(
    io: I,
    remote: SocketAddr,
    seat: Seat,
    gateway: Arc<Gateway>,
    deadline: Instant,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let waiting: Waiting = Arc::new(Mutex::new(Some(seat)));
    let router = Router::new()
        .fallback(upgrade)
        .layer(Extension(remote))
        .layer(Extension(waiting))
        .with_state(gateway);
    let connection = http()
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router))
        .with_upgrades();
    match timeout_at(deadline, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, %remote, "HTTP ended"),
        Err(_) => tracing::debug!(%remote, "no upgrade was asked for in time"),
    }
}

async fn upgrade(
    State(gateway): State<Arc<Gateway>>,
    Extension(remote): Extension<SocketAddr>,
    Extension(waiting): Extension<Waiting>,
    request: Request,
) -> Response {
    // Only an upgrade takes the seat: a client that is told how to upgrade may
    // do so on the same connection.
    let seat = || {
        waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    };
    let (accepting, response) = match socket::accept::begin(request, remote, seat, &gateway) {
        Ok(begun) => begun,
        Err(refusal) => {
            metrics::http_refused(refusal.status().as_u16());
            return refusal;
        }
    };
    let span = accepting.span();
    let life = async move {
        if let Some(accepted) = accepting.complete().await {
            socket::drive(accepted).await;
        }
    };
    gateway.tasks.spawn(watched(life.instrument(span)));
    response
}
