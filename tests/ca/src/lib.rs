//! A small but real ACME certificate authority (RFC 8555) that runs inside a test or an example.
//!
//! It speaks the protocol over TLS on loopback, verifies every signature, validates by connecting to the
//! applicant, and issues certificates that chain to a root of its own. It knows nothing of the clients it
//! serves, so that it cannot share their misreadings of the standard.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use std::time::Duration;
//! use test_ca::{Ca, Effect, Endpoint, Fault};
//!
//! let ca = Ca::builder().resolve_all([127, 0, 0, 1]).http_port(5002).lifetime(Duration::from_secs(60)).start().await?;
//! println!("{} trusts {}", ca.directory_url(), ca.api_root_pem());
//! ca.set_fault(Fault::new(Effect::Stall).at(Endpoint::NewOrder).times(1));
//! // ... run a client ...
//! assert_eq!(ca.count(Endpoint::NewOrder), 2);
//! # Ok(())
//! # }
//! ```
//!
//! Everything a test may change while the CA runs is a method of [`Ca`]; everything fixed at the start is a
//! method of [`CaBuilder`]. What misbehaves, and when, is a [`Fault`].

mod account;
mod authority;
mod authorization;
mod bomb;
mod builder;
mod ca;
mod certificate;
mod challenge;
mod csr;
mod delivery;
mod dice;
mod directory;
mod dispatch;
mod dns01;
mod effect;
mod endpoint;
mod fault;
mod hierarchy;
mod http01;
mod identifier;
mod instant;
mod issuance;
mod journal;
mod jwk;
mod jws;
mod key_change;
mod lie;
mod limits;
mod nonce;
mod order;
mod problem;
mod profile;
mod renewal;
mod reply;
mod resolver;
mod revocation;
mod server;
mod tls_alpn01;

pub use builder::CaBuilder;
pub use ca::Ca;
pub use certificate::IssuedCertificate;
pub use challenge::ChallengeKind;
pub use effect::{Delivery, Effect, RetryAfter, Stage};
pub use endpoint::Endpoint;
pub use fault::Fault;
pub use journal::RequestRecord;
pub use lie::{ChainLie, LeafLie};
pub use limits::{Allowance, Limits};
pub use renewal::RenewalWindow;
