//! HTTP/1.1 on a connection, until a request is a valid upgrade.

use std::io;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use crate::routes::Gateway;
use crate::socket;
use crate::socket::accept::{Accepting, Arrival};
use crate::socket::wire::Transport;
use crate::watchdog::watched;
use base::metrics;
use base::permits::ConnectionPermit;
use wire::http1::{Answer, Body, Head, Persistence, RequestError, Requests};

/// Speaks HTTP/1.1 over any byte stream, until it is upgraded or ends. It must
/// be upgraded by the deadline, however many other requests it makes before:
/// it has a place all the while. A gateway that closes waits for it too, because
/// a client in the middle of its request can be told nothing before its 101.
pub async fn speak_http<I: Transport + 'static>(
    io: I,
    arrival: Arrival,
    mut permit: ConnectionPermit,
    gateway: Arc<Gateway>,
    deadline: Instant,
) {
    let mut requests = Requests::new(io);
    let upgraded = until_upgraded(&mut requests, &arrival, &mut permit, &gateway);
    let remote = arrival.remote;
    let ended = match timeout_at(deadline, upgraded).await {
        Ok(Ok(End::Upgraded(accepting))) => {
            // In a task of its own, so that what was needed before the upgrade is freed.
            let (io, received) = requests.into_parts();
            let span = accepting.span();
            let accepted = span.in_scope(|| accepting.complete(Box::new(io), received, permit));
            let life = socket::drive(accepted).instrument(span);
            gateway.tasks.spawn(watched(life));
            return;
        }
        Ok(Ok(End::Refused(answer))) => requests.answer_last(&answer).await,
        Ok(Ok(End::Gone)) => return,
        Ok(Err(error)) => Err(error),
        Err(_) => return tracing::debug!(%remote, "no upgrade was asked for in time"),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %remote, "HTTP ended");
    }
}

/// How a connection ceases to speak HTTP.
enum End {
    /// It is upgraded: its 101 has been written.
    Upgraded(Box<Accepting>),
    /// It gets this answer, and no other.
    Refused(Vec<u8>),
    /// The client's side has ended, or the connection has to make room.
    Gone,
}

/// Answers requests until one is an upgrade. A client that is told how to
/// upgrade may do so on the same connection.
async fn until_upgraded<I: Transport>(
    requests: &mut Requests<I>,
    arrival: &Arrival,
    permit: &mut ConnectionPermit,
    gateway: &Arc<Gateway>,
) -> io::Result<End> {
    loop {
        let next = match requests.next().await {
            Ok(Some(head)) => consider(&head, arrival, permit, gateway),
            Ok(None) => return Ok(End::Gone),
            Err(RequestError::Bad(answer)) => refuse(answer, "GET", Persistence::Close),
            Err(RequestError::Io(error)) => return Err(error),
        };
        match next {
            Next::Upgrade(accepting) => {
                if !permit.pass() {
                    return Ok(End::Gone);
                }
                requests.answer(accepting.response()).await?;
                return Ok(End::Upgraded(accepting));
            }
            Next::Refuse(answer, Persistence::KeepAlive) => requests.answer(&answer).await?,
            Next::Refuse(answer, Persistence::Close) => return Ok(End::Refused(answer)),
        }
    }
}

/// What becomes of a request.
enum Next {
    Upgrade(Box<Accepting>),
    Refuse(Vec<u8>, Persistence),
}

fn consider(
    bytes: &[u8],
    arrival: &Arrival,
    permit: &ConnectionPermit,
    gateway: &Arc<Gateway>,
) -> Next {
    let head = match Head::parse(bytes) {
        Ok(head) => head,
        Err(error) => return refuse(error.into(), "GET", Persistence::Close),
    };
    match socket::accept::begin(&head, arrival, permit, gateway) {
        Ok(accepting) => Next::Upgrade(Box::new(accepting)),
        Err(answer) => {
            // Nobody reads a body, so nothing can come behind one.
            let persistence = match (head.host(), head.body()) {
                (Ok(_), Ok(Body::None)) if head.keeps_alive() => Persistence::KeepAlive,
                _ => Persistence::Close,
            };
            refuse(answer, head.method, persistence)
        }
    }
}

fn refuse(answer: Answer, method: &str, persistence: Persistence) -> Next {
    metrics::http_refused(answer.status.as_u16());
    Next::Refuse(answer.bytes(method, persistence), persistence)
}
