//! Fuzz targets for everything that nolapse reads from others.
//!
//! A target is a law over any bytes and a directory of seeds, `corpus/NAME`. Seeds are mutated for a while
//! (`FUZZ_SECONDS`, by default two), and inputs that lead to an outcome not seen before become seeds for the rest
//! of the run. It runs on stable Rust as ordinary tests, without coverage feedback: what the outcomes do not
//! tell apart, it does not look for.
//!
//! An input that breaks a law is made smaller and written to `corpus/NAME/found-HASH`, where every later run
//! tries it first.

#[cfg(test)]
mod engine;
#[cfg(test)]
mod mutation;
#[cfg(test)]
mod targets;
