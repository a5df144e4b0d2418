//! Telling the policies how a connection ended.

use std::sync::Arc;

use crate::routes::Route;
use policy::{Ending, Record};
use session::registry::Session;

/// What is owed to the policies of a route once one of their kind was asked
/// about a connection. A connection that is turned away at the door owes none.
pub struct Report {
    route: Arc<Route>,
    session: Arc<Session>,
}

impl Report {
    /// Report that is owed from now on, if the route has policies that are told of the end.
    pub(super) fn owed(route: &Arc<Route>, session: &Arc<Session>) -> Option<Self> {
        (!route.on_close.is_empty()).then(|| Self {
            route: Arc::clone(route),
            session: Arc::clone(session),
        })
    }

    /// Tells them all, whatever becomes of each.
    pub(super) async fn send(self, ending: Ending) -> Vec<Record> {
        self.route.on_close.tell(&self.session, ending).await
    }
}
