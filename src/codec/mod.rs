//! Text and bytes to types and back. Everything here is a function of its arguments: no file is
//! opened, no clock is read, and no input, however hostile, makes it panic.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod assignments;
pub mod bundle;
pub mod digest;
pub mod form;
pub mod jwk;
pub mod keepsake;
pub mod key;
pub mod pem;
pub mod pkcs12;
pub mod renewal;
pub mod seen;
pub mod state;
pub mod x509;
