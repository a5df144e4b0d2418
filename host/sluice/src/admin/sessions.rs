//! Live connections and parked streams.

use std::ops::ControlFlow;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::Admin;
use super::answer::json;
use crate::schema::{OneSession, Session, Sessions};
use gateway::connections::{LiveConnection, Stage};

/// Sessions of one answer: as many as are asked for, or this many.
const PAGE: usize = 100;
/// Maximum number of sessions of one answer.
const MAX_PAGE: usize = 1000;

/// Which sessions are wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    user: Option<String>,
    tenant: Option<String>,
    meeting: Option<String>,
    route: Option<String>,
    stage: Option<String>,
    /// The last session of the page before.
    after: Option<String>,
    limit: Option<usize>,
}

/// Sessions that the filters let through, page by page.
pub(super) async fn list(State(admin): State<Admin>, Query(wanted): Query<Wanted>) -> Response {
    let limit = wanted.limit.unwrap_or(PAGE);
    if limit == 0 || limit > MAX_PAGE {
        let sentence = format!("limit is a number from 1 to {MAX_PAGE}\n");
        return (StatusCode::BAD_REQUEST, sentence).into_response();
    }
    let stages = || Stage::ALL.map(Stage::word);
    if let Some(stage) = &wanted.stage
        && !stages().contains(&stage.as_str())
    {
        let sentence = format!("stage is one of {}\n", stages().join(", "));
        return (StatusCode::BAD_REQUEST, sentence).into_response();
    }
    json(page(&admin, &wanted, limit).await)
}

async fn page(admin: &Admin, wanted: &Wanted, limit: usize) -> Sessions {
    let mut page = Sessions::default();
    let after = wanted.after.as_deref().unwrap_or_default();
    let connections = &admin.gateway.connections;
    let visited = connections.visit(after, |live| {
        if !wanted.wants(live) {
            return ControlFlow::Continue(());
        }
        if page.sessions.len() == limit {
            page.next = page.sessions.last().map(|session| session.id.clone());
            return ControlFlow::Break(());
        }
        page.sessions.push(Session::of(live));
        ControlFlow::Continue(())
    });
    visited.await;
    page
}

/// One session.
pub(super) async fn one(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    match admin.gateway.connections.get(&id) {
        Some(live) => json(OneSession {
            session: Session::of(&live),
        }),
        None => {
            let sentence = "no session of this id is live or parked; GET /refusals?session=ID \
                            says whether it was refused\n";
            (StatusCode::NOT_FOUND, sentence).into_response()
        }
    }
}

impl Wanted {
    fn wants(&self, live: &LiveConnection) -> bool {
        let Self {
            user,
            tenant,
            meeting,
            route,
            stage,
            after: _,
            limit: _,
        } = self;
        // The cheapest first.
        is(stage.as_ref(), || Some(live.stage().word()))
            && is(route.as_ref(), || Some(&*live.session().facts.route))
            && is(user.as_ref(), || live.user())
            && is(tenant.as_ref(), || live.tenant())
            && is(meeting.as_ref(), || live.meeting())
    }
}

/// Whether nothing is wanted, or this value.
fn is<T: AsRef<str>>(wanted: Option<&String>, value: impl FnOnce() -> Option<T>) -> bool {
    let Some(wanted) = wanted else { return true };
    value().is_some_and(|value| value.as_ref() == wanted)
}
