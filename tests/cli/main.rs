//! The real program, run as an operator runs it: exit codes, words, and what it leaves behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod add;
mod addresses;
mod adopt;
mod alert;
mod bad_host;
mod bad_text;
mod check;
mod desk;
mod discover;
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
