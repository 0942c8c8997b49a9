//! Fuzz targets for everything that nolapse reads from others.
//!
//! A target is a law over any bytes and a directory of seeds, `corpus/NAME`. Two engines look for bytes that
//! break a law, and neither knows what it says:
//!
//! - `engine`, as ordinary tests on stable Rust: seeds are mutated for a while (`FUZZ_SECONDS`, by default two),
//!   and inputs that lead to an outcome not seen before become seeds for the rest of the run. What the outcomes
//!   do not tell apart, it does not look for.
//! - `guided.rs`, libFuzzer: whatever takes a new edge through the program becomes a seed. `tests/fuzz/run`
//!   builds and runs it.
//!
//! Either writes an input that breaks a law to `corpus/NAME/found-HASH`, where every later run tries it first.

pub mod targets;

#[cfg(test)]
mod engine;
#[cfg(test)]
mod mutation;
