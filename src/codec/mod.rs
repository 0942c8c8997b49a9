//! Text and bytes to types and back. Everything here is a function of its arguments: no file is
//! opened, no clock is read, and no input, however hostile, makes it panic.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod assignments;
pub mod beside;
pub mod bundle;
pub mod digest;
pub mod dns;
pub mod form;
pub mod glob;
pub mod jwk;
pub mod keepsake;
pub mod key;
pub mod listening;
pub mod pem;
pub mod pkcs12;
pub mod renewal;
pub mod renewers;
pub mod seen;
pub mod servers;
pub mod state;
pub mod transparency;
pub mod validation;
pub mod x509;
