//! The listener: accepts, speaks HTTP, and hands every upgrade to its driver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::routes::Gateway;
use crate::socket::accept::Arrival;
use crate::watchdog::watched;
use base::metrics;
use base::permits::ConnectionPermit;
use base::text;
use base::tls;
use base::tls::failure::TlsFailure;
use base::tls::peer::ClientCertificate;
use session::origin::Security;
use wire::http1::{Answer, Persistence, RequestError, Requests};
use wire::proxies;
use wire::proxies::preamble::{self, Preamble, PreambleError};

mod http;

pub use http::speak_http;
/// Upgrades of what the admin listener speaks.
pub use hyper::upgrade;

/// The answer to a request of plain HTTP where TLS is spoken.
const TLS_REQUIRED: Answer = Answer::bad_request("this port speaks TLS: connect with wss://");
/// How long the host waits after it could not accept.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener, and how it is spoken to.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Speaks TLS, and nothing else, where it is there.
    pub tls: Option<tls::Acceptor>,
    /// Whether proxies say first whom they speak for.
    pub preamble: Preamble,
}

/// How connections of a listener begin.
#[derive(Clone)]
struct Manners {
    tls: Option<tls::Acceptor>,
    preamble: Preamble,
    header_timeout: Duration,
}

/// Accept loop: takes connections as long as there are socket permits, until the gateway closes or
/// another process takes over.
pub async fn serve(listener: Listener, gateway: Arc<Gateway>, header_timeout: Duration) {
    let Listener {
        socket: listener,
        tls,
        preamble,
    } = listener;
    let manners = Manners {
        tls,
        preamble,
        header_timeout,
    };
    let shutdown = gateway.shutdown.clone();
    let accepting = async {
        loop {
            if gateway.permits.is_full() {
                metrics::accept_waits();
            }
            let socket = gateway.permits.socket().await;
            match listener.accept().await {
                Ok((stream, remote)) => {
                    let permit = gateway.permits.grant(socket);
                    let (shared, manners) = (Arc::clone(&gateway), manners.clone());
                    let remote = proxies::canonical(remote);
                    let taking = take(stream, remote, manners, permit, shared);
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
        () = shutdown.handed_over() => {}
        () = accepting => {}
    }
}

async fn take(
    mut stream: TcpStream,
    remote: SocketAddr,
    manners: Manners,
    mut permit: ConnectionPermit,
    gateway: Arc<Gateway>,
) {
    let deadline = Instant::now() + manners.header_timeout;
    // Acks and refusals are small and must not wait for more to say.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let peer = remote;
    let remote = match manners.preamble {
        Preamble::None => remote,
        Preamble::Expected => match introduced(&mut stream, remote, &gateway, deadline).await {
            Ok(remote) => remote,
            Err(error) => return not_introduced(peer, &error),
        },
    };
    // Behind a proxy are many clients, which it tells apart no sooner than with a head.
    let client = (!gateway.proxies.trusts(remote.ip())).then_some(remote.ip());
    let pushed_out = gateway.permits.open(&mut permit, client);
    let greeting = greet(stream, remote, manners.tls, permit, gateway, deadline);
    let Some(pushed_out) = pushed_out else {
        return greeting.await;
    };
    tokio::select! {
        biased;
        () = greeting => {}
        () = pushed_out.wait() => {
            tracing::debug!(%remote, "closed before its upgrade, to make room");
        }
    }
}

/// Speaks TLS, where the listener does, and HTTP.
async fn greet(
    stream: TcpStream,
    remote: SocketAddr,
    tls: Option<tls::Acceptor>,
    permit: ConnectionPermit,
    gateway: Arc<Gateway>,
    deadline: Instant,
) {
    let arrival = |security, certificate| Arrival {
        remote,
        security,
        certificate,
    };
    let Some(tls) = tls else {
        let arrival = arrival(Security::Plain, None);
        return speak_http(stream, arrival, permit, gateway, deadline).await;
    };
    // Never in the accept loop: a client that stalls here holds up nobody else.
    match timeout_at(deadline, shake_hands(stream, &tls.current())).await {
        Ok(Ok(Greeted::Tls(stream))) => {
            let shown = stream.get_ref().1.peer_certificates();
            let shown = shown.and_then(|chain| chain.first());
            let certificate = shown.map(|shown| Arc::new(ClientCertificate::of(shown)));
            let arrival = arrival(Security::Tls, certificate);
            speak_http(stream, arrival, permit, gateway, deadline).await;
        }
        Ok(Ok(Greeted::Plain(stream))) => ask_for_tls(stream, remote, deadline).await,
        Ok(Err(error)) => tls_failed(remote, TlsFailure::of(&error), &error.to_string()),
        Err(_) => tls_failed(remote, TlsFailure::Late, "it took too long"),
    }
}

/// Counts a handshake that failed, and says so.
fn tls_failed(remote: SocketAddr, failure: TlsFailure, error: &str) {
    metrics::tls_failed(failure.word());
    let reason = failure.word();
    let error = text::clean(error, 256);
    tracing::info!(client = %remote.ip(), reason, error, "a TLS handshake failed");
}

/// The address of the client that a proxy speaks for, or the proxy's own.
async fn introduced(
    stream: &mut TcpStream,
    peer: SocketAddr,
    gateway: &Gateway,
    deadline: Instant,
) -> Result<SocketAddr, PreambleError> {
    if !gateway.proxies.trusts(peer.ip()) {
        return Err(PreambleError::Untrusted);
    }
    let client = timeout_at(deadline, preamble::read(stream)).await;
    let client = client.map_err(|_| PreambleError::Late)??;
    Ok(client.unwrap_or(peer))
}

fn not_introduced(peer: SocketAddr, error: &PreambleError) {
    metrics::proxy_failed(error.word());
    let reason = error.word();
    tracing::info!(peer = %peer.ip(), reason, %error, "a connection to proxy_listen was closed");
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
    let mut requests = Requests::new(stream);
    let answer = match timeout_at(deadline, requests.next()).await {
        Ok(Ok(Some(_))) => TLS_REQUIRED,
        Ok(Err(RequestError::Bad(answer))) => answer,
        Ok(Ok(None) | Err(RequestError::Io(_))) => return,
        Err(_) => return tracing::debug!(%remote, "HTTP without TLS took too long"),
    };
    metrics::http_refused(answer.status.as_u16());
    let answer = answer.bytes("GET", Persistence::Close);
    if let Err(error) = requests.answer_last(&answer).await {
        tracing::debug!(%error, %remote, "HTTP without TLS ended");
    }
}

/// HTTP/1.1 as the admin listener speaks it.
#[must_use]
pub fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    // A client whose side ends right behind its request is answered too.
    http.half_close(true).max_buf_size(32 * 1024);
    http
}
