//! The adapters of floor 3 against real sockets, real programs and, where they are installed,
//! real servers. Everything listens on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod alert;
mod bench;
mod herald;
mod hook;
mod manner;
mod probe;
mod responder;
mod self_check;
mod webroot;
