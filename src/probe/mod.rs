//! Looking at what an endpoint serves, the way any client would: with a handshake.

mod smtp;
pub mod tls;
pub mod trust;

#[doc(hidden)]
pub use smtp::start_tls;
pub use tls::TlsProbe;
