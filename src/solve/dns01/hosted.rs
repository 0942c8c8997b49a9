//! Zones that a vendor hosts, changed through the vendor's interface.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::credentials::Credentials;
use super::provider::{Entry, Provider};
use super::updater::Updater;
use crate::core::failure::{Failure, Fault};
use crate::core::spec::SolverVendor;
use crate::core::time::Span;
use crate::core::vendor::Manner;
use crate::ports::{Reply, Secrets};
use crate::sys::clock::Clock;

/// Time for one change, with all calls that it takes.
const CHANGE_TIME: Span = Span::minutes(1);

/// An account with a vendor.
pub struct Hosted {
    account: SolverVendor,
    ttl: Span,
    secrets: Secrets,
    clock: Clock,
    /// Where texts are read and written back, two changes at once would undo each other.
    turn: Arc<Mutex<()>>,
}

/// One text, and which way it goes.
pub struct Change {
    pub name: String,
    pub value: String,
    pub zone: String,
    /// Seconds to live of a text that is added; none: it is taken away.
    pub add: Option<u32>,
}

impl Hosted {
    pub fn new(account: SolverVendor, ttl: Span, secrets: Secrets, clock: &Clock) -> Self {
        let turn = turn_at(account.vendor.word);
        Self { account, ttl, secrets, clock: clock.clone(), turn }
    }

    async fn change(&self, entry: &Entry<'_>, add: Option<u32>) -> Result<(), Failure> {
        let Some(zone) = &entry.record.zone else {
            return Err(Failure::broken("dns-client", "a vendor is asked for a change without a zone"));
        };
        let change = Change {
            name: entry.record.name.to_string(),
            value: entry.record.value.clone(),
            zone: zone.to_string(),
            add,
        };
        let alone = match self.account.vendor.manner {
            Manner::Single => None,
            Manner::Compared | Manner::Merged => Some(self.turn.lock().await),
        };
        let made = self.make(change).await;
        drop(alone);
        made
    }

    /// Everything is made anew for each change: a credential that was changed counts at once, and no
    /// session outlives what it was opened for.
    async fn make(&self, change: Change) -> Result<(), Failure> {
        let vendor = self.account.vendor;
        let credentials = Credentials::read(&self.account, &self.secrets)?;
        let updater = Updater::new(vendor, &credentials)?;
        // A task of its own: the crate behind it may panic at an answer that it does not expect. Whoever
        // gives up drops the set, which ends the task.
        let mut task = JoinSet::new();
        task.spawn(async move { updater.make(&change).await });
        match self.clock.timeout(CHANGE_TIME, task.join_next()).await {
            Some(Some(Ok(Ok(())))) => Ok(()),
            Some(Some(Ok(Err(refusal)))) => Err(refusal.failure(vendor, &credentials)),
            Some(_) => {
                let words = format!("{} answered what its interface should not; report this", vendor.name);
                Err(Failure::broken("dns-client", words))
            }
            None => {
                let words = format!(
                    "{} did not make the change within {CHANGE_TIME}: its interface is slow, out of reach, or was \
                     called too often and asks for patience",
                    vendor.name
                );
                Err(Failure::transient(Fault::Network, "dns-unreachable", words))
            }
        }
    }
}

/// One for each vendor in this process: several tables, and what a reload makes anew, may be about one
/// zone. Another process, as a `renew` beside the daemon, has its own.
fn turn_at(vendor: &'static str) -> Arc<Mutex<()>> {
    static TURNS: std::sync::Mutex<BTreeMap<&str, Arc<Mutex<()>>>> = std::sync::Mutex::new(BTreeMap::new());
    TURNS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).entry(vendor).or_default().clone()
}

impl Provider for Hosted {
    fn needs_zone(&self) -> bool {
        true
    }

    /// Codes: `dns-credentials`, `dns-refused`, `dns-unreachable`, `dns-change-failed`, `dns-client`,
    /// `secret-missing`.
    fn add<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        let wanted = u32::try_from(self.ttl.whole_secs()).unwrap_or(u32::MAX);
        Box::pin(self.change(entry, Some(wanted.max(self.account.vendor.least_ttl))))
    }

    fn remove<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>> {
        Box::pin(self.change(entry, None))
    }

    fn able(&self) -> Reply<'_, Result<(), Failure>> {
        Box::pin(async move {
            let credentials = Credentials::read(&self.account, &self.secrets)?;
            Updater::new(self.account.vendor, &credentials).map(|_| ())
        })
    }
}
