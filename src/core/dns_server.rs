//! Where a name server is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::domain_name::DomainName;
use super::name::BadName;

/// Where a server is: `192.0.2.53`, `[2001:db8::53]:5353`, `ns1.example.com`, `ns1.example.com:5353`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsServer {
    At(SocketAddr),
    Named(DomainName, u16),
}

impl DnsServer {
    const PORT: u16 = 53;

    /// An address without a name, as resolvers are told.
    pub fn address(text: &str) -> Result<SocketAddr, BadName> {
        match Self::parse(text) {
            Ok(Self::At(address)) => Ok(address),
            _ => Err(BadName(
                "an IP address is needed here, with or without a port: 192.0.2.53, [2001:db8::53]:5353",
            )),
        }
    }

    pub fn parse(text: &str) -> Result<Self, BadName> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 { Err(HELP) } else { Ok(Self::At(address)) };
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self::At(SocketAddr::new(ip, Self::PORT)));
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0).ok_or(HELP)?),
            None => (text, Self::PORT),
        };
        match DomainName::parse(host) {
            Ok(host) if !host.is_root() => Ok(Self::Named(host, port)),
            _ => Err(HELP),
        }
    }
}

const HELP: BadName = BadName("a name server is written as HOST or HOST:PORT");

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(address) => address.fmt(f),
            Self::Named(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_written_with_or_without_a_port() {
        let host = |text: &str| DomainName::parse(text).unwrap();
        for (text, server) in [
            ("192.0.2.1", Some(DnsServer::At("192.0.2.1:53".parse().unwrap()))),
            ("2001:db8::1", Some(DnsServer::At("[2001:db8::1]:53".parse().unwrap()))),
            ("[2001:db8::1]", Some(DnsServer::At("[2001:db8::1]:53".parse().unwrap()))),
            ("[2001:db8::1]:5353", Some(DnsServer::At("[2001:db8::1]:5353".parse().unwrap()))),
            ("ns.example", Some(DnsServer::Named(host("ns.example"), 53))),
            ("ns.example:5353", Some(DnsServer::Named(host("ns.example"), 5353))),
            ("ns.example:0", None),
            ("ns example", None),
            ("", None),
        ] {
            assert_eq!(DnsServer::parse(text).ok(), server, "{text}");
        }
    }
}
