//! Ways of proving control of a name. Answers to http-01 and tls-alpn-01 go through the store, so whichever
//! agent on this host holds the port answers for all of them.

pub mod dns;
pub mod dns01;
pub mod holder;
pub mod http01;
pub mod listener;
pub mod propagation;
pub mod responder;
pub mod self_check;
pub mod socket;
pub mod stand;
pub mod tls_alpn01;
pub mod webroot;
