//! Where a name leads, for validation: a table instead of the DNS.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::problem::Problem;

#[derive(Debug, Clone, Default)]
pub(crate) struct Resolver {
    pub(crate) everything: Option<IpAddr>,
    pub(crate) names: BTreeMap<String, IpAddr>,
}

impl Resolver {
    /// The address to connect to; never anything but loopback, whatever the table says.
    pub(crate) fn lookup(&self, host: &str) -> Result<IpAddr, Problem> {
        let literal: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
        // An address is connected to as it is (RFC 8738 §4), unless it is none that this CA may connect to.
        let itself = literal.filter(IpAddr::is_loopback);
        let Some(address) = self.names.get(host).copied().or(itself).or(self.everything).or(literal) else {
            return Err(Problem::new("dns", 400, format!("no address is known for {host}")));
        };
        if address.is_loopback() {
            Ok(address)
        } else {
            Err(Problem::new(
                "connection",
                400,
                format!("{host} is {address}, which is not a loopback address"),
            ))
        }
    }
}
