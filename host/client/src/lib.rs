//! The reference client: streams a WAV file to a gateway, comes back where it
//! was cut off, and reports every way in which that can end.

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
mod upload;

#[cfg(test)]
mod tests;

pub use audio::Audio;
pub use outcome::{Confirmation, Features, Manner, Outcome, Pace, Receipt};
pub use progress::Progress;
pub use refusal::{Close, Refusal};
pub use run::{run, stream};
pub use target::{ResumeToken, Security, Target, Token};
