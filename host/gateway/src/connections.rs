//! Live connections and parked streams, for operators.
//!
//! Each is a [`LiveConnection`]: its task writes what changes, and the admin listener reads it. The
//! registry here only finds them, in the order in which they began.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

mod kept;
mod live;
mod meter;
mod rate;
mod stage;

pub use live::{Beginning, Listener, LiveConnection};
pub use meter::Level;
pub use stage::Stage;

/// Number of connections that are looked at before those that begin and end have their turn.
const AT_ONCE: usize = 256;
/// Time between two looks at the rates.
const LOOK: Duration = Duration::from_secs(2);

/// Registry of live connections and parked streams, by session id.
#[derive(Debug, Default)]
pub struct Connections {
    /// Session ids begin with a time, so they are in the order of their beginnings.
    by_id: Mutex<BTreeMap<Arc<str>, Weak<LiveConnection>>>,
}

impl Connections {
    /// Adds a connection. It is removed when its last owner drops it.
    #[must_use]
    pub fn begin(self: &Arc<Self>, beginning: Beginning) -> Arc<LiveConnection> {
        let live = Arc::new(LiveConnection::new(beginning, Arc::clone(self)));
        self.lock().insert(live.id(), Arc::downgrade(&live));
        live
    }

    /// Number of live connections and parked streams.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Connection of this session.
    #[must_use]
    pub fn get(&self, session_id: &str) -> Option<Arc<LiveConnection>> {
        self.lock().get(session_id).and_then(Weak::upgrade)
    }

    /// Listener to the level of a session's stream; `None` if it has none that can be computed.
    #[must_use]
    pub fn listen(&self, session_id: &str) -> Option<Listener> {
        Listener::to(&self.get(session_id)?)
    }

    /// Shows `visit` the connections after this session id, in their order, until it has seen
    /// enough. Connections that begin and end have their turn in between.
    pub async fn visit(
        &self,
        session_id: &str,
        mut visit: impl FnMut(&LiveConnection) -> ControlFlow<()> + Send,
    ) {
        let mut after: Arc<str> = session_id.into();
        loop {
            let some = self.after(&after, AT_ONCE);
            let Some(last) = some.last() else { return };
            after = last.id();
            if some.iter().try_for_each(|live| visit(live)).is_break() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Takes the rates of all connections again and again, until this is dropped.
    pub async fn watch_rates(&self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Instant::now();
        loop {
            look.tick().await;
            let passed = before.elapsed();
            before = Instant::now();
            let looking = self.visit("", |live| {
                live.look(passed);
                ControlFlow::Continue(())
            });
            looking.await;
        }
    }

    /// At most `count` connections after this session id, in their order.
    fn after(&self, session_id: &str, count: usize) -> Vec<Arc<LiveConnection>> {
        let from = (Bound::Excluded(session_id), Bound::Unbounded);
        let by_id = self.lock();
        let connections = by_id
            .range::<str, _>(from)
            .filter_map(|(_, live)| live.upgrade());
        connections.take(count).collect()
    }

    fn remove(&self, session_id: &str) {
        self.lock().remove(session_id);
    }

    // A map keeps its invariants at every step, so poisoning does not matter.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Weak<LiveConnection>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
