//! What was asked of the CA, in order of arrival.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::watch;

use crate::endpoint::Endpoint;

/// One request as the CA saw it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RequestRecord {
    /// When its head had arrived.
    pub time: SystemTime,
    /// `GET`, `HEAD`, `POST` or whatever was sent.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// The kind of resource the path names.
    pub endpoint: Endpoint,
    /// None if the client did not name itself, which the CA refuses.
    pub user_agent: Option<String>,
    /// The id of the account whose signature was verified.
    pub account: Option<String>,
    /// None while unanswered: in work, stalled, or cut off.
    pub status: Option<u16>,
    /// The ACME problem type answered with, without its prefix.
    pub problem: Option<String>,
    /// Whether a fault was applied.
    pub struck: bool,
}

impl fmt::Display for RequestRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.method, self.path, self.endpoint)?;
        match self.status {
            Some(status) => write!(f, " {status}")?,
            None => f.write_str(" -")?,
        }
        if let Some(problem) = &self.problem {
            write!(f, " {problem}")?;
        }
        if let Some(account) = &self.account {
            write!(f, " account={account}")?;
        }
        if self.struck {
            f.write_str(" fault")?;
        }
        Ok(())
    }
}

/// Called with each request once it is answered, or cut off.
pub(crate) type Listener = Arc<dyn Fn(&RequestRecord) + Send + Sync>;

pub(crate) struct Journal {
    records: Mutex<Vec<RequestRecord>>,
    changes: watch::Sender<u64>,
    listener: Option<Listener>,
}

impl Journal {
    pub(crate) fn new(listener: Option<Listener>) -> Self {
        Self { records: Mutex::default(), changes: watch::Sender::new(0), listener }
    }

    /// Books an arrival; the number is for `answered`.
    pub(crate) fn arrived(&self, record: RequestRecord) -> usize {
        let mut records = self.lock();
        records.push(record);
        let number = records.len() - 1;
        drop(records);
        self.announce();
        number
    }

    /// Completes a record with what became of it.
    pub(crate) fn answered(&self, number: usize, complete: impl FnOnce(&mut RequestRecord)) {
        let mut records = self.lock();
        complete(&mut records[number]);
        let record = records[number].clone();
        drop(records);
        if let Some(listener) = &self.listener {
            listener(&record);
        }
        self.announce();
    }

    pub(crate) fn records(&self) -> Vec<RequestRecord> {
        self.lock().clone()
    }

    pub(crate) fn count(&self, endpoint: Endpoint) -> usize {
        self.lock().iter().filter(|record| record.endpoint == endpoint).count()
    }

    /// Wakes everyone who waits for a change.
    pub(crate) fn announce(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<RequestRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
