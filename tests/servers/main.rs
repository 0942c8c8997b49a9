//! The real program against real servers: Debian's Pebble, nginx and haproxy, and a second CA from
//! a package registry. Everything listens on loopback, in directories of its own. A test whose tool
//! is missing says so in a line that starts with `SKIPPED:`.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
// A path with quotes around it is how TOML wants it.
#![allow(clippy::unnecessary_debug_formatting)]

#[path = "../support"]
mod support {
    pub mod agent;
    pub mod bind;
    pub mod changes;
    pub mod config;
    pub mod delegation;
    pub mod haproxy;
    pub mod nginx;
    pub mod pebble;
    pub mod ports;
    pub mod powerdns;
    pub mod seccomp;
    pub mod served;
    pub mod server;
}

mod adopt;
mod ari;
mod batch;
mod canary;
mod daemon;
mod deploy;
mod discover;
mod dns;
mod issue;
mod megaphone;
mod outputs;
mod own_dns;
mod persist;
mod recipes;
mod release;
mod resume;
mod sabotage;
mod sandbox;
mod services;
mod stage;
mod tls_alpn;
mod unprivileged;
mod upkeep;
