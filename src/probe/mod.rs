//! Looking at what an endpoint serves, the way any client would: with a handshake.

mod dial;
mod ftp;
mod handshake;
mod imap;
mod ldap;
mod line;
mod mysql;
mod pop3;
mod postgres;
mod prelude;
mod proxy;
#[cfg(test)]
mod scripted;
mod smtp;
pub mod tls;
pub mod trust;
mod unseen;

#[doc(hidden)]
pub use prelude::start_tls;
pub use tls::TlsProbe;
