//! dns-01 (RFC 8555 §8.4) and dns-account-01: a text in DNS, set by a provider and awaited at the zone's
//! servers.

pub mod acme_dns;
pub mod credentials;
pub mod exec;
pub mod hosted;
pub mod own;
pub mod provider;
pub mod record;
pub mod refusal;
pub mod rfc2136;
#[cfg(feature = "dns-providers")]
mod updater;
#[cfg(not(feature = "dns-providers"))]
#[path = "no_updater.rs"]
mod updater;
pub mod web;
pub mod webhook;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use provider::{Entry, Provider};
pub use record::ProofRecord;

use super::dns::Lookup;
use super::propagation::{Propagation, Sightings, Unseen};
use crate::codec::account_label::account_label;
use crate::codec::dns::DomainName;
use crate::core::failure::{Failure, Fault};
use crate::core::name::{SolverId, SubjectName, Token};
use crate::core::order::{ChallengeTask, Terms};
use crate::core::record::{ChallengeKind, Receipt};
use crate::core::showing::Showing;
use crate::core::time::Span;
use crate::ports::{Reply, Solver};
use crate::sys::clock::Clock;

/// Sets texts by `provider` and waits until they are seen.
pub struct Dns01Solver {
    id: SolverId,
    /// dns-01 or dns-account-01.
    kind: [ChallengeKind; 1],
    provider: Arc<dyn Provider>,
    lookup: Arc<Lookup>,
    propagation: Propagation,
    /// The zone as the operator wrote it; else it is found.
    zone: Option<DomainName>,
    standing: Mutex<BTreeMap<Token, Standing>>,
    clock: Clock,
}

/// What this process knows of an answer; a restart may forget it.
#[derive(Clone)]
struct Standing {
    record: ProofRecord,
    /// On the clock's monotonic scale; `None` until it was set.
    set_at: Option<Span>,
    /// What name servers showed when it was looked for last.
    showing: Option<Showing>,
}

/// Answers remembered; far more than one order has names.
const STANDING_MAX: usize = 4096;
/// Beyond the time for propagation: what single questions take.
const QUESTIONS: Span = Span::secs(30);

impl Dns01Solver {
    pub fn new(
        id: SolverId,
        provider: Arc<dyn Provider>,
        propagation: Propagation,
        zone: Option<DomainName>,
        clock: &Clock,
    ) -> Self {
        Self {
            id,
            kind: [ChallengeKind::Dns01],
            provider,
            lookup: propagation.lookup.clone(),
            propagation,
            zone,
            standing: Mutex::default(),
            clock: clock.clone(),
        }
    }

    /// Answers dns-account-01 in place of dns-01: the same text at a place of the account's own.
    pub fn by_account(self) -> Self {
        Self { kind: [ChallengeKind::DnsAccount01], ..self }
    }

    /// The record that proves the task's name. Asks DNS and changes nothing.
    async fn record(&self, task: &ChallengeTask) -> Result<ProofRecord, Failure> {
        let value = record::value_of(&task.key_authorization);
        let at = challenge_name(task)?;
        let own = |name: &DomainName| self.provider.own_zone(name).is_ok_and(|zone| zone.is_some());
        // A provider that knows where it writes is not held up by a resolver's trouble.
        let name = match self.lookup.follow_until(&at, own).await {
            Ok(name) => name,
            Err(_) if !self.provider.needs_zone() && self.provider.own_zone(&at).is_ok() => at,
            Err(failure) => return Err(failure),
        };
        let own = self.provider.own_zone(&name)?;
        let zone = match &self.zone {
            Some(zone) => Some(zone.clone()),
            None if own.is_some() => own,
            None if self.provider.needs_zone() => Some(self.lookup.zone_of(&name).await?.name),
            None => None,
        };
        if let Some(zone) = &zone
            && !name.lies_in(zone)
        {
            let words = format!(
                "{name} does not lie in the zone {zone} that the solver {} is for; mend `zone`, or leave it out \
                 to have it found",
                self.id
            );
            return Err(Failure::refused(Fault::Config, "dns-no-zone", words));
        }
        Ok(ProofRecord { name, value, zone })
    }

    fn standing(&self, token: &Token) -> Option<Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn note(&self, token: &Token, record: &ProofRecord, set_at: Option<Span>) {
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        while standing.len() >= STANDING_MAX {
            standing.pop_first();
        }
        standing.insert(token.clone(), Standing { record: record.clone(), set_at, showing: None });
    }

    fn note_showing(&self, task: &ChallengeTask, record: &ProofRecord, seen: &Sightings) {
        let place = record.name.to_string();
        let showing = Showing::new(task.name.clone(), place, self.clock.now(), seen.shown());
        let mut standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = standing.get_mut(&task.token) {
            standing.showing = Some(showing);
        }
    }

    /// The record as the receipt tells of it, which was stored already.
    async fn reserved(&self, task: &ChallengeTask) -> Result<ProofRecord, Failure> {
        match self.standing(&task.token) {
            Some(standing) => Ok(standing.record),
            None => self.record(task).await,
        }
    }

    async fn look(&self, task: &ChallengeTask) -> Result<(), Failure> {
        let Err(unseen) = self.look_around(task).await else { return Ok(()) };
        // Nobody shows it and we can't: the CA would only count a failure.
        Err(match self.provider.hindrance().await {
            Some(hindrance) => Failure::refused(
                hindrance.fault,
                &hindrance.code,
                format!("{}. And {}", hindrance.words, unseen.words),
            ),
            None => unseen,
        })
    }

    async fn look_around(&self, task: &ChallengeTask) -> Result<(), Failure> {
        let record = self.reserved(task).await?;
        let since = self.standing(&task.token).and_then(|standing| standing.set_at);
        let since = since.unwrap_or_else(|| self.clock.monotonic());
        let zone = match &record.zone {
            Some(zone) => zone.clone(),
            None if self.propagation.authoritative.is_empty() => {
                self.lookup.zone_of(&record.name).await?.name
            }
            // Not asked for: the servers are known.
            None => record.name.clone(),
        };
        let shown = self.propagation.await_shown(&record.name, &record.value, &zone, since).await;
        if let Ok(seen) | Err(Unseen::At(seen)) = &shown {
            self.note_showing(task, &record, seen);
        }
        shown.map(|_| ()).map_err(|unseen| match unseen {
            Unseen::Unknown(failure) => failure,
            Unseen::At(sightings) => Failure::transient(
                Fault::Network,
                "dns-unseen",
                format!(
                    "the text at {} is not seen everywhere after {}: {sightings}",
                    record.name,
                    self.clock.monotonic() - since
                ),
            ),
        })
    }
}

impl Solver for Dns01Solver {
    fn kinds(&self) -> &[ChallengeKind] {
        &self.kind
    }

    /// Codes: `dns-alias`, `dns-no-zone`, `dns-unreachable`, `dns-answer`.
    fn receipt<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<Receipt, Failure>> {
        Box::pin(async move {
            let record =
                self.record(task).await.map_err(|failure| failure.blaming(Some(task.name.clone())))?;
            self.note(&task.token, &record, None);
            Ok(Receipt {
                solver: self.id.clone(),
                kind: task.kind,
                name: task.name.clone(),
                token: task.token.clone(),
                place: record.to_string(),
                by: None,
            })
        })
    }

    fn present<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let record = self.reserved(task).await?;
            let entry = Entry {
                domain: domain(&task.name)?,
                token: &task.token,
                record: &record,
                key_authorization: Some(&task.key_authorization),
            };
            self.provider.add(&entry).await?;
            self.note(&task.token, &record, Some(self.clock.monotonic()));
            Ok(())
        })
    }

    fn confirm<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(
            async move { self.look(task).await.map_err(|failure| failure.blaming(Some(task.name.clone()))) },
        )
    }

    fn showing(&self, task: &ChallengeTask) -> Option<Showing> {
        self.standing(&task.token)?.showing
    }

    fn patience(&self) -> Span {
        self.propagation.most + QUESTIONS
    }

    fn clean_up<'a>(&'a self, receipt: &'a Receipt) -> Reply<'a, Result<(), Failure>> {
        Box::pin(async move {
            let record = ProofRecord::parse(&receipt.place)?;
            let entry = Entry {
                domain: domain(&receipt.name)?,
                token: &receipt.token,
                record: &record,
                key_authorization: None,
            };
            self.provider.remove(&entry).await?;
            self.standing.lock().unwrap_or_else(PoisonError::into_inner).remove(&receipt.token);
            Ok(())
        })
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move {
            self.provider.able().await?;
            if self.provider.needs_zone() { self.lookup.able().await } else { Ok(()) }
        })
    }
}

fn domain(name: &SubjectName) -> Result<&str, Failure> {
    // RFC 8738 §7; the core never asks for it.
    name.base()
        .ok_or_else(|| Failure::broken("dns-address", format!("{name} is an address; dns-01 proves names")))
}

fn challenge_name(task: &ChallengeTask) -> Result<DomainName, Failure> {
    let name = &task.name;
    let place = DomainName::challenge_of(domain(name)?).and_then(|at| match &task.terms {
        Terms::Account(url) if task.kind == ChallengeKind::DnsAccount01 => {
            DomainName::parse(&format!("{}.{at}", account_label(url)))
        }
        _ => Ok(at),
    });
    place.map_err(|why| {
        let words = format!("_acme-challenge.{name} is no name that DNS takes: {why}");
        Failure::refused(Fault::Config, "dns-no-zone", words).blaming(Some(name.clone()))
    })
}
