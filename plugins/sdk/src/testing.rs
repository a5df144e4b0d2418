//! Mock of the gateway, for native tests of a whole policy.
//!
//! A [`Mock`] is the world of one thread: the connection, the configuration, the time, and the
//! other connections. While it exists, it answers everything that a policy asks on that thread.
//!
//! ```
//! use sluice_policy::testing::Mock;
//! use sluice_policy::{Config, Connection, Decision, OnConnect, Rejection, TokenError, counters};
//!
//! struct ThreeADay;
//!
//! impl OnConnect for ThreeADay {
//!     fn decide(connection: &Connection) -> Decision {
//!         let limit: i64 = Config::host().require("limit", "write a number")?;
//!         let claims = connection.verify_token("main")?;
//!         let user = claims.claim("user_id").unwrap_or_default();
//!         if counters::add(&user, 1, 24 * 60 * 60 * 1000)? > limit {
//!             return Err(Rejection::new("enough", "come back tomorrow").close_code(4100));
//!         }
//!         connection.set_attribute("user", &user);
//!         Ok(())
//!     }
//! }
//!
//! let mock = Mock::new("three-a-day");
//! mock.config("limit", "3").token("main", Ok(r#"{"user_id":"u1"}"#));
//! for _ in 0..3 {
//!     assert_eq!(ThreeADay::decide(&mock.connection()), Ok(()));
//! }
//! assert_eq!(mock.connection().attribute("three-a-day.user").as_deref(), Some("u1"));
//! assert_eq!(ThreeADay::decide(&mock.connection()).unwrap_err().code(), "enough");
//! mock.pass(24 * 60 * 60 * 1000);
//! assert_eq!(ThreeADay::decide(&mock.connection()), Ok(()));
//!
//! mock.token("main", Err(TokenError::Expired));
//! assert_eq!(ThreeADay::decide(&mock.connection()), Err(TokenError::Expired.into()));
//! ```
//!
//! It grants everything, and limits nothing but the number of counters. `sluice policy test` runs
//! the built component within the operator's grants and limits.

use std::marker::PhantomData;

use crate::destinations::AnswerError;
use crate::host::connection::Facts;
use crate::{Connection, Holder, Rejection, TokenError};

mod streams;
pub(crate) mod world;

pub use streams::{Ended, Sent};

/// Mock of the gateway for one thread. Dropping it discards everything that was set. A thread has
/// one at a time.
#[must_use = "a world that is dropped answers nobody"]
pub struct Mock {
    facts: Facts,
    /// The mock belongs to the thread that made it.
    not_send: PhantomData<*const ()>,
}

/// Connection that the policy has evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Session id of the connection.
    pub session_id: String,
    /// Key that it held.
    pub key: String,
    /// Notice that it gets.
    pub notice: Rejection,
}

impl Mock {
    /// Mock for the policy with this name in the configuration. There is no configuration, no token
    /// and no other connection, and it is noon on 5 January 2026.
    ///
    /// # Panics
    /// If this thread has one already.
    pub fn new(policy: &str) -> Self {
        world::begin(policy);
        Self {
            facts: Facts,
            not_send: PhantomData,
        }
    }

    /// Connection that the policy decides about.
    pub fn connection(&self) -> Connection<'_> {
        Connection::new(&self.facts)
    }

    /// Sets a key of the policy's configuration, as JSON text.
    pub fn config(&self, key: &str, json: &str) -> &Self {
        self.set(|world| world.config.insert(key.to_owned(), json.to_owned()))
    }

    /// Sets the time, in milliseconds since 1970. Only [`Mock::pass`] advances it.
    pub fn now_ms(&self, now_ms: u64) -> &Self {
        self.set(|world| world.now_ms = now_ms)
    }

    /// Advances both clocks by this many milliseconds.
    pub fn pass(&self, ms: u64) -> &Self {
        self.set(|world| {
            world.now_ms += ms;
            world.passed_ms += ms;
        })
    }

    /// Makes the connection another one. The previous connection keeps its claims.
    pub fn session_id(&self, id: &str) -> &Self {
        self.set(|world| world.session_id = id.to_owned())
    }

    /// Sets the route's name.
    pub fn route(&self, name: &str) -> &Self {
        self.set(|world| world.route = name.to_owned())
    }

    /// Sets the path.
    pub fn path(&self, path: &str) -> &Self {
        self.set(|world| world.path = path.to_owned())
    }

    /// Sets a parameter of the route's path.
    pub fn param(&self, name: &str, value: &str) -> &Self {
        self.set(|world| world.params.insert(name.to_owned(), value.to_owned()))
    }

    /// Sets a query parameter.
    pub fn query(&self, name: &str, value: &str) -> &Self {
        self.set(|world| world.query.insert(name.to_owned(), value.to_owned()))
    }

    /// Sets a request header.
    pub fn header(&self, name: &str, value: &str) -> &Self {
        let name = name.to_ascii_lowercase();
        self.set(|world| world.headers.insert(name, value.to_owned()))
    }

    /// Sets the client's address and port.
    pub fn remote_addr(&self, address: &str) -> &Self {
        self.set(|world| world.remote_addr = address.to_owned())
    }

    /// Sets an attribute of an earlier policy, by its full name: `auth.email`.
    pub fn attribute(&self, name: &str, value: &str) -> &Self {
        self.set(|world| world.leave(name, value))
    }

    /// Sets the result of verifying the client's token with a key set: its claims as a JSON object,
    /// or an error. By default the client sent no token.
    ///
    /// # Panics
    /// If the claims are no JSON object.
    pub fn token(&self, key_set: &str, verified: Result<&str, TokenError>) -> &Self {
        let verified = verified.map(world::claims);
        self.set(|world| world.tokens.insert(key_set.to_owned(), verified))
    }

    /// Lets another connection hold a key.
    pub fn holder(&self, key: &str, holder: Holder) -> &Self {
        self.set(|world| world.holders.insert(key.to_owned(), holder))
    }

    /// Sets a counter, which lasts for an hour.
    pub fn counter(&self, key: &str, value: i64) -> &Self {
        self.set(|world| world.set_counter(key, value, 60 * 60 * 1000))
    }

    /// Sets the maximum number of counters. The default is 10,000, as in the gateway.
    pub fn max_counters(&self, room: usize) -> &Self {
        self.set(|world| world.max_counters = room)
    }

    /// Sets the entries of a list.
    pub fn list(&self, name: &str, entries: &[&str]) -> &Self {
        let entries = entries.iter().map(|entry| ((*entry).to_owned(), None));
        self.set(|world| world.lists.insert(name.to_owned(), entries.collect()))
    }

    /// Sets the values of a map.
    pub fn map(&self, name: &str, entries: &[(&str, &str)]) -> &Self {
        let entry = |(key, value): &(&str, &str)| ((*key).to_owned(), Some((*value).to_owned()));
        let entries = entries.iter().map(entry);
        self.set(|world| world.lists.insert(name.to_owned(), entries.collect()))
    }

    /// Adds an answer of a service: the first one is that to the first request.
    pub fn answer(&self, status: u16, body: &str) -> &Self {
        self.set(|world| world.answers.push(Ok((status, body.to_owned()))))
    }

    /// Adds that a service gives no answer. [`AnswerError::Unfit`] is about an answer, so that it
    /// counts as [`AnswerError::Unusable`].
    pub fn no_answer(&self, error: AnswerError) -> &Self {
        self.set(|world| world.answers.push(Err(error)))
    }

    /// Value of a counter.
    pub fn count_of(&self, key: &str) -> i64 {
        world::with(|world| world.counter(key))
    }

    /// Session id of the connection that holds a key.
    pub fn holder_of(&self, key: &str) -> Option<String> {
        world::with(|world| Some(world.holders.get(key)?.session_id.clone()))
    }

    /// Evicted connections, in order.
    pub fn evicted(&self) -> Vec<Evicted> {
        world::with(|world| world.evicted.clone())
    }

    /// Notices that the client was sent, each with its code: `plan_expires your plan ends soon`.
    pub fn notices(&self) -> Vec<String> {
        world::with(|world| world.notices.clone())
    }

    /// What the policy has added to a counter among the gateway's metrics.
    pub fn metric(&self, name: &str, label: &str) -> u64 {
        let key = (name.to_owned(), label.to_owned());
        world::with(|world| world.metrics.get(&key).copied().unwrap_or_default())
    }

    /// Lines of the log, each with its level: `warn no room`. The gateway's hook logs the
    /// [`detail`](Rejection::detail) of a refusal, so it is not among them.
    pub fn log(&self) -> Vec<String> {
        world::with(|world| world.log.clone())
    }

    /// What the policy declared with [`references`](crate::references), each with the name of the
    /// function before it: `key_set /key_set main`.
    pub fn references(&self) -> Vec<String> {
        world::with(|world| world.references.clone())
    }

    fn set<T>(&self, change: impl FnOnce(&mut world::World) -> T) -> &Self {
        world::with(change);
        self
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        world::end();
    }
}

#[cfg(test)]
mod tests;
