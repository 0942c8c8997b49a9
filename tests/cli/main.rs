//! The real program, run as an operator runs it: exit codes, words, and what it leaves behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod add;
mod addresses;
mod adopt;
mod alert;
mod bad_host;
mod bad_text;
mod check;
mod debts;
mod desk;
mod discover;
mod doctor;
mod forecast;
mod hooks;
mod init;
mod pages;
mod pair;
mod privilege;
mod rollback;
mod status;
mod status_page;
mod verbs;
mod watch;

#[path = "../support/bind.rs"]
#[allow(dead_code)]
mod bind;
#[path = "../support/ports.rs"]
#[allow(dead_code)]
mod ports;
