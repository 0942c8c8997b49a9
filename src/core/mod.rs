//! The floor that thinks. Nothing here asks for the time, draws a number, opens a file or a
//! socket: what it needs comes in as arguments and what should be done goes out as values.
//!
//! Outside crates named here: `serde`, so that values can be stored. Nothing else.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod ack;
pub mod adoption;
pub mod agenda;
pub mod alert;
pub mod attempt;
pub mod caa;
pub mod census;
pub mod chain;
pub mod channel;
pub mod concern;
pub mod decide;
pub mod deploy_window;
pub mod diagnosis;
pub mod discovery;
pub mod dns_server;
pub mod domain_name;
pub mod endpoint;
pub mod event;
pub mod failure;
pub mod finding;
pub mod forecast;
pub mod form;
pub mod foundling;
pub mod gravity;
pub mod labels;
pub mod ladder;
pub mod layout;
pub mod leaf;
pub mod lineages;
pub mod list;
pub mod manner;
pub mod memo;
pub mod name;
pub mod order;
pub mod pattern;
pub mod persist;
pub mod plan;
pub mod plight;
pub mod preflight;
pub mod record;
pub mod release;
pub mod retention;
pub mod scrutiny;
pub mod showing;
pub mod silence;
pub mod situation;
pub mod spec;
pub mod specimen;
pub mod tally;
mod text;
pub mod time;
pub mod tree;
pub mod trouble;
pub mod usage;
pub mod vendor;
pub mod watch;
pub mod watched;
pub mod window;
