//! One simulated world: the real agent on a virtual clock and a model disk, among a made-up CA,
//! solver, server and store that all follow one fault script. `docs/reliability.md` says what is
//! modelled and what is not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod board;
mod bug;
mod ca;
mod campaign;
mod chaos;
mod crash;
mod desk;
mod generator;
mod hook;
mod journal;
mod keys;
mod laws;
mod life;
mod limits;
mod mint;
mod node;
mod peek;
mod plot;
mod probe;
mod script;
mod server;
mod shared;
mod shrink;
mod site;
mod sky;
mod solver;
mod store;
mod stories;
mod voice;
mod witness;
mod world;
