//! A file of cases: what the world is like, what a policy is asked, and what
//! it should answer.
//!
//! ```toml
//! [[case]]
//! name = "a tenant of the list is let in"
//! attributes = { "auth.tenant_id" = "acme" }
//! expect = "accept"
//!
//! [[case]]
//! name = "another is told why not"
//! path = "/try/room-1?source=mic"
//! headers = { user-agent = "curl" }
//! token = { tenant_id = "other" }     # claims; or a fault: "expired", "missing", …
//! handshake = { sample_rate = 16000 } # then the policy's on-handshake is asked too
//! clock = "2026-11-23T09:00:00Z"
//! config = { tenants = ["acme"] }     # over what sluice.toml says
//! sessions = [{ key = "k", session_id = "s2", attributes = { "auth.user_id" = "u" } }]
//! counters = { "streams/acme" = 3 }
//! lists = { vip = ["acme"], plans = { acme = "gold" } } # over those of sluice.toml
//! answers = [{ destination = "entitlements", params = { user = "u" }, body = '{"plan": "gold"}' }]
//! expect = { reject = "tenant_unknown", close_code = 4100 }
//!
//! [[case]]
//! name = "a stream that sends nothing is ended, and counted"
//! windows = [                         # on-frames is asked once for each
//!   { length_ms = 5000, binary = { count = 50, bytes = 160000 } },
//!   { length_ms = 60000, messages = [{ kind = "text", size = 16, at_ms = 20 }] },
//! ]
//! ending = { cause = "denied", close_code = 4108, received_bytes = 160000 } # on-close is told
//! expect = { reject = "silent" }
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Map, Value};

use answers::CaseAnswer;
use base::diagnostics::Mistakes;
use base::files::text;
use keys::TokenError;
use policy::Ending;
use policy::lists::{Entries, Lists};
use policy::window::Window;

pub(crate) mod answers;
mod read;

/// When it is in a case that does not say: Monday, 5 January 2026, 12:00 UTC.
const NOON: u64 = 1_767_614_400_000;

/// One connection and what should become of it.
#[derive(Debug)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The time, in milliseconds since 1970. It stands still, but for the
    /// windows, which last as long as they say.
    pub clock: u64,
    /// Path and query that the client asks for; the route's own without it.
    pub path: Option<String>,
    /// What else the client sends.
    pub headers: BTreeMap<String, String>,
    /// Where it comes from.
    pub remote: String,
    /// What earlier policies left, by full name.
    pub attributes: BTreeMap<String, String>,
    /// The client's token.
    pub token: Token,
    /// The key set that signs it, where there are several.
    pub key_set: Option<String>,
    /// The client's handshake.
    pub handshake: Option<Map<String, Value>>,
    /// What the client sends while it streams.
    pub windows: Vec<Arc<Window>>,
    /// How its connection ends.
    pub ending: Option<Arc<Ending>>,
    /// Values that the policy's configuration has here.
    pub config: Map<String, Value>,
    /// What its counters stand at.
    pub counters: BTreeMap<String, i64>,
    /// Lists and maps that are others here, or here alone: JSON by name.
    pub lists: Map<String, Value>,
    /// Answers of services.
    pub answers: Vec<CaseAnswer>,
    /// Who else is there.
    pub sessions: Vec<Other>,
    /// What should come of it.
    pub expect: Expect,
}

impl Case {
    /// The lists that the case has itself.
    #[must_use]
    pub fn lists(&self) -> Lists {
        let lists = self.lists.iter();
        Lists::of(lists.filter_map(|(name, json)| Some((name.clone(), Entries::of(json)?))))
    }
}

/// A connection that holds a key.
#[derive(Debug)]
pub struct Other {
    /// The key.
    pub key: String,
    /// The id of the holder's session.
    pub session_id: String,
    /// Since when, in milliseconds since 1970.
    pub since: u64,
    /// What policies left on it.
    pub attributes: BTreeMap<String, String>,
}

/// What stands for the client's token.
#[derive(Debug)]
pub enum Token {
    /// A token of these claims, signed with a key that the gateway knows.
    Claims(Map<String, Value>),
    /// One that is no good.
    Fault(TokenError),
}

/// What should come of a case. What it does not name is not looked at.
#[derive(Debug, Default)]
pub struct Expect {
    /// The policy's verdict.
    pub verdict: ExpectedVerdict,
    /// Attributes that it leaves, by full name.
    pub attributes: BTreeMap<String, String>,
    /// Keys that it holds afterwards.
    pub holds: Vec<String>,
    /// What its counters stand at afterwards.
    pub counters: BTreeMap<String, i64>,
    /// Sessions that it evicts.
    pub evicts: Vec<String>,
    /// Texts that stand in its log.
    pub log: Vec<String>,
    /// Codes of notices that the client is sent.
    pub notices: Vec<String>,
    /// What it adds to metrics, by `NAME` or `NAME:LABEL`.
    pub metrics: BTreeMap<String, i64>,
}

/// What a policy should answer.
#[derive(Debug, Default)]
pub enum ExpectedVerdict {
    /// Accept.
    #[default]
    Accept,
    /// Reject, like this.
    Reject {
        /// The word for programs.
        code: String,
        /// The close code, after the gateway has looked at it.
        close_code: Option<u16>,
        /// The sentence.
        message: Option<String>,
        /// Whether it may be tried again.
        retryable: Option<bool>,
        /// After how many milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// It refuses its configuration, with this text in its complaint.
    ConfigError(String),
}

/// Reads the cases of a file.
///
/// # Errors
/// [`Mistakes`], all that are in it; or if it cannot be read.
pub fn load(file: &Path) -> anyhow::Result<Vec<Case>> {
    let name = file.display().to_string();
    let text = text::read(file).with_context(|| format!("{name} cannot be read"))?;
    Ok(read::cases(&name, &text).map_err(Mistakes)?)
}

#[cfg(test)]
mod tests;
