//! The zone that a proof by DNS lies in, and what each of its servers says of it.

use std::net::SocketAddr;

use tokio::task::JoinSet;

use super::ask as asked;
use crate::codec::dns::{Answer, Data, DomainName, Kind};
use crate::codec::persist::place_of;
use crate::core::failure::{Failure, Fault};
use crate::core::name::SubjectName;
use crate::core::preflight::{Delegation, Obstacle, Says, Server};
use crate::core::spec::{DnsSpec, PersistSpec};
use crate::solve::dns::exchange::ask;
use crate::solve::dns::{Lookup, NameServer};
use crate::sys::clock::Clock;

/// Where a proof lies, and what the configuration says of its zone.
pub(super) struct Proof<'a> {
    /// `None` where DNS has no such name.
    at: Option<DomainName>,
    zone: Option<&'a DomainName>,
    authoritative: &'a [SocketAddr],
}

impl<'a> Proof<'a> {
    /// A text of ours. That of dns-account-01 lies below it, in the same zone as a rule.
    pub(super) fn challenge(name: &SubjectName, spec: &'a DnsSpec) -> Self {
        let at = DomainName::challenge_of(name.base().unwrap_or_default()).ok();
        Self { at, zone: spec.zone.as_ref(), authoritative: &spec.authoritative }
    }

    /// A text of the operator's.
    pub(super) fn persistent(name: &SubjectName, spec: &'a PersistSpec) -> Self {
        let at = place_of(name.base().unwrap_or_default());
        Self { at, zone: None, authoritative: &spec.authoritative }
    }
}

pub(super) async fn of(lookup: &Lookup, proof: Proof<'_>, name: &SubjectName, clock: &Clock) -> Delegation {
    let Some(at) = proof.at else {
        let words = format!("the place for a proof of {name} is no name that DNS takes");
        let failure = Failure::refused(Fault::Config, "dns-no-zone", words);
        return Delegation {
            at: DomainName::ROOT,
            leads_to: DomainName::ROOT,
            zone: Err(Obstacle::Failure(failure)),
            servers: Vec::new(),
        };
    };
    let unknown = |leads_to: &DomainName, obstacle| Delegation {
        at: at.clone(),
        leads_to: leads_to.clone(),
        zone: Err(obstacle),
        servers: Vec::new(),
    };
    // Asked first in a way that tells silence from broken signatures.
    if let Err(doubt) = asked(lookup, &at, Kind::Cname).await {
        return unknown(&at, Obstacle::Doubt(doubt));
    }
    let leads_to = match lookup.follow(&at).await {
        Ok(leads_to) => leads_to,
        Err(failure) => return unknown(&at, obstacle(lookup, &at, failure).await),
    };
    let zone = match proof.zone {
        Some(zone) => zone.clone(),
        None => match lookup.zone_of(&leads_to).await {
            Ok(zone) => zone.name,
            Err(failure) => return unknown(&leads_to, obstacle(lookup, &leads_to, failure).await),
        },
    };
    let servers = if proof.authoritative.is_empty() {
        match lookup.servers(&zone).await {
            Ok(servers) => servers,
            Err(failure) => return unknown(&leads_to, obstacle(lookup, &zone, failure).await),
        }
    } else {
        let named = |address: &SocketAddr| NameServer { name: address.ip().to_string(), address: *address };
        proof.authoritative.iter().map(named).collect()
    };
    let servers = all(&servers, &zone, clock).await;
    Delegation { at, leads_to, zone: Ok(zone), servers }
}

async fn obstacle(lookup: &Lookup, name: &DomainName, failure: Failure) -> Obstacle {
    if !matches!(failure.code.as_str(), "dns-answer" | "dns-unreachable") {
        return Obstacle::Failure(failure);
    }
    match asked(lookup, name, Kind::Soa).await {
        Err(doubt) => Obstacle::Doubt(doubt),
        // It passed meanwhile, or another name on the way is at fault.
        Ok(_) => Obstacle::Doubt(crate::core::preflight::Doubt::Failing(failure.words)),
    }
}

async fn all(servers: &[NameServer], zone: &DomainName, clock: &Clock) -> Vec<Server> {
    let mut asking = JoinSet::new();
    for (at, server) in servers.iter().enumerate() {
        let (address, zone, clock) = (server.address, zone.clone(), clock.clone());
        asking.spawn(async move {
            let says = match ask(address, &zone, Kind::Soa, false, &clock).await {
                Err(mute) => Says::Mute(mute.to_string()),
                Ok(answer) => of_answer(&answer, &zone),
            };
            (at, says)
        });
    }
    let mut says = vec![Says::Mute("was not asked".to_owned()); servers.len()];
    while let Some(one) = asking.join_next().await {
        if let Ok((at, one)) = one {
            says[at] = one;
        }
    }
    let one = |(server, says): (&NameServer, Says)| Server { place: server.place(), says };
    servers.iter().zip(says).map(one).collect()
}

fn of_answer(answer: &Answer, zone: &DomainName) -> Says {
    let has_it =
        answer.answers.iter().any(|record| record.name == *zone && matches!(record.data, Data::Soa(_)));
    match (answer.is_sure(), answer.authoritative && has_it) {
        (false, _) => Says::Refuses(answer.outcome.word()),
        (true, true) => Says::Fine,
        (true, false) => Says::NotItsZone,
    }
}
