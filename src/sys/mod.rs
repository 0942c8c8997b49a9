//! The only raw clock, disk, process and key-making primitives. Everything above asks here.

pub mod clock;
pub mod disk;
pub mod keys;
pub mod process;
pub mod signal;
