//! A CA that is hostile or broken, and a client that must not mind: some seven hundred answers that no CA
//! should give, each to the real adapter, and a sample of them to the real program.
//!
//! `outcomes.txt` says what became of each; `BLESS=1` rewrites it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support"]
mod support {
    #[allow(dead_code)]
    pub mod agent;
    #[allow(dead_code, clippy::unnecessary_debug_formatting)]
    pub mod config;
    #[allow(dead_code)]
    pub mod pebble;
    #[allow(dead_code)]
    pub mod ports;
}

mod case;
mod certificates;
mod drive;
mod http;
mod laws;
mod objects;
mod program;
mod refusals;
mod table;
mod times;
