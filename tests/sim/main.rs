//! One simulated world: the real agent on a virtual clock and a model disk, among a made-up CA,
//! solver, server and store that all follow one fault script. `docs/reliability.md` says what is
//! modelled and what is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod board;
mod bug;
mod ca;
mod crash;
mod desk;
mod hook;
mod journal;
mod keys;
mod laws;
mod limits;
mod mint;
mod node;
mod peek;
mod probe;
mod script;
mod server;
mod shared;
mod sky;
mod solver;
mod store;
mod stories;
mod world;
