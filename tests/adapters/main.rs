//! The adapters of floor 3 against real sockets, real programs and, where they are installed,
//! real servers. Everything listens on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod alert;
mod bench;
mod dns;
mod dns_exec;
mod dns_web;
mod herald;
mod hook;
mod manner;
mod name_server;
mod preflight;
mod probe;
mod responder;
mod self_check;
mod tls_alpn;
mod webroot;

#[path = "../support/bind.rs"]
mod bind;
#[path = "../support/ports.rs"]
#[allow(dead_code)]
mod ports;
#[path = "../support/unbound.rs"]
mod unbound;
