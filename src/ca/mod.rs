//! The CA, by ACME (RFC 8555). The only folder that names `instant-acme`.
//!
//! `instant-acme` keeps orders, authorizations and challenges; around it stand an HTTP client
//! that makes every answer one that it can read (`http`), our own words for problems
//! (`problem`) and an account whose key is saved before the CA hears of it (`account`).

mod account;
mod acme;
mod courier;
mod directory;
mod http;
mod jws;
mod nonce;
mod orders;
mod persist;
mod problem;
#[doc(hidden)]
pub mod readers;
mod shared;
mod tidy;
mod trust;
mod view;

pub use account::{keep, kept};
pub use acme::AcmeCa;
