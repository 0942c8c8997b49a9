//! nolapse: an ACME auto-renewal agent whose success is what a TLS handshake returns.
pub mod codec;
pub mod config;
pub mod core;
pub mod hook;
pub mod ports;
pub mod probe;
pub mod solve;
pub mod store;
pub mod sys;
