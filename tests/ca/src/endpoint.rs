//! Which resource a path names.

use std::fmt;

/// The kinds of resource the CA serves, as used in faults and in the request log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    Directory,
    NewNonce,
    NewAccount,
    NewOrder,
    RevokeCert,
    KeyChange,
    /// ACME renewal information (RFC 9773).
    RenewalInfo,
    Account,
    Order,
    Finalize,
    Authorization,
    Challenge,
    /// Download of an issued chain, the alternates included.
    Certificate,
    /// The terms of service, a plain page.
    Terms,
    /// Any path the CA does not serve.
    Unknown,
}

impl Endpoint {
    /// A short, stable name for logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::NewNonce => "new-nonce",
            Self::NewAccount => "new-account",
            Self::NewOrder => "new-order",
            Self::RevokeCert => "revoke-cert",
            Self::KeyChange => "key-change",
            Self::RenewalInfo => "renewal-info",
            Self::Account => "account",
            Self::Order => "order",
            Self::Finalize => "finalize",
            Self::Authorization => "authorization",
            Self::Challenge => "challenge",
            Self::Certificate => "certificate",
            Self::Terms => "terms",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A path taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) endpoint: Endpoint,
    /// The object's id; empty for resources of which there is only one.
    pub(crate) id: String,
    /// 0 for a certificate's default chain, n for its n-th alternate.
    pub(crate) alternate: usize,
}

impl Route {
    pub(crate) fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (endpoint, id, alternate) = match parts[..] {
            ["directory"] => (Endpoint::Directory, "", 0),
            ["new-nonce"] => (Endpoint::NewNonce, "", 0),
            ["new-account"] => (Endpoint::NewAccount, "", 0),
            ["new-order"] => (Endpoint::NewOrder, "", 0),
            ["revoke-cert"] => (Endpoint::RevokeCert, "", 0),
            ["key-change"] => (Endpoint::KeyChange, "", 0),
            ["renewal-info", id] => (Endpoint::RenewalInfo, id, 0),
            ["account", id] => (Endpoint::Account, id, 0),
            ["order", id] => (Endpoint::Order, id, 0),
            ["order", id, "finalize"] => (Endpoint::Finalize, id, 0),
            ["authorization", id] => (Endpoint::Authorization, id, 0),
            ["challenge", id] => (Endpoint::Challenge, id, 0),
            ["certificate", id] => (Endpoint::Certificate, id, 0),
            ["certificate", id, "alternate", n] => match n.parse() {
                Ok(n) if n > 0 => (Endpoint::Certificate, id, n),
                _ => (Endpoint::Unknown, "", 0),
            },
            ["terms"] => (Endpoint::Terms, "", 0),
            _ => (Endpoint::Unknown, "", 0),
        };
        Self { endpoint, id: id.to_owned(), alternate }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_resources() {
        assert_eq!(Route::of("/new-order").endpoint, Endpoint::NewOrder);
        assert_eq!(Route::of("/order/abc/finalize").endpoint, Endpoint::Finalize);
        assert_eq!(Route::of("/certificate/abc/alternate/2").alternate, 2);
        assert_eq!(Route::of("/certificate/abc/alternate/0").endpoint, Endpoint::Unknown);
        assert_eq!(Route::of("/").endpoint, Endpoint::Unknown);
    }
}
