//! Sessions for tests.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    reason = "for tests alone"
)]

use axum::http::HeaderMap;

use crate::facts::Facts;
use crate::registry::{Registry, SessionGuard};

pub fn start(registry: &Registry, id: &str) -> SessionGuard {
    let remote = "127.0.0.1:9".parse().unwrap();
    let uri = "/x".parse().unwrap();
    let facts = Facts::new(
        id.into(),
        "r".into(),
        &uri,
        vec![],
        HeaderMap::new(),
        remote,
    );
    SessionGuard::new(facts, registry.clone())
}
