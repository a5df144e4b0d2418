//! HTTP/1.1 for the listener: heads of requests, and short answers.
//!
//! A general HTTP server would refuse a valid upgrade whose head is too large or has too many
//! headers. The gateway must answer it with 101, so that the client sees a close code. Syntax is
//! httparse's. The body of a request is never read: the gateway answers the request and ends the
//! connection.

mod answer;
mod head;
mod requests;

pub use answer::{Answer, Persistence};
pub use head::{Body, Head, HeadError};
pub use requests::{RequestError, Requests};

/// Maximum size of a head, in bytes, from the request line to the empty line. A larger one is
/// answered with 431.
pub const MAX_HEAD: usize = 64 * 1024;
