//! dns-persist-01: nothing is set. The text is the operator's, stands for months, and is looked for at the
//! zone's servers before the CA is told.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::dns::exchange::ask;
use super::dns::{Lookup, NameServer};
use crate::codec::dns::{DomainName, Kind};
use crate::codec::persist::{PersistRecord, Worth, place_of};
use crate::core::failure::{Class, Failure, Fault, plain};
use crate::core::name::{SolverId, SubjectName};
use crate::core::order::{ChallengeTask, PersistTerms, Terms};
use crate::core::persist::ABSENT;
use crate::core::record::{ChallengeKind, Receipt};
use crate::core::time::Timestamp;
use crate::ports::{Reply, Solver};
use crate::sys::clock::Clock;

/// Servers asked; a zone has rarely more than six.
const SERVERS_MAX: usize = 16;
/// Texts of one server looked at.
const TEXTS_MAX: usize = 64;
/// Characters of a stranger's text shown.
const SHOWN: usize = 300;

/// Looks for texts and changes nothing.
pub struct PersistEye {
    lookup: Arc<Lookup>,
    authoritative: Vec<SocketAddr>,
    clock: Clock,
}

/// What each server shows for one name.
#[derive(Clone, Debug)]
pub struct PersistView {
    /// Where the text must stand.
    pub place: DomainName,
    pub servers: Vec<ServerView>,
}

#[derive(Clone, Debug)]
pub struct ServerView {
    pub server: NameServer,
    /// The texts there, or why they are not known.
    pub said: Result<Vec<Found>, String>,
}

/// One text.
#[derive(Clone, Debug)]
pub struct Found {
    /// Safe to print.
    pub text: String,
    pub record: Result<(PersistRecord, Worth), String>,
}

impl PersistEye {
    pub fn new(lookup: Arc<Lookup>, authoritative: Vec<SocketAddr>, clock: &Clock) -> Self {
        Self { lookup, authoritative, clock: clock.clone() }
    }

    /// Asks every server of the zone. Aliases are followed to the text; the name that it is for stays the one
    /// that was asked for.
    ///
    /// Codes: those of [`Lookup::follow`], [`Lookup::zone_of`] and [`Lookup::find`].
    pub async fn look(&self, name: &SubjectName, terms: &PersistTerms) -> Result<PersistView, Failure> {
        let place = name.base().and_then(place_of).ok_or_else(|| {
            let words = format!("{name} is no name that dns-persist-01 can prove");
            Failure::refused(Fault::Config, "dns-no-zone", words)
        })?;
        let target = self.lookup.follow(&place).await?;
        let servers = if self.authoritative.is_empty() {
            let zone = self.lookup.zone_of(&target).await?.name;
            self.lookup.servers(&zone).await?
        } else {
            let named = |at: &SocketAddr| NameServer { name: at.ip().to_string(), address: *at };
            self.authoritative.iter().map(named).collect()
        };
        let mut views = Vec::new();
        for server in servers.into_iter().take(SERVERS_MAX) {
            let said = match ask(server.address, &target, Kind::Txt, false, &self.clock).await {
                Err(mute) => Err(mute.to_string()),
                Ok(answer) if !answer.is_sure() => Err(format!("says {}", answer.outcome.word())),
                Ok(answer) => {
                    let texts = answer.texts(&target).take(TEXTS_MAX);
                    Ok(texts.map(|text| self.found(text, name, terms)).collect())
                }
            };
            views.push(ServerView { server, said });
        }
        Ok(PersistView { place, servers: views })
    }

    fn found(&self, text: &[u8], name: &SubjectName, terms: &PersistTerms) -> Found {
        let record = PersistRecord::parse(text).map_err(|why| why.to_string()).map(|record| {
            let worth = record.judge(terms, name.is_wildcard(), self.clock.now());
            (record, worth)
        });
        Found { text: plain(&String::from_utf8_lossy(text), SHOWN), record }
    }
}

impl Found {
    fn shown(&self) -> String {
        match &self.record {
            Ok(_) => format!("{:?}", self.text),
            Err(why) => format!("{:?} ({why})", self.text),
        }
    }
}

impl ServerView {
    /// The best that it shows; `None` where it shows nothing that can be read.
    pub fn best(&self) -> Option<&(PersistRecord, Worth)> {
        let found = self.said.as_ref().ok()?;
        found.iter().filter_map(|found| found.record.as_ref().ok()).max_by_key(|(record, worth)| {
            // Of two that hold, the one that holds longer.
            (*worth, record.until.map_or(Timestamp::from_millis(i64::MAX), |until| until))
        })
    }
}

impl PersistView {
    /// Whether any server shows a text of that kind, whatever it is worth.
    pub fn shows_any(&self) -> bool {
        self.servers.iter().any(|view| view.best().is_some())
    }

    /// Every server answers, and none has one.
    fn is_absent(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(|view| view.said.is_ok()) && !self.shows_any()
    }

    /// When the last good text ends, by the server that loses it first; `Ok(None)`: it has no end.
    ///
    /// Codes: `persist-missing`, `persist-account`, `persist-ended`, `persist-wildcard`: refused where no server
    /// shows a good text, transient where some do.
    pub fn verdict(&self, name: &SubjectName, terms: &PersistTerms) -> Result<Option<Timestamp>, Failure> {
        let answered: Vec<_> = self.servers.iter().filter(|view| view.said.is_ok()).collect();
        let worth = |view: &ServerView| view.best().map(|(_, worth)| *worth);
        let lacking: Vec<_> =
            answered.iter().copied().filter(|view| worth(view) != Some(Worth::Good)).collect();
        if lacking.is_empty() && !answered.is_empty() {
            let ends = answered.iter().filter_map(|view| view.best()?.0.until);
            return Ok(ends.min());
        }
        let (code, what) = match lacking.iter().filter_map(|view| worth(view)).max() {
            Some(Worth::OtherAccount) => ("persist-account", "names another account than ours"),
            Some(Worth::Ended) => ("persist-ended", "has ended (persistUntil)"),
            Some(Worth::NoWildcard) => ("persist-wildcard", "does not allow wildcards"),
            _ => ("persist-missing", "is missing"),
        };
        let seen: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
        let record = wanted(name, terms).map(|record| record.zone_line(&self.place));
        let words = format!(
            "the text for dns-persist-01 {what}; set  {}  (seen now: {})",
            record.unwrap_or_default(),
            seen.join("; ")
        );
        Err(if lacking.len() == answered.len() && !answered.is_empty() {
            Failure::refused(Fault::Config, code, words)
        } else {
            Failure::transient(Fault::Network, code, words)
        })
    }
}

impl fmt::Display for ServerView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NameServer { name, address } = &self.server;
        let ip = address.ip().to_string();
        f.write_str(name)?;
        if *name != ip {
            write!(f, " ({ip})")?;
        }
        match &self.said {
            Err(why) => write!(f, " {why}"),
            Ok(found) if found.is_empty() => f.write_str(" has nothing there"),
            Ok(_) if self.best().is_some_and(|(_, worth)| *worth == Worth::Good) => f.write_str(" shows it"),
            Ok(found) => {
                let texts: Vec<_> = found.iter().take(2).map(Found::shown).collect();
                write!(f, " shows {}", texts.join(", "))
            }
        }
    }
}

/// The text to set for `name`. A wildcard is allowed where one is asked for, and nowhere else.
pub fn wanted(name: &SubjectName, terms: &PersistTerms) -> Option<PersistRecord> {
    Some(PersistRecord {
        issuer: terms.issuers.first()?.clone(),
        account: terms.accounts.first()?.clone(),
        wildcard: name.is_wildcard(),
        until: None,
    })
}

/// Proves by what stands. A text seen to be for somebody else, or to have ended, is refused before the CA would
/// count a failure; one that is not seen is no proof that it is missing.
pub struct PersistSolver {
    id: SolverId,
    eye: PersistEye,
    /// Names whose text some server showed.
    shown: Mutex<BTreeSet<SubjectName>>,
}

impl PersistSolver {
    pub fn new(id: SolverId, eye: PersistEye) -> Self {
        Self { id, eye, shown: Mutex::default() }
    }

    async fn view(&self, name: &SubjectName, terms: &PersistTerms) -> Result<PersistView, Failure> {
        let view = self.eye.look(name, terms).await?;
        if view.shows_any() {
            self.shown.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        }
        Ok(view)
    }

    fn was_shown(&self, name: &SubjectName) -> bool {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    async fn look(&self, task: &ChallengeTask) -> Result<(), Failure> {
        let Terms::Persist(terms) = &task.terms else {
            return Err(Failure::broken(
                "persist-terms",
                "a challenge for dns-persist-01 came without its terms",
            ));
        };
        let view = match self.view(&task.name, terms).await {
            Err(failure) if failure.code == "dns-no-zone" => return Err(advice(failure)),
            view => view?,
        };
        match view.verdict(&task.name, terms) {
            Err(failure) if view.is_absent() && !self.was_shown(&task.name) => {
                Err(advice(Failure { code: ABSENT.to_owned(), ..failure }))
            }
            Err(failure) if !view.shows_any() => Err(advice(failure)),
            verdict => verdict.map(|_| ()),
        }
    }
}

/// The CA is asked all the same: where DNS is split, the servers that can be seen from here are not those that
/// a CA asks, and what they don't have may well stand.
fn advice(failure: Failure) -> Failure {
    Failure { class: Class::Transient, ..failure }
}

impl Solver for PersistSolver {
    fn kinds(&self) -> &[ChallengeKind] {
        &[ChallengeKind::DnsPersist01]
    }

    fn receipt<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<Receipt, Failure>> {
        Box::pin(std::future::ready(Ok(Receipt {
            solver: self.id.clone(),
            kind: task.kind,
            name: task.name.clone(),
            token: task.token.clone(),
            place: "nothing was set".to_owned(),
            by: None,
        })))
    }

    fn present<'a>(&'a self, _task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn confirm<'a>(&'a self, task: &'a ChallengeTask) -> Reply<'a, Result<(), Failure>> {
        Box::pin(
            async move { self.look(task).await.map_err(|failure| failure.blaming(Some(task.name.clone()))) },
        )
    }

    fn clean_up<'a>(&'a self, _receipt: &'a Receipt) -> Reply<'a, Result<(), Failure>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn standing<'a>(
        &'a self,
        name: &'a SubjectName,
        terms: &'a PersistTerms,
    ) -> Reply<'a, Option<Result<Option<Timestamp>, Failure>>> {
        Box::pin(async move {
            Some(match self.view(name, terms).await {
                Ok(view) => view.verdict(name, terms),
                Err(failure) => Err(failure),
            })
        })
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(self.eye.lookup.able())
    }
}
