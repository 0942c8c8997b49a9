//! The bug bank: what went wrong elsewhere, as tests here. `map.rs` says for each failure scenario,
//! threat and peer's bug which test would have caught it; the other files hold the tests that no
//! other place had. `docs/reliability.md` shows the map.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod authority;
mod check;
mod deployment;
#[path = "../cli/desk.rs"]
#[allow(dead_code)]
mod desk;
mod files;
mod map;
mod page;
mod panic;
mod peers;
mod restore;
mod scoreboard;
#[path = "../support/served.rs"]
#[allow(dead_code)]
mod served;
mod server;
mod time;
