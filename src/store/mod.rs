//! Where keys, certificates and records are kept. Today a directory; `docs/schema.md` is its
//! contract.

mod dir;
mod envelope;
mod opening;
mod place;
pub mod scratch;
#[cfg(test)]
mod tests;

pub use dir::{DirStore, StoreReport};
pub use opening::owner;
