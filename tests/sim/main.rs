//! One simulated world: the real agent on a virtual clock and a model disk, among a made-up CA,
//! solver, server and store that all follow one fault script. `docs/reliability.md` says what is
//! modelled and what is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod board;
mod ca;
mod crash;
mod hook;
mod keys;
mod laws;
mod mint;
mod node;
mod probe;
mod script;
mod server;
mod solver;
mod stories;
mod world;
