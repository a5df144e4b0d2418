//! Views of the console, and what each of them is told.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::events::Events;
use super::levels::Levels;
use super::search::Search;
use crate::admin_state::Admin;
use crate::schema::{Generations, Refusal, Refusals, Session};

/// Maximum number of sessions in one event. The level of each is computed.
const MAX_SESSIONS: usize = 50;
/// Maximum number of refusals in one event.
const MAX_REFUSALS: usize = 100;
/// Beginnings of the metrics that the views of policies and upstreams show.
const METRICS: [&str; 3] = ["sluice_policy_", "sluice_shadow_", "sluice_upstream_"];

/// Name of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Name {
    /// The gateway as a whole, which every view has.
    Status,
    Sessions,
    Session,
    Refusals,
    Policies,
    Upstreams,
    Generations,
}

/// What a console looks at.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    view: Name,
    /// Words that must be in each session or refusal.
    search: Option<String>,
    /// The oldest session of the page of newer ones.
    before: Option<String>,
    /// Id of the session, for the view of one.
    session: Option<String>,
}

/// A view, and what it has been told.
#[derive(Debug)]
pub(super) struct View {
    name: Name,
    search: Search,
    before: Option<String>,
    session: String,
    /// Number of refusals that were added before.
    refusals: u64,
    /// Levels of the streams that are shown.
    levels: Levels,
}

/// Sessions that were found, of which the newest are shown.
#[derive(Debug, Default, Serialize)]
struct Found {
    /// Number of sessions in which the words are.
    matching: u64,
    /// Whether there are older ones than those shown.
    older: bool,
    /// The newest first.
    sessions: Vec<Session>,
}

/// One session, while it is live or parked.
#[derive(Debug, Serialize)]
struct MaybeSession {
    session: Option<Session>,
}

impl View {
    pub(super) fn of(wanted: Wanted) -> Self {
        let Wanted {
            view,
            search,
            before,
            session,
        } = wanted;
        Self {
            name: view,
            search: Search::new(search.as_deref().unwrap_or_default()),
            before,
            session: session.unwrap_or_default(),
            refusals: 0,
            levels: Levels::default(),
        }
    }

    /// Adds what is to be told now.
    pub(super) async fn tell(&mut self, admin: &Admin, events: &mut Events) {
        events.add("status", admin.status().await);
        match self.name {
            Name::Status => {}
            Name::Sessions => {
                let found = self.find(admin).await;
                let shown = found.sessions.iter().map(|session| &*session.id);
                self.levels.listen(&admin.gateway.connections, shown);
                events.add("sessions", found);
            }
            Name::Session => {
                let connections = &admin.gateway.connections;
                let live = connections.get(&self.session);
                let session = live.map(|live| Session::of(&live));
                let shown = session.iter().map(|session| &*session.id);
                self.levels.listen(connections, shown);
                events.add("session", MaybeSession { session });
            }
            Name::Refusals => {
                events.add("revocations", admin.revocations());
                if let Some(refusals) = self.refusals(admin) {
                    events.add("refusals", refusals);
                }
            }
            Name::Policies => {
                events.add("policies", admin.policies());
                events.add_text("metrics", &shown(&admin.recorder.render()));
            }
            Name::Upstreams => {
                events.add("upstreams", admin.upstreams());
                events.add_text("metrics", &shown(&admin.recorder.render()));
            }
            Name::Generations => {
                let generations = admin.reloader.history();
                events.add("generations", Generations { generations });
            }
        }
    }

    /// Adds the levels of the streams that are shown.
    pub(super) fn tell_levels(&mut self, events: &mut Events) {
        if let Some(levels) = self.levels.tell() {
            events.add("levels", levels);
        }
    }

    /// The newest sessions in which the words are.
    async fn find(&self, admin: &Admin) -> Found {
        let connections = &admin.gateway.connections;
        let mut found = Found::default();
        let mut newest: VecDeque<Arc<str>> = VecDeque::with_capacity(MAX_SESSIONS);
        let before = self.before.as_deref();
        let finding = connections.visit("", |live| {
            if self.search.finds(live) {
                found.matching += 1;
                if before.is_none_or(|before| *live.id() < *before) {
                    if newest.len() == MAX_SESSIONS {
                        newest.pop_front();
                        found.older = true;
                    }
                    newest.push_back(live.id());
                }
            }
            ControlFlow::Continue(())
        });
        finding.await;
        let newest = newest.iter().rev().filter_map(|id| connections.get(id));
        found.sessions = newest.map(|live| Session::of(&live)).collect();
        found
    }

    /// The latest refusals in which the words are, of those that came since the last time.
    fn refusals(&mut self, admin: &Admin) -> Option<Refusals> {
        let first = self.refusals == 0;
        let (added, unseen) = admin.gateway.refusals.since(self.refusals);
        self.refusals = added;
        let found = unseen.iter();
        let found = found.filter(|refusal| self.search.finds_refusal(refusal));
        let found: Vec<_> = found
            .take(MAX_REFUSALS)
            .map(|refusal| Refusal::of(refusal))
            .collect();
        (first || !found.is_empty()).then_some(Refusals { refusals: found })
    }
}

/// The samples that the page shows.
fn shown(metrics: &str) -> String {
    let lines = metrics.lines();
    let lines = lines.filter(|line| METRICS.iter().any(|name| line.starts_with(name)));
    lines.collect::<Vec<_>>().join("\n")
}
