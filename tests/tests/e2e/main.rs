//! The gateway from outside: the real binary, real speech, and clients that
//! nobody here wrote. The first group is the stages of a connection: accept,
//! connect, handshake, stream, close.

mod accept;
mod close;
mod connect;
mod handshake;
mod hold;
mod stream;

mod admin;
mod admission;
mod backends;
mod boundary;
mod cli;
mod components;
mod config;
mod decisions;
mod delivery;
mod disks;
mod duplicate;
mod echo;
mod examples;
mod failing_policy;
mod fault_runs;
mod faults;
mod hostile;
mod kit;
mod kit_streams;
mod limits;
mod log_storms;
mod logs;
mod names;
mod receipts;
mod recordings;
mod reference;
mod registry;
mod relay;
mod relay_faults;
mod relay_limits;
mod reload;
mod replay;
mod resume;
mod rfc6455;
mod seed;
mod shadow;
mod shutdown;
mod signals;
mod tls;
mod uvicorn;
mod versions;
