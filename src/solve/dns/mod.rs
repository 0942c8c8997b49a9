//! Asking name servers, without the system's library: what a CA will see is asked for, not what
//! this host's files and caches say.

pub mod exchange;
pub mod lookup;

pub use lookup::{Lookup, NameServer, Zone};
