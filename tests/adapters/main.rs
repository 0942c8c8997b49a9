//! The adapters of floor 3 against real sockets, real programs and, where they are installed,
//! real servers. Everything listens on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod alert;
mod bench;
mod dns;
mod dns_exec;
#[cfg(feature = "dns-providers")]
mod dns_hosted;
mod dns_web;
mod herald;
mod hook;
mod manner;
mod name_server;
mod name_server_sockets;
mod preflight;
mod probe;
mod propagation;
mod responder;
mod self_check;
mod tls_alpn;
mod webroot;

#[path = "../support/bind.rs"]
mod bind;
#[path = "../support/ports.rs"]
#[allow(dead_code)]
mod ports;
#[cfg(feature = "dns-providers")]
#[path = "../support/powerdns.rs"]
#[allow(dead_code)]
mod powerdns;
#[path = "../support/served.rs"]
#[allow(dead_code)]
mod served;
#[path = "../support/unbound.rs"]
mod unbound;
