//! Asking what listens on a host which certificates it shows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::agent::lookout::glimpse;
use crate::core::discovery::{Serving, Sightings};
use crate::core::endpoint::{Endpoint, Protocol};
use crate::core::manner::Manner;
use crate::core::name::SubjectName;
use crate::core::scrutiny::Glimpse;
use crate::core::time::Span;
use crate::core::usage::{Listening, Usage};
use crate::ports::{Probe, Scout};

/// Sockets that are asked, and names at each.
const SOCKETS_MAX: usize = 128;
const NAMES_MAX: usize = 16;
/// Side by side.
const HANDS: usize = 8;
/// Bound on one handshake: on this host an answer takes milliseconds, and what speaks no TLS may
/// wait for ever.
const WITHIN: Span = Span::secs(2);
/// What never speaks TLS, and would only be disturbed.
const PLAIN: [u16; 5] = [22, 53, 80, 111, 2049];

/// All that can be seen of certificates on this host.
pub async fn discover(scout: &dyn Scout, probe: Arc<dyn Probe>) -> Sightings {
    let scouted = scout.scout().await;
    let mut sightings = scouted.sightings;
    let mut waiting = scouted
        .listening
        .into_iter()
        .filter(|socket| !PLAIN.contains(&socket.address.port()))
        .take(SOCKETS_MAX)
        .flat_map(|socket| {
            let endpoints = endpoints(&socket, &sightings.usages);
            endpoints.into_iter().map(move |endpoint| (endpoint, socket.process.clone()))
        })
        .collect::<Vec<_>>()
        .into_iter();
    let mut looks = JoinSet::new();
    loop {
        while looks.len() < HANDS
            && let Some((endpoint, process)) = waiting.next()
        {
            let probe = Arc::clone(&probe);
            looks.spawn(async move {
                let seen = probe.look(&endpoint, WITHIN).await;
                (endpoint, process, seen)
            });
        }
        match looks.join_next().await {
            Some(Ok((endpoint, process, seen))) => {
                for sighting in seen {
                    if let Glimpse::Seen(specimen) = glimpse(sighting) {
                        let (endpoint, process) = (endpoint.clone(), process.clone());
                        sightings.served.push(Serving { endpoint, process, specimen: *specimen });
                    }
                }
            }
            // Told by its hook; one place fewer is known.
            Some(Err(_)) => {}
            None => break,
        }
    }
    sightings.served.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
    sightings
}

/// The socket without a name, and with each name that a configuration ties to its port.
fn endpoints(socket: &Listening, usages: &[Usage]) -> Vec<Endpoint> {
    let port = socket.address.port();
    let host = match socket.address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let bare = Endpoint {
        protocol: protocol(port),
        sni: None,
        host: host.to_string(),
        port,
        manner: Manner::default(),
    };
    let mut names: Vec<SubjectName> = usages
        .iter()
        .filter(|usage| usage.ports.contains(&port))
        .flat_map(|usage| &usage.names)
        .filter_map(|name| SubjectName::parse(name).ok())
        .filter(|name| matches!(name, SubjectName::Dns(_)))
        .collect();
    names.sort();
    names.dedup();
    let named = names.iter().take(NAMES_MAX).map(|name| bare.for_name(name)).collect::<Vec<_>>();
    std::iter::once(bare).chain(named).collect()
}

/// What is spoken at a port by custom.
const fn protocol(port: u16) -> Protocol {
    match port {
        25 | 587 | 2525 => Protocol::Smtp,
        143 => Protocol::Imap,
        110 => Protocol::Pop3,
        21 => Protocol::Ftp,
        389 => Protocol::Ldap,
        3306 => Protocol::Mysql,
        5432 => Protocol::Postgres,
        _ => Protocol::Tls,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::usage::Server;

    #[test]
    fn a_socket_is_asked_for_each_name_that_is_configured_there() {
        let usage = Usage {
            server: Server::Nginx,
            origin: String::new(),
            certificate: "/a.pem".into(),
            key: None,
            names: vec!["a.example".into(), "*.b.example".into(), "a.example".into()],
            ports: vec![443],
        };
        let asked = |address: &str| -> Vec<String> {
            let socket = Listening { address: address.parse().unwrap(), process: None };
            endpoints(&socket, std::slice::from_ref(&usage)).iter().map(ToString::to_string).collect()
        };
        assert_eq!(asked("0.0.0.0:443"), ["https://127.0.0.1:443", "https://a.example@127.0.0.1:443"]);
        assert_eq!(asked("[::]:25"), ["smtp://[::1]:25"]);
        assert_eq!(asked("192.0.2.1:5432"), ["postgres://192.0.2.1:5432"]);
    }
}
