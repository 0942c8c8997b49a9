//! Looking at names the way a CA will, before it is asked: who may issue, where the name leads and
//! what answers there, who serves the zone of a proof. Gathers only; `core::preflight` judges.

mod delegation;
mod visit;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use delegation::Proof;

use super::dns::Lookup;
use crate::codec::dns::{Answer, DomainName, Kind};
use crate::core::caa::CaaSet;
use crate::core::name::SubjectName;
use crate::core::preflight::{Caa, Doubt, Facts, Reach, Seen, Way};
use crate::core::record::ChallengeKind;
use crate::core::spec::{Listen, SolverKind, SolverSpec};
use crate::core::time::Span;
use crate::ports::{Inquiry, Preflight, Reply};
use crate::sys::clock::Clock;

/// Names looked at side by side: each has a few questions under way at most.
const SIDE_BY_SIDE: usize = 16;
/// Most names of one inquiry; a certificate has at most 100.
const NAMES_MAX: usize = 1000;
/// Where name servers listen, unless a solver's table says otherwise.
const DNS_PORT: u16 = 53;
/// Where CAs look for http-01 (RFC 8555 §8.3).
const HTTP_PORT: u16 = 80;
/// And for tls-alpn-01 (RFC 8737 §3).
const TLS_PORT: u16 = 443;

/// How long no look is offered after one to which no resolver answered: a host without DNS must not wait for
/// each of its certificates.
const SILENT_FOR: Span = Span::minutes(10);

/// Eyes of this host.
pub struct NamePreflight {
    lookup: Arc<Lookup>,
    /// The operator named resolvers, which know names that the world does not.
    own_resolvers: bool,
    /// When, by the clock's measure, a look ended that no resolver had answered.
    unheard: Mutex<Option<Span>>,
    clock: Clock,
}

/// Everything that the look at one name needs.
#[derive(Clone)]
struct Eyes {
    lookup: Arc<Lookup>,
    /// All names of the inquiry: redirects to these are followed, others are told.
    ours: Arc<[SubjectName]>,
    clock: Clock,
}

impl NamePreflight {
    /// With these resolvers; those of the system where there are none.
    pub fn new(resolvers: Vec<SocketAddr>, clock: &Clock) -> Self {
        Self {
            own_resolvers: !resolvers.is_empty(),
            lookup: Arc::new(Lookup::new(resolvers, DNS_PORT, clock)),
            unheard: Mutex::default(),
            clock: clock.clone(),
        }
    }

    async fn all(&self, inquiry: &Inquiry, seen: &mut BTreeMap<usize, Facts>) {
        let eyes = Eyes {
            lookup: self.lookup.clone(),
            ours: inquiry.names.clone().into(),
            clock: self.clock.clone(),
        };
        let turns = Arc::new(Semaphore::new(SIDE_BY_SIDE));
        let mut looks = JoinSet::new();
        for (at, name) in inquiry.names.iter().take(NAMES_MAX).enumerate() {
            let solvers: Vec<_> =
                inquiry.solvers.iter().filter(|solver| solver.could_prove(name)).cloned().collect();
            let (eyes, name, turns) = (eyes.clone(), name.clone(), turns.clone());
            looks.spawn(async move {
                // Never closed, so there is always a turn.
                let _turn = turns.acquire().await;
                (at, eyes.look(name, &solvers).await)
            });
        }
        while let Some(looked) = looks.join_next().await {
            if let Ok((at, facts)) = looked {
                seen.insert(at, facts);
            }
        }
    }
}

impl Preflight for NamePreflight {
    fn look<'a>(&'a self, inquiry: &'a Inquiry) -> Reply<'a, Vec<Facts>> {
        Box::pin(async move {
            let mut seen = BTreeMap::new();
            // What was seen until time was up counts; a dropped set of tasks ends them.
            let _ = self.clock.timeout(inquiry.within, self.all(inquiry, &mut seen)).await;
            let seen: Vec<_> = seen.into_values().collect();
            if inquiry.names.iter().any(|name| name.base().is_some()) {
                let heard = seen.iter().any(|facts| {
                    !matches!(facts.caa, Caa::NotAsked | Caa::Unknown { doubt: Doubt::Silent(_), .. })
                });
                let unheard = (!heard).then(|| self.clock.monotonic());
                *self.unheard.lock().unwrap_or_else(PoisonError::into_inner) = unheard;
            }
            seen
        })
    }

    fn could_see(&self, name: &SubjectName) -> bool {
        if name.base().is_none() {
            return true;
        }
        let unheard = *self.unheard.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = unheard.is_some_and(|at| self.clock.monotonic() - at < SILENT_FOR);
        !silent && (self.own_resolvers || !name.is_of_no_world())
    }
}

impl Eyes {
    async fn look(&self, name: SubjectName, solvers: &[SolverSpec]) -> Facts {
        let mut ways = Vec::with_capacity(solvers.len());
        for spec in solvers {
            ways.push(self.way(&name, spec).await);
        }
        Facts { caa: self.caa(&name).await, name, ways }
    }

    async fn way(&self, name: &SubjectName, spec: &SolverSpec) -> Way {
        let kind = spec.kind.challenge();
        let port = spec.check_port.unwrap_or(DNS_PORT);
        let seen = match &spec.kind {
            SolverKind::Dns(dns) => {
                let lookup = self.resolving(&dns.resolvers, port);
                Seen::Dns(delegation::of(&lookup, Proof::challenge(name, dns), name, &self.clock).await)
            }
            SolverKind::Persist(persist) => {
                let lookup = self.resolving(&persist.resolvers, port);
                Seen::Dns(delegation::of(&lookup, Proof::persistent(name, persist), name, &self.clock).await)
            }
            SolverKind::Http { .. } | SolverKind::TlsAlpn { .. } | SolverKind::Webroot { .. } => {
                let listen = spec.kind.listens().first();
                Seen::Web(self.reach(name, kind, spec.check_port, listen).await)
            }
        };
        Way { solver: spec.id.clone(), kind, seen }
    }

    /// Where the operator named no resolvers, those for all looks count.
    fn resolving(&self, resolvers: &[SocketAddr], port: u16) -> Lookup {
        if resolvers.is_empty() {
            self.lookup.at_port(port)
        } else {
            Lookup::new(resolvers.to_vec(), port, &self.clock)
        }
    }

    /// A name that leads to loopback has a CA on this host, which looks where `check-port` says.
    async fn reach(
        &self,
        name: &SubjectName,
        kind: ChallengeKind,
        check_port: Option<u16>,
        listen: Option<&Listen>,
    ) -> Reach {
        let usual = if kind == ChallengeKind::TlsAlpn01 { TLS_PORT } else { HTTP_PORT };
        let port_at = |address: &IpAddr| {
            if address.is_loopback() { check_port.unwrap_or(usual) } else { usual }
        };
        let addresses = self.addresses(name).await;
        let mut looks = JoinSet::new();
        for (at, address) in addresses.iter().flatten().copied().enumerate() {
            let place = SocketAddr::new(address, port_at(&address));
            let (eyes, name) = (self.clone(), name.clone());
            looks.spawn(async move { (at, eyes.visit(&name, kind, place).await) });
        }
        let mut visits = looks.join_all().await;
        visits.sort_by_key(|(at, _)| *at);
        // One port for the words; names with addresses on loopback and elsewhere are no real ones.
        let port = addresses.iter().flatten().next().map_or(usual, port_at);
        Reach {
            port,
            addresses,
            visits: visits.into_iter().map(|(_, visit)| visit).collect(),
            opened_on_demand: matches!(listen, Some(Listen::Address(address)) if address.port() == port),
            passed_on: listen.is_some(),
        }
    }

    async fn addresses(&self, name: &SubjectName) -> Result<Vec<IpAddr>, Doubt> {
        let Some(base) = name.base() else {
            return Ok(if let SubjectName::Ip(ip) = name { vec![*ip] } else { Vec::new() });
        };
        let Ok(host) = DomainName::parse(base) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for kind in [Kind::A, Kind::Aaaa] {
            let answer = ask(&self.lookup, &host, kind).await?;
            found.extend(answer.addresses());
        }
        found.truncate(super::dns::lookup::SERVERS_MAX);
        Ok(found)
    }

    /// RFC 8659 §3: the closest name upwards that has any, the root left out.
    async fn caa(&self, name: &SubjectName) -> Caa {
        let Some(base) = name.base() else { return Caa::NotAsked };
        let mut at = DomainName::parse(base).ok();
        while let Some(owner) = at.filter(|owner| !owner.is_root()) {
            match ask(&self.lookup, &owner, Kind::Caa).await {
                Err(doubt) => return Caa::Unknown { at: owner, doubt },
                Ok(answer) => {
                    let records: Vec<_> = answer.caa().cloned().collect();
                    if !records.is_empty() {
                        return Caa::Found(CaaSet { at: owner, records });
                    }
                }
            }
            at = owner.parent();
        }
        Caa::Nothing
    }
}

/// A question whose silence, failure and broken signatures are told apart.
async fn ask(lookup: &Lookup, name: &DomainName, kind: Kind) -> Result<Answer, Doubt> {
    let failure = match lookup.find(name, kind).await {
        Ok(answer) => return Ok(answer),
        Err(failure) => failure,
    };
    if failure.code == "dns-unreachable" {
        return Err(Doubt::Silent(failure.words));
    }
    // What comes only when nobody checks it is not signed as its parent says.
    Err(match lookup.find_unchecked(name, kind).await {
        Ok(_) => Doubt::Bogus(failure.words),
        Err(_) => Doubt::Failing(failure.words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::preflight::Met;

    #[tokio::test]
    async fn a_look_that_nobody_asked_for_is_offered_where_it_could_tell_something() {
        let name = |text: &str| SubjectName::parse(text).unwrap();
        let clock = Clock::wall();
        let world = NamePreflight::new(Vec::new(), &clock);
        assert!(world.could_see(&name("shop.internal")) && world.could_see(&name("192.0.2.1")));
        assert!(!world.could_see(&name("a.example")), "the world has no such name");
        // A port that nobody listens at refuses at once.
        let closed = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let own = NamePreflight::new(vec![closed], &clock);
        assert!(own.could_see(&name("a.example")), "resolvers of one's own may have it");
        let inquiry =
            |name: SubjectName| Inquiry { names: vec![name], solvers: Vec::new(), within: Span::secs(20) };
        own.look(&inquiry(name("192.0.2.1"))).await;
        assert!(own.could_see(&name("a.example")), "an address needs no resolver");
        own.look(&inquiry(name("a.example"))).await;
        assert!(!own.could_see(&name("a.example")), "nobody answered just now");
        assert!(own.could_see(&name("192.0.2.1")));
    }

    #[tokio::test]
    async fn tls_alpn_01_is_looked_for_at_443_and_only_knocked_at() {
        let eyes = |ours: &SubjectName| Eyes {
            lookup: Arc::new(Lookup::new(Vec::new(), DNS_PORT, &Clock::wall())),
            ours: [ours.clone()].into(),
            clock: Clock::wall(),
        };
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = open.local_addr().unwrap().port();
        let here = SubjectName::parse("127.0.0.1").unwrap();
        let kind = ChallengeKind::TlsAlpn01;
        let reach = eyes(&here).reach(&here, kind, Some(port), None).await;
        assert_eq!((reach.port, &reach.visits[0].met, reach.visits[0].here), (port, &Met::Open, true));
        drop(open);
        let listen = Listen::Address(([127, 0, 0, 1], port).into());
        let reach = eyes(&here).reach(&here, kind, Some(port), Some(&listen)).await;
        assert_eq!((&reach.visits[0].met, reach.opened_on_demand), (&Met::Refused, true));
        let reach = eyes(&here).reach(&here, kind, None, Some(&listen)).await;
        assert_eq!((reach.port, reach.opened_on_demand), (TLS_PORT, false));
    }
}
