//! Modes of the load generator.

pub mod admission;
pub mod attack;
pub mod churn;
pub mod echo;
pub mod idle;
pub mod relay;
pub mod start;
pub mod stream;

mod admit;
mod cycles;
