//! Where keys, certificates and records are kept. Today a directory; `docs/schema.md` is its
//! contract.

pub mod dir;
mod envelope;
mod opening;
mod place;
#[cfg(test)]
mod tests;
