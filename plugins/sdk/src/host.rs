//! Host functions in a native test: the functions and resources of the contract, under the names
//! that are generated for WebAssembly. They call the [`Mock`](crate::testing::Mock) of the thread.

use crate::bindings::imports::sluice::policy as generated;
use crate::testing::world;

pub use generated::types;

pub mod connection {
    use super::world;

    /// Connection of this thread's mock.
    pub struct Facts;

    impl Facts {
        pub fn session_id(&self) -> String {
            world::with(|world| world.session_id.clone())
        }

        pub fn route(&self) -> String {
            world::with(|world| world.route.clone())
        }

        pub fn path(&self) -> String {
            world::with(|world| world.path.clone())
        }

        pub fn param(&self, name: &str) -> Option<String> {
            world::with(|world| world.params.get(name).cloned())
        }

        pub fn query(&self, name: &str) -> Option<String> {
            world::with(|world| world.query.get(name).cloned())
        }

        pub fn header(&self, name: &str) -> Option<String> {
            let name = name.to_ascii_lowercase();
            world::with(|world| world.headers.get(&name).cloned())
        }

        pub fn remote_addr(&self) -> String {
            world::with(|world| world.remote_addr.clone())
        }

        pub fn attribute(&self, name: &str) -> Option<String> {
            world::with(|world| world.attribute(name))
        }

        pub fn set_attribute(&self, name: &str, value: &str) {
            world::with(|world| {
                let name = format!("{}.{name}", world.policy);
                world.leave(&name, value);
            });
        }
    }
}

pub mod jwt {
    use serde_json::Value;

    use super::connection::Facts;
    use super::world;

    pub use super::generated::jwt::Error;

    pub struct Claims(pub Value);

    impl Claims {
        pub fn get(&self, pointer: &str) -> Option<String> {
            match self.0.pointer(pointer)? {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            }
        }

        pub fn json(&self) -> String {
            self.0.to_string()
        }

        pub fn expires_at(&self) -> Option<u64> {
            self.0.get("exp")?.as_u64()
        }
    }

    pub fn verify(_: &Facts, key_set: &str) -> Result<Claims, Error> {
        world::with(|world| world.verify(key_set)).map(Claims)
    }
}

pub mod sessions {
    use super::connection::Facts;
    use super::{types, world};

    pub struct Holder(pub crate::Holder);

    impl Holder {
        pub fn session_id(&self) -> String {
            self.0.session_id.clone()
        }

        pub fn since_ms(&self) -> u64 {
            self.0.since_ms
        }

        pub fn attributes(&self) -> Vec<(String, String)> {
            self.0.attributes.clone()
        }
    }

    pub fn claim(_: &Facts, key: &str) -> Result<(), Holder> {
        world::with(|world| world.claim(key)).map_err(Holder)
    }

    pub fn evict(
        _: &Facts,
        key: &str,
        holder: &str,
        notice: &types::Rejection,
    ) -> Result<(), Holder> {
        world::with(|world| world.evict(key, holder, notice)).map_err(Holder)
    }
}

pub mod config {
    use super::world;

    pub fn get(key: &str) -> Option<String> {
        world::with(|world| world.config.get(key).cloned())
    }
}

pub mod references {
    use super::world;

    pub fn key_set(pointer: &str, name: &str) {
        world::with(|world| world.declare("key_set", &[pointer, name]));
    }

    pub fn param(pointer: &str, name: &str) {
        world::with(|world| world.declare("param", &[pointer, name]));
    }

    pub fn attribute(pointer: &str, name: &str) {
        world::with(|world| world.declare("attribute", &[pointer, name]));
    }

    pub fn list(pointer: &str, name: &str) {
        world::with(|world| world.declare("list", &[pointer, name]));
    }

    pub fn destination(pointer: &str, name: &str) {
        world::with(|world| world.declare("destination", &[pointer, name]));
    }

    pub fn leaves(name: &str) {
        world::with(|world| world.declare("leaves", &[name]));
    }

    pub fn no_effect(pointer: &str, why: &str, help: &str) {
        world::with(|world| world.declare("no_effect", &[pointer, why, help]));
    }
}

pub mod log {
    use super::world;

    pub use super::generated::log::Level;

    pub fn write(level: Level, message: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        world::with(|world| world.log.push(format!("{level} {message}")));
    }
}

pub mod clock {
    use super::world;

    pub fn now_ms() -> u64 {
        world::with(|world| world.now_ms)
    }

    pub fn monotonic_ns() -> u64 {
        world::with(|world| world.passed_ms.saturating_mul(1_000_000))
    }
}

pub mod counters {
    use super::world;

    pub use super::generated::counters::Error;

    pub fn get(key: &str) -> Result<i64, Error> {
        world::with(|world| Ok(world.counter(key)))
    }

    pub fn add(key: &str, amount: i64, life_ms: u32) -> Result<i64, Error> {
        world::with(|world| world.add(key, amount, life_ms))
    }

    pub fn replace(key: &str, value: i64, life_ms: u32) -> Result<i64, Error> {
        world::with(|world| world.replace(key, value, life_ms))
    }
}

pub mod lists {
    use super::world;

    pub use super::generated::lists::Error;

    pub fn contains(name: &str, entry: &str) -> Result<bool, Error> {
        world::with(|world| Ok(world.list(name).contains_key(entry)))
    }

    pub fn get(name: &str, key: &str) -> Result<Option<String>, Error> {
        world::with(|world| Ok(world.list(name).get(key).cloned().flatten()))
    }
}

pub mod notice {
    use super::connection::Facts;
    use super::world;

    pub fn send(_: &Facts, code: &str, message: &str) {
        world::with(|world| world.notices.push(format!("{code} {message}")));
    }
}

pub mod metrics {
    use super::world;

    pub fn add(name: &str, label: &str, amount: u32) {
        world::with(|world| {
            let key = (name.to_owned(), label.to_owned());
            *world.metrics.entry(key).or_default() += u64::from(amount);
        });
    }
}

pub mod destinations {
    use super::world;

    pub use super::generated::destinations::Error;

    pub struct Answer {
        pub status: u16,
        pub body: String,
    }

    impl Answer {
        pub fn status(&self) -> u16 {
            self.status
        }

        pub fn body(&self) -> String {
            self.body.clone()
        }

        pub fn age_ms(&self) -> u64 {
            0
        }
    }

    pub fn get(place: u32) -> Result<Answer, Error> {
        world::with(|world| world.answer(place)).map(|(status, body)| Answer { status, body })
    }
}

pub mod frames {
    use crate::testing::Sent;

    pub use super::generated::frames::Kind;

    pub type Window = Sent;

    impl Window {
        pub(crate) fn index(&self) -> u64 {
            self.index
        }

        pub(crate) fn length_ms(&self) -> u32 {
            self.length_ms
        }

        pub(crate) fn held_ms(&self) -> u32 {
            self.held_ms
        }

        pub(crate) fn paused(&self) -> bool {
            self.paused
        }

        pub(crate) fn count(&self, of: Kind) -> u64 {
            self.of(of).map(|_| 1).sum()
        }

        pub(crate) fn bytes(&self, of: Kind) -> u64 {
            self.of(of).map(|frame| u64::from(frame.size)).sum()
        }

        pub(crate) fn kinds(&self) -> Vec<Kind> {
            self.frames.iter().map(|frame| frame.kind.into()).collect()
        }

        pub(crate) fn sizes(&self) -> Vec<u32> {
            self.frames.iter().map(|frame| frame.size).collect()
        }

        pub(crate) fn times_us(&self) -> Vec<u32> {
            self.frames.iter().map(|frame| frame.at_us).collect()
        }

        fn of(&self, kind: Kind) -> impl Iterator<Item = &crate::Frame> {
            let of = move |frame: &&crate::Frame| Kind::from(frame.kind) == kind;
            self.frames.iter().filter(of)
        }
    }
}

pub mod payload {
    use super::frames::Window;

    pub fn get(window: &Window, place: u32) -> Option<Vec<u8>> {
        window.payloads.get(&place).cloned()
    }
}

pub mod endings {
    use crate::testing::Ended;

    pub type Ending = Ended;

    impl Ending {
        pub(crate) fn cause(&self) -> String {
            self.cause.clone()
        }

        pub(crate) fn close_code(&self) -> u16 {
            self.close_code
        }

        pub(crate) fn closed_by(&self) -> String {
            self.closed_by.clone()
        }

        pub(crate) fn streamed(&self) -> bool {
            self.streamed
        }

        pub(crate) fn lasted_ms(&self) -> u64 {
            self.lasted_ms
        }

        pub(crate) fn received_bytes(&self) -> u64 {
            self.received_bytes
        }

        pub(crate) fn sent_bytes(&self) -> u64 {
            self.sent_bytes
        }
    }
}
