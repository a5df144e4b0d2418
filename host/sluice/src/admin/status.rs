//! The gateway as a whole.

use std::ops::ControlFlow;

use axum::extract::State;
use axum::response::Response;

use super::Admin;
use super::answer::json;
use crate::schema::{self, Connections, Status};
use gateway::connections::Stage;
use session::registry::unix_ms;

/// The gateway as a whole.
pub(super) async fn status(State(admin): State<Admin>) -> Response {
    let Admin {
        gateway, reloader, ..
    } = &admin;
    let history = reloader.history();
    let swapped = history.iter().find(|change| change.result == "swapped");
    let needs_restart = swapped.map(|change| change.needs_restart.clone());
    json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: schema::time(admin.started_ms),
        uptime_ms: unix_ms().saturating_sub(admin.started_ms),
        generation: gateway.generation.load().number,
        draining: gateway.shutdown.is_draining(),
        checks: admin.checks(),
        connections: connections(&admin).await,
        claims: gateway.registry.len() as u64,
        memory_held_bytes: gateway.permits.memory.held() as u64,
        refusals_kept: gateway.refusals.latest().len() as u64,
        missing_keys: reloader.missing_keys().to_vec(),
        needs_restart: needs_restart.unwrap_or_default(),
        last_reload: history.into_iter().next().unwrap_or_default(),
    })
}

async fn connections(admin: &Admin) -> Connections {
    let mut counted = Connections::default();
    let counting = admin.gateway.connections.visit("", |live| {
        match live.stage() {
            Stage::Parked => counted.parked += 1,
            Stage::Stream => {
                counted.live += 1;
                counted.streaming += 1;
            }
            _ => counted.live += 1,
        }
        ControlFlow::Continue(())
    });
    counting.await;
    counted
}
