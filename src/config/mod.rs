//! The operator's configuration: texts in, [`Wanted`](crate::core::spec::Wanted) and all
//! problems out. Pure: the caller reads the files and asks the environment.
//!
//! ```text
//! Source ─ piece ─ syntax ─▶ outline ─▶ issuer, solver, hook ─▶ roster (certificate) ─▶ Resolved
//!                              ▲ preset (same grammar, one layer below)      ▲ table (every key)
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod address;
mod agent;
mod alert;
mod certificate;
mod discover;
mod dns;
mod domain;
pub mod draft;
mod effective;
mod file;
mod hook;
mod issuer;
mod nearest;
mod observe;
mod outline;
mod output;
mod piece;
pub mod preset;
mod problem;
mod raw;
mod reference;
mod resolve;
mod roster;
mod sample;
mod solver;
mod syntax;
pub mod table;
mod value;
mod watch;
mod window;

pub use address::IP_PROFILE;
pub use agent::{AgentSettings, Facts, LogFormat, LogLevel, MetricsListen, Places};
pub use alert::AlertSettings;
pub use discover::{NamesSource, Transparency};
pub use effective::effective;
pub use file::{Excerpt, Source};
pub use problem::{Problem, Severity};
pub use reference::reference;
pub use resolve::{Resolved, resolve};
pub use sample::sample;
