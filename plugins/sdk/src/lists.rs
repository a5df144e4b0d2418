//! Lists and maps that the operator keeps: tenants that are allowed, plans of customers.
//!
//! They are files beside the gateway's configuration, under `[lists.NAME]`. The operator changes
//! them while the gateway runs, and a policy sees what is there when it asks. A policy needs the
//! grant `lists`.
//!
//! ```
//! use sluice_policy::{Connection, Decision, OnConnect, Rejection, lists};
//!
//! struct Plans;
//!
//! impl OnConnect for Plans {
//!     fn decide(connection: &Connection) -> Decision {
//!         let tenant = connection.attribute("auth.tenant_id").unwrap_or_default();
//!         if lists::contains("blocked", &tenant)? {
//!             return Err(Rejection::new("blocked", "this tenant is blocked").close_code(4100));
//!         }
//!         match lists::get("plans", &tenant)?.as_deref() {
//!             Some("gold") => Ok(()),
//!             _ => Err(Rejection::new("plan_too_small", "the plan has no streams").close_code(4101)),
//!         }
//!     }
//! }
//!
//! # use sluice_policy::testing::Mock;
//! let mock = Mock::new("plans");
//! mock.list("blocked", &["globex"]).map("plans", &[("acme", "gold"), ("globex", "gold")]);
//! mock.attribute("auth.tenant_id", "acme");
//! assert_eq!(Plans::decide(&mock.connection()), Ok(()));
//! mock.attribute("auth.tenant_id", "globex");
//! assert_eq!(Plans::decide(&mock.connection()).unwrap_err().code(), "blocked");
//! mock.attribute("auth.tenant_id", "initech");
//! assert_eq!(Plans::decide(&mock.connection()).unwrap_err().code(), "plan_too_small");
//! ```
//!
//! A list that the configuration does not have ends the call. If an option of the policy names the
//! list, [`references::list`](crate::references::list) has the gateway check it before it serves.

use std::fmt;

use crate::Rejection;
use crate::host::lists;

/// Error of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListError {
    /// The list is unavailable.
    Unavailable,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the list cannot be reached",
        })
    }
}

impl std::error::Error for ListError {}

impl From<ListError> for Rejection {
    /// Refuses the connection without details. The client may try again, because it is not at
    /// fault.
    fn from(error: ListError) -> Self {
        Self::new("policy_unavailable", "this cannot be decided at the moment")
            .retryable()
            .detail(error.to_string())
    }
}

/// Whether a list has this entry, or a map this key.
pub fn contains(list: &str, entry: &str) -> Result<bool, ListError> {
    lists::contains(list, entry).map_err(error)
}

/// Value of a map at this key: a text as it is, anything else as JSON text.
pub fn get(list: &str, key: &str) -> Result<Option<String>, ListError> {
    lists::get(list, key).map_err(error)
}

fn error(error: lists::Error) -> ListError {
    match error {
        lists::Error::Unavailable => ListError::Unavailable,
    }
}
