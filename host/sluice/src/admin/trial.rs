//! Trial of a route from the console: a WebSocket that goes through the admin listener to the
//! gateway itself, as if a client had opened it.
//!
//! The gateway decides about it as about any other: the same route, policies and limits. It only
//! does not see that a page has opened it, because a page of the admin listener's origin could not
//! try a route that takes other origins alone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, copy_bidirectional, duplex};
use tokio::time::{Instant, timeout};

use super::answer::json;
use super::{Admin, Requester};
use crate::audit::Change;
use crate::schema::Ticket;
use gateway::server::speak_http;
use gateway::server::upgrade::{self, OnUpgrade};
use gateway::socket::accept::Arrival;
use gateway::watchdog::watched;
use session::origin::Security;

/// Bytes that are on the way in each direction, at most.
const ON_THE_WAY: usize = 64 * 1024;
/// Maximum length of the head of the gateway's answer, in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// Time for a place among the gateway's connections, and for its answer to the upgrade.
const ANSWER: Duration = Duration::from_secs(5);
/// Headers of the page's request that the gateway sees.
const PASSED: [HeaderName; 7] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::USER_AGENT,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
];
/// Headers of the gateway's answer that the page sees.
const ANSWERED: [HeaderName; 4] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_ACCEPT,
    header::SEC_WEBSOCKET_PROTOCOL,
];

/// Gives out a ticket for one trial.
pub(super) async fn ticket(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
) -> Response {
    match admin.tickets.give() {
        Ok(ticket) => {
            let change = Change {
                by,
                action: "try",
                to: "a route",
                reason: "",
                result: "may open one stream",
            };
            change.log();
            json(Ticket { ticket })
        }
        Err(error) => {
            tracing::error!(%error, "there are no random bits for a ticket");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Opens a WebSocket to a route, for whoever has a ticket.
pub(super) async fn connect(
    State(admin): State<Admin>,
    Extension(Requester(by)): Extension<Requester>,
    Path((ticket, _)): Path<(String, String)>,
    mut request: Request,
) -> Response {
    if !admin.tickets.take(&ticket) {
        let sentence = "this ticket is not good: POST /console/tickets gives one for 30 s\n";
        return (StatusCode::FORBIDDEN, sentence).into_response();
    }
    let upgrade = upgrade::on(&mut request);
    let Some(head) = head(&request, &ticket) else {
        return (StatusCode::BAD_REQUEST, "the request cannot be passed on\n").into_response();
    };
    let (mut near, far) = duplex(ON_THE_WAY);
    let gateway = &admin.gateway;
    let Ok(socket) = timeout(ANSWER, gateway.permits.socket()).await else {
        let sentence = "the gateway has no place for another connection\n";
        return (StatusCode::SERVICE_UNAVAILABLE, sentence).into_response();
    };
    let permit = gateway.permits.grant(socket);
    let arrival = Arrival {
        remote: by,
        security: Security::Plain,
        certificate: None,
    };
    let deadline = Instant::now() + ANSWER;
    let life = speak_http(far, arrival, permit, Arc::clone(gateway), deadline);
    gateway.tasks.spawn(watched(life));
    let asking = async {
        near.write_all(&head).await?;
        answer(&mut near).await
    };
    match timeout(ANSWER, asking).await {
        Ok(Ok((status, headers))) if status == StatusCode::SWITCHING_PROTOCOLS => {
            tokio::spawn(carry(near, upgrade));
            (status, headers).into_response()
        }
        Ok(Ok((status, _))) => {
            let mut sentence = Vec::new();
            // The gateway closes after an answer that is no upgrade, or the time runs out.
            drop(
                timeout(
                    ANSWER,
                    near.take(MAX_HEAD as u64).read_to_end(&mut sentence),
                )
                .await,
            );
            (status, Body::from(sentence)).into_response()
        }
        Ok(Err(_)) | Err(_) => {
            let sentence = "the gateway did not answer\n";
            (StatusCode::BAD_GATEWAY, sentence).into_response()
        }
    }
}

/// The request as the gateway sees it.
fn head(request: &Request, ticket: &str) -> Option<Vec<u8>> {
    let target = request.uri().path_and_query()?.as_str();
    let target = target.strip_prefix("/console/try/")?.strip_prefix(ticket)?;
    let mut head = format!("GET {target} HTTP/1.1\r\n").into_bytes();
    for name in PASSED {
        for value in request.headers().get_all(&name) {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"\r\n");
    Some(head)
}

/// Status and headers of the gateway's answer.
async fn answer(near: &mut DuplexStream) -> io::Result<(StatusCode, HeaderMap)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // What comes behind the head is for the page.
        head.push(near.read_u8().await?);
    }
    parsed(&head).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parsed(head: &[u8]) -> Option<(StatusCode, HeaderMap)> {
    let mut lines = std::str::from_utf8(head).ok()?.lines();
    let status = lines.next()?.split(' ').nth(1)?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::try_from(name).ok()?;
        if ANSWERED.contains(&name) {
            headers.append(name, HeaderValue::try_from(value).ok()?);
        }
    }
    Some((status.parse().ok()?, headers))
}

/// Carries bytes between the page and the gateway, until both have ended.
async fn carry(mut near: DuplexStream, upgrade: OnUpgrade) {
    let carrying = async {
        let page = upgrade.await.map_err(io::Error::other)?;
        copy_bidirectional(&mut TokioIo::new(page), &mut near).await
    };
    if let Err(error) = carrying.await {
        tracing::debug!(%error, "a trial ended");
    }
}
