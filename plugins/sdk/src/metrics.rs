//! Counters of the policy's own among the gateway's metrics: `sluice_policy_counted_total` with the
//! policy's name, and a name and a label of your choice.
//!
//! They are for the operator to see. What the policy must know again is in
//! [`counters`](crate::counters). A policy needs the grant `metrics`, and may have 64 pairs of name
//! and label.
//!
//! ```
//! use sluice_policy::{Connection, Decision, OnConnect, metrics};
//!
//! struct Plans;
//!
//! impl OnConnect for Plans {
//!     fn decide(connection: &Connection) -> Decision {
//!         let plan = connection.attribute("auth.plan");
//!         metrics::count("streams", plan.as_deref().unwrap_or("none"));
//!         Ok(())
//!     }
//! }
//!
//! # use sluice_policy::testing::Mock;
//! let mock = Mock::new("plans");
//! mock.attribute("auth.plan", "gold");
//! assert_eq!(Plans::decide(&mock.connection()), Ok(()));
//! assert_eq!(mock.metric("streams", "gold"), 1);
//! ```
//!
//! A call that fails adds nothing, and neither does one about a renewed token. A label with values
//! that a client chooses uses the pairs up until the gateway restarts.

use crate::host::metrics;

/// Adds 1 to a counter. A label that is empty is none.
pub fn count(name: &str, label: &str) {
    metrics::add(name, label, 1);
}

/// Adds to a counter. A label that is empty is none.
pub fn add(name: &str, label: &str, amount: u32) {
    metrics::add(name, label, amount);
}
