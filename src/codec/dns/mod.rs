//! As much of DNS as proving a name needs: questions, answers, updates (RFC 1035, RFC 2136), and
//! signatures on them (RFC 8945).

pub mod message;
mod question;
pub mod resolv_conf;
pub mod tsig;
pub mod update;
mod wire;
pub mod zone;

pub use message::{Answer, Data, Kind, Outcome, Query, Record};
pub use tsig::TsigKey;
pub use update::Update;
pub use wire::Malformed;
pub use zone::{Texts, Zones};

pub use crate::core::domain_name::DomainName;
