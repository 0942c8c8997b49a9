//! The raw outside: the only clock, disk, process and key-making primitives.

pub mod keys;
