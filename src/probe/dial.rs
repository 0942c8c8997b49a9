//! From an endpoint to a connection.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::proxy;
use super::unseen::Unseen;
use crate::core::endpoint::Endpoint;
use crate::core::silence::Silence;
use crate::core::time::Span;
use crate::sys::clock::Clock;

/// Addresses of one host that are looked at.
pub const ADDRESSES_MAX: usize = 16;

/// All addresses of the endpoint's host, each once, in the resolver's order.
pub async fn resolve(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Unseen> {
    let host = &endpoint.host;
    let found = tokio::net::lookup_host((host.as_str(), endpoint.port)).await;
    let found = found
        .map_err(|error| Unseen::new(Silence::Unresolved, format!("{host} can't be resolved: {error}")))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(Unseen::new(Silence::Unresolved, format!("{host} has no address")));
    }
    Ok(addresses)
}

/// The first of `addresses` that takes the connection, with what it expects first said. Each gets
/// its share of the time, so that a dead one leaves some for the next.
pub async fn dial(
    clock: &Clock,
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
    within: Span,
) -> Result<TcpStream, Unseen> {
    let share = within.over(i64::try_from(addresses.len().max(1)).unwrap_or(1));
    let mut refusals: Vec<(SocketAddr, Unseen)> = Vec::new();
    for address in addresses {
        match clock.timeout(share, TcpStream::connect(address)).await {
            Some(Ok(mut stream)) => {
                if let Some(version) = endpoint.manner.proxy {
                    stream.write_all(proxy::header(version)).await?;
                }
                return Ok(stream);
            }
            Some(Err(error)) => refusals.push((*address, Unseen::from(error))),
            None => {
                refusals.push((*address, Unseen::new(Silence::TimedOut, format!("timed out after {share}"))));
            }
        }
    }
    match refusals.as_slice() {
        [] => Err(Unseen::new(Silence::Unresolved, format!("{} has no address", endpoint.host))),
        [(_, unseen)] => Err(unseen.clone()),
        [(_, first), ..] => {
            let each: Vec<_> =
                refusals.iter().map(|(to, unseen)| format!("{}: {}", to.ip(), unseen.words)).collect();
            Err(Unseen::new(first.why, each.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn every_address_that_refused_is_told() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let endpoint = Endpoint::parse(&format!("127.0.0.1:{free}")).unwrap();
        let clock = Clock::wall();
        let one = resolve(&endpoint).await.unwrap();
        let unseen = dial(&clock, &endpoint, &one, Span::secs(9)).await.unwrap_err();
        assert_eq!(unseen, Unseen::new(Silence::Closed, "connection refused"));
        let two = [one[0], SocketAddr::from(([127, 0, 0, 2], free))];
        let unseen = dial(&clock, &endpoint, &two, Span::secs(9)).await.unwrap_err();
        assert_eq!(unseen.words, "127.0.0.1: connection refused, 127.0.0.2: connection refused");
        assert_eq!(dial(&clock, &endpoint, &[], Span::secs(9)).await.unwrap_err().why, Silence::Unresolved);
    }
}
