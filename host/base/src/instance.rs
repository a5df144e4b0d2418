//! Instance id: which run of the gateway wrote a log line, a record or a metric.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use crate::text;

static ID: LazyLock<String> = LazyLock::new(|| {
    // The standard library seeds it with random bytes of the system.
    let random = RandomState::new().hash_one(std::process::id());
    text::hex(&random.to_be_bytes()[..4])
});

/// Id of this run of the gateway: eight hexadecimal digits, random for each start.
#[must_use]
pub fn id() -> &'static str {
    &ID
}
