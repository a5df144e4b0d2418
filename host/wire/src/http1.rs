//! HTTP/1.1 as the listener speaks it: the heads of requests, and short answers.
//!
//! It is here, and no HTTP server of a library, because of what a server owes a request that *is*
//! an upgrade: an answer of 101 even where the head is larger, or has more headers, than will be
//! admitted. Syntax is httparse's. A request's body is never read: whoever sends one is answered,
//! and the connection ends.

mod answer;
mod head;
mod requests;

pub use answer::{Answer, Persistence};
pub use head::{Body, Head, HeadError};
pub use requests::{RequestError, Requests};

/// Largest head that is read, in bytes, from the request line to the empty line. What is larger is
/// answered 431.
pub const MAX_HEAD: usize = 64 * 1024;
