//! What several tests share. Each test takes what it needs.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

pub mod acme_client;
pub mod memory_store;
pub mod pebble;
pub mod scripted;
