//! The reference client: `sluice stream`. It streams a WAV file to a gateway, resumes where the
//! connection was cut, and reports how the stream ended.

pub mod arguments;
mod audio;
mod connect;
mod conversation;
mod journey;
mod outcome;
mod patience;
mod peer;
mod progress;
mod refusal;
mod run;
mod target;
mod tokens;
mod upload;

#[cfg(test)]
mod tests;

pub use audio::Audio;
pub use outcome::{Confirmation, Manner, Receipt, RequestedFeatures, SendPace, StreamOutcome};
pub use progress::Progress;
pub use refusal::{Close, GatewayRefusal};
pub use run::{run, stream};
pub use target::{BearerToken, ConnectionSecurity, ResumeToken, Target};
pub use tokens::{TokenSource, Tokens};
