//! nolapse: an ACME auto-renewal agent whose success is what a TLS handshake returns.
//!
//! The house has six floors; a floor imports only lower ones, and adapters never import each
//! other (`tests/floors.rs` proves both).
//!
//! | floor | module | may |
//! |---|---|---|
//! | 5 | [`cli`], [`wire`] | read arguments, print, exit; `wire` alone knows configuration and adapters |
//! | 4 | [`agent`] | run the loop, call ports, hold tasks |
//! | 3 | [`store`] [`ca`] [`solve`] [`hook`] [`probe`] [`telemetry`] [`watch`] [`adopt`] [`alert`] | speak to one outside technology each |
//! | 2 | [`ports`] [`sys`] | define the few traits; hold the only clock, disk, process and key primitives |
//! | 1 | [`codec`] [`config`] | turn text and bytes into types and back |
//! | 0 | [`core`] | think |

pub mod adopt;
pub mod agent;
pub mod alert;
pub mod ca;
pub mod cli;
pub mod codec;
pub mod config;
pub mod core;
pub mod hook;
pub mod ports;
pub mod probe;
pub mod solve;
pub mod store;
pub mod sys;
pub mod telemetry;
pub mod watch;
pub mod wire;
