//! The raw outside: the only clock, disk, process and key-making primitives.

pub mod clock;
pub mod descriptors;
pub mod disk;
pub mod http;
pub mod keys;
pub mod limit;
pub mod privilege;
pub mod process;
pub mod signal;
pub mod spool;
