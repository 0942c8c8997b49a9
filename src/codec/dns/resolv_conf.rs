//! The system's name servers, from resolv.conf(5).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Most servers taken; the system's own library takes three.
pub const SERVERS_MAX: usize = 3;

/// The servers that the text names, those on this host when it names none.
pub fn parse(text: &str) -> Vec<SocketAddr> {
    let named: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()).flatten()
        })
        // A zone after `%` names a link of this host, which a socket address has no place for.
        .filter_map(|word| word.split('%').next()?.parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, 53))
        .take(SERVERS_MAX)
        .collect();
    if named.is_empty() {
        return vec![([127, 0, 0, 1], 53).into(), (Ipv6Addr::LOCALHOST, 53).into()];
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_system_reads_them() {
        let text = "# nameserver 192.0.2.9\nsearch a.example\nnameserver 192.0.2.1 # x\n\tnameserver\t2001:db8::1\nnameserver no\n";
        assert_eq!(parse(text), ["192.0.2.1:53", "[2001:db8::1]:53"].map(|a| a.parse().unwrap()));
        assert_eq!(parse("").len(), 2);
    }
}
