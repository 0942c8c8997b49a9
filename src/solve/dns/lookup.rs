//! What can be found out by asking resolvers: where a name leads, which zone it lies in, who serves
//! that zone.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::exchange::{Mute, ask_as};
use crate::codec::dns::{Answer, Data, DomainName, Kind, Query, resolv_conf};
use crate::core::failure::{Failure, Fault};
use crate::sys::clock::Clock;
use crate::sys::disk::Disk;

/// Most aliases followed from one name; Let's Encrypt's resolver follows 11, and who needs more than
/// this has a mistake.
pub const ALIASES_MAX: usize = 8;
/// Most servers of one zone, and addresses of all of them together.
pub const SERVERS_MAX: usize = 16;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLV_CONF_MAX: usize = 64 << 10;

/// Resolvers, and how to ask them.
pub struct Lookup {
    /// None: those of resolv.conf, read each time, as it changes with the network.
    resolvers: Vec<SocketAddr>,
    /// Where name servers listen: 53 everywhere but in tests.
    port: u16,
    /// The one that answered last is asked first, so a dead one costs its wait once.
    preferred: AtomicUsize,
    disk: Disk,
    clock: Clock,
}

/// A part of the tree of names that is changed in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    pub name: DomainName,
    /// The server that its SOA record names.
    pub primary: DomainName,
}

/// One address of one server of a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NameServer {
    /// `ns1.example.com`, or what the operator wrote.
    pub name: String,
    pub address: SocketAddr,
}

impl NameServer {
    /// `ns1.example.com (192.0.2.53)`; an address that has no name is told once.
    pub fn place(&self) -> String {
        let ip = self.address.ip().to_string();
        if self.name == ip { ip } else { format!("{} ({ip})", self.name) }
    }
}

impl Lookup {
    pub fn new(resolvers: Vec<SocketAddr>, port: u16, clock: &Clock) -> Self {
        Self { resolvers, port, preferred: AtomicUsize::new(0), disk: Disk::real(), clock: clock.clone() }
    }

    /// Asks the resolvers, one after the other, until one is sure.
    ///
    /// Codes: `dns-unreachable` where none answers, `dns-answer` where none can say.
    pub async fn find(&self, name: &DomainName, kind: Kind) -> Result<Answer, Failure> {
        self.find_as(&Query { id: 0, name: name.clone(), kind, recursion: true, unchecked: false }).await
    }

    /// As [`Self::find`], where wrong signatures don't matter.
    pub async fn find_unchecked(&self, name: &DomainName, kind: Kind) -> Result<Answer, Failure> {
        self.find_as(&Query { id: 0, name: name.clone(), kind, recursion: true, unchecked: true }).await
    }

    async fn find_as(&self, question: &Query) -> Result<Answer, Failure> {
        let name = &question.name;
        let resolvers = self.resolvers();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut said = Vec::new();
        let mut heard = false;
        for step in 0..resolvers.len() {
            let at = first.wrapping_add(step) % resolvers.len();
            match ask_as(resolvers[at], question, &self.clock).await {
                Ok(answer) if answer.is_sure() => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(answer) => {
                    heard = true;
                    said.push(format!("{} says {}", resolvers[at], answer.outcome.word()));
                }
                Err(mute) => {
                    heard |= matches!(mute, Mute::Garbled(_));
                    said.push(format!("{} {mute}", resolvers[at]));
                }
            }
        }
        let said = said.join("; ");
        Err(if heard {
            let words = format!(
                "no resolver can say what {name} is: {said}; ask the zone's servers by `dig {name}`, SERVFAIL \
                 often means broken DNSSEC"
            );
            Failure::transient(Fault::Network, "dns-answer", words)
        } else {
            let words = format!(
                "no resolver answers: {said}; look at {RESOLV_CONF}, or name others with `resolvers` in the \
                 solver's table"
            );
            Failure::transient(Fault::Network, "dns-unreachable", words)
        })
    }

    /// Where the aliases (CNAME) of `name` end. A name that has none, or does not exist, is its own
    /// end.
    ///
    /// Codes: `dns-alias`, and those of [`Self::find`].
    pub async fn follow(&self, name: &DomainName) -> Result<DomainName, Failure> {
        self.follow_until(name, |_| false).await
    }

    /// As [`Self::follow`], and no further than to the first name that is `there`: of that nothing is asked.
    pub async fn follow_until(
        &self,
        name: &DomainName,
        there: impl Fn(&DomainName) -> bool,
    ) -> Result<DomainName, Failure> {
        let mut passed = vec![name.clone()];
        let mut at = name.clone();
        while !there(&at) {
            let answer = self.find(&at, Kind::Cname).await?;
            let Some(next) = answer.alias(&at).cloned() else { return Ok(at) };
            let circle = passed.contains(&next);
            passed.push(next.clone());
            if circle || passed.len() > ALIASES_MAX + 1 {
                let chain = passed.iter().map(DomainName::as_str).collect::<Vec<_>>().join(" → ");
                let what = if circle {
                    "lead in a circle".to_owned()
                } else {
                    format!("are more than {ALIASES_MAX}")
                };
                let words = format!("the aliases (CNAME) of {name} {what}: {chain}; mend them in DNS");
                return Err(Failure::refused(Fault::Config, "dns-alias", words));
            }
            at = next;
        }
        Ok(at)
    }

    /// The zone that `name` lies in, found by asking for SOA upwards.
    ///
    /// Codes: `dns-no-zone`, and those of [`Self::find`].
    pub async fn zone_of(&self, name: &DomainName) -> Result<Zone, Failure> {
        let mut at = Some(name.clone());
        while let Some(owner) = at.filter(|owner| !owner.is_root()) {
            let answer = self.find(&owner, Kind::Soa).await?;
            // Of a name inside, the zone is told beside the answer that there is no such record.
            let told = answer.answers.iter().filter(|record| record.name == owner);
            let beside = answer.authority.iter().filter(|record| owner.lies_in(&record.name));
            for record in told.chain(beside) {
                if let Data::Soa(primary) = &record.data
                    && !record.name.is_root()
                {
                    return Ok(Zone { name: record.name.clone(), primary: primary.clone() });
                }
            }
            at = owner.parent();
        }
        let words =
            format!("{name} lies in no zone that can be found; is its domain registered and delegated?");
        Err(Failure::refused(Fault::Config, "dns-no-zone", words))
    }

    /// Every address of every server of `zone`.
    pub async fn servers(&self, zone: &DomainName) -> Result<Vec<NameServer>, Failure> {
        let answer = self.find(zone, Kind::Ns).await?;
        let names: BTreeSet<_> = answer
            .answers
            .iter()
            .filter(|record| record.name == *zone)
            .filter_map(|record| if let Data::Ns(name) = &record.data { Some(name.clone()) } else { None })
            .take(SERVERS_MAX)
            .collect();
        let mut servers = BTreeSet::new();
        let mut lost = None;
        for name in names {
            match self.addresses(&name).await {
                Ok(addresses) => servers.extend(addresses.into_iter().map(|ip| NameServer {
                    name: name.to_string(),
                    address: SocketAddr::new(ip, self.port),
                })),
                // One whose own name can't be found is no reason not to ask the others.
                Err(failure) => lost = Some(failure),
            }
        }
        match lost {
            Some(failure) if servers.is_empty() => Err(failure),
            _ => Ok(servers.into_iter().take(SERVERS_MAX).collect()),
        }
    }

    /// A and AAAA of a host; empty where it has none.
    pub async fn addresses(&self, host: &DomainName) -> Result<Vec<IpAddr>, Failure> {
        let mut found = Vec::new();
        for kind in [Kind::A, Kind::Aaaa] {
            let answer = self.find(host, kind).await?;
            // Behind an alias the records have another name; resolvers send the whole chain.
            found.extend(answer.addresses());
        }
        found.truncate(SERVERS_MAX);
        Ok(found)
    }

    /// The same resolvers, for name servers that listen elsewhere.
    pub fn at_port(&self, port: u16) -> Self {
        Self::new(self.resolvers.clone(), port, &self.clock)
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A free look: does any resolver answer?
    pub async fn able(&self) -> Result<(), Failure> {
        self.find(&DomainName::ROOT, Kind::Ns).await.map(|_| ()).or_else(|failure| {
            // One that knows nothing of the root, as inside a company, answers all the same.
            if failure.code == "dns-answer" { Ok(()) } else { Err(failure) }
        })
    }

    fn resolvers(&self) -> Vec<SocketAddr> {
        if !self.resolvers.is_empty() {
            return self.resolvers.clone();
        }
        let content = self.disk.read(Path::new(RESOLV_CONF), RESOLV_CONF_MAX);
        let text = content.map(|content| String::from_utf8_lossy(content.bytes()).into_owned());
        resolv_conf::parse(&text.unwrap_or_default())
    }
}
