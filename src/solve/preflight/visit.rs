//! One address asked as a CA asks it: by the name, for a token that nobody knows.
//!
//! Redirects are followed to names of the same certificate only: what a stranger's server says must
//! not make this host call anybody else (threat T06).

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use tokio::net::TcpStream;

use super::Eyes;
use crate::core::failure::plain;
use crate::core::name::SubjectName;
use crate::core::preflight::{Met, Page, Visit};
use crate::core::record::ChallengeKind;
use crate::core::time::Span;
use crate::solve::hop::{HOP_TIME, Hop, REDIRECTS, SHOWN};

/// Time for one connection.
const CONNECT_TIME: Span = Span::secs(5);
/// No CA gives such a token: it has too few characters.
const TOKEN: &str = "nolapse-preflight";

impl Eyes {
    pub(super) async fn visit(&self, name: &SubjectName, kind: ChallengeKind, place: SocketAddr) -> Visit {
        let met = match kind {
            // What stands at port 443 is somebody's site: its certificate says nothing of a challenge.
            ChallengeKind::TlsAlpn01 => self.connect(place).await.map_or_else(|met| met, |_| Met::Open),
            _ => self.meet(name, place).await,
        };
        Visit { address: place.ip(), here: is_ours(place.ip()), met }
    }

    async fn meet(&self, name: &SubjectName, place: SocketAddr) -> Met {
        let mut hop = Hop::first(name, TOKEN);
        let first = hop.bare_host().to_owned();
        let mut page = Page::default();
        let mut at = place;
        for _ in 0..=REDIRECTS {
            let stream = match self.connect(at).await {
                Ok(stream) => stream,
                // Only the address itself is judged by how it takes a connection.
                Err(met) if page.redirects.is_empty() => return met,
                Err(_) => return Met::Broken(format!("redirects to {hop}, where nobody answers")),
            };
            let answer = match self.clock.timeout(HOP_TIME, hop.over(stream)).await {
                Some(Ok(answer)) => answer,
                Some(Err(why)) => return Met::Broken(plain(&format!("{hop}: {why}"), SHOWN)),
                None => return Met::Broken(format!("{hop} gives no answer within {HOP_TIME}")),
            };
            page.status = answer.status.as_u16();
            page.server = answer.server;
            let Some(location) = answer.location.filter(|_| answer.status.is_redirection()) else {
                return Met::Answered(page);
            };
            let to = plain(&location, SHOWN);
            hop = match hop.redirected(&location) {
                Ok(next) => next,
                Err(why) => {
                    page.astray = Some((to, why.to_owned()));
                    return Met::Answered(page);
                }
            };
            let Some(address) = self.address_of(&hop, &first, place.ip()).await else {
                page.elsewhere = Some(to);
                return Met::Answered(page);
            };
            page.redirects.push(hop.to_string());
            at = SocketAddr::new(address, if hop.https { 443 } else { place.port() });
        }
        page.astray = Some(("itself".to_owned(), "more than 10 redirects".to_owned()));
        Met::Answered(page)
    }

    /// Where a redirect leads, if it is to a name of the certificate; the same name stays at the same
    /// address.
    async fn address_of(&self, hop: &Hop, first: &str, here: IpAddr) -> Option<IpAddr> {
        let host = hop.bare_host().to_ascii_lowercase();
        if host == first {
            return Some(here);
        }
        let name = SubjectName::parse(&host).ok()?;
        if !self.ours.iter().any(|ours| ours.covers(&name)) {
            return None;
        }
        let addresses = self.addresses(&name).await.ok()?;
        let alike = addresses.iter().find(|address| address.is_ipv4() == here.is_ipv4());
        alike.or(addresses.first()).copied()
    }

    async fn connect(&self, place: SocketAddr) -> Result<TcpStream, Met> {
        match self.clock.timeout(CONNECT_TIME, TcpStream::connect(place)).await {
            None => Err(Met::Silent),
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) => Err(match error.kind() {
                ErrorKind::ConnectionRefused => Met::Refused,
                ErrorKind::TimedOut => Met::Silent,
                ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => Met::NoRoute,
                // A network that lacks IPv6 says so in several ways.
                ErrorKind::HostUnreachable if place.is_ipv6() => Met::NoRoute,
                _ => Met::Broken(plain(&error.to_string(), SHOWN)),
            }),
        }
    }
}

/// Whether an address is this host's: the kernel lets only such ones be bound.
fn is_ours(address: IpAddr) -> bool {
    !address.is_unspecified()
        && address != IpAddr::V4(Ipv4Addr::BROADCAST)
        && UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_host_is_known() {
        assert!(is_ours(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_ours("192.0.2.1".parse().unwrap()));
        assert!(!is_ours(Ipv4Addr::UNSPECIFIED.into()));
    }
}
