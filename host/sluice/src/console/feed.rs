//! Feed: what a console sees, as server-sent events.
//!
//! A snapshot is made when the connection takes the next one. So a console that reads slowly gets
//! fewer of them, and never makes the gateway hold more than one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::events::Events;
use super::pace::Pace;
use super::view::{View, Wanted};
use crate::admin_state::{Admin, MayOperate, StillAllowed};

const HEADERS: [(HeaderName, HeaderValue); 2] = [
    (
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Time between two snapshots, at least.
const SNAPSHOTS: Duration = Duration::from_secs(1);
/// Time between two events with levels, at least.
const LEVELS: Duration = Duration::from_millis(200);

/// What the viewer of a console may do.
#[derive(Debug, Serialize)]
struct Role {
    /// Whether they may change something.
    operate: bool,
}

/// Feed of one console.
struct Feed {
    admin: Admin,
    /// Whether its viewer may change something.
    operates: Arc<dyn Fn() -> bool + Send + Sync>,
    view: View,
    snapshots: Pace,
    levels: Pace,
    _place: OwnedSemaphorePermit,
}

/// What a console looks at, as long as it looks.
pub(crate) async fn feed(
    State(admin): State<Admin>,
    Extension(StillAllowed(still)): Extension<StillAllowed>,
    Extension(MayOperate(operates)): Extension<MayOperate>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let Ok(place) = admin.consoles.clone().try_acquire_owned() else {
        let sentence = "too many consoles are open: close one of them\n";
        return (StatusCode::SERVICE_UNAVAILABLE, sentence).into_response();
    };
    let feed = Feed {
        admin,
        operates,
        view: View::of(wanted),
        snapshots: Pace::of(SNAPSHOTS),
        levels: Pace::of(LEVELS),
        _place: place,
    };
    let events = stream::unfold((feed, still), async |(mut feed, still)| {
        let events = feed.next().await;
        // A token that was replaced sees nothing more.
        still().then(|| (Ok::<_, Infallible>(events), (feed, still)))
    });
    (HEADERS, Body::from_stream(events)).into_response()
}

impl Feed {
    async fn next(&mut self) -> Bytes {
        let mut events = Events::default();
        while events.is_empty() {
            tokio::select! {
                biased;
                () = self.snapshots.due() => {
                    let operate = (self.operates)();
                    events.add("role", Role { operate });
                    self.view.tell(&self.admin, &mut events).await;
                    self.snapshots.made();
                }
                () = self.levels.due() => {
                    self.view.tell_levels(&mut events);
                    self.levels.made();
                }
            }
        }
        events.into_bytes()
    }
}
