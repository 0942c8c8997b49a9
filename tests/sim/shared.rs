//! A made-up store that several nodes share: compare-and-swap on single keys and a lease for each
//! lineage, over a network that loses things.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use nolapse::core::layout::Content;
use nolapse::core::leaf::mix;
use nolapse::core::name::LineageId;
use nolapse::core::time::{Span, Timestamp};
use nolapse::ports::{Claim, Entry, Expect, Key, Revision, Shelf, StoreError};
use nolapse::sys::clock::Clock;

use crate::crash::Points;
use crate::script::{Script, Trouble};

/// How long a lease outlives the last sign of its holder.
const LEASE: Span = Span::minutes(2);
/// How long a call without an answer takes to fail.
const TIMEOUT: Span = Span::secs(5);

/// The store; clones share it.
#[derive(Clone)]
pub struct SharedStore {
    seed: u64,
    truth: Clock,
    script: Script,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Slot>,
    revisions: u64,
    calls: u64,
    leases: BTreeMap<LineageId, Lease>,
}

struct Slot {
    content: Content,
    revision: u64,
    before: Option<(Content, u64)>,
}

struct Lease {
    holder: usize,
    number: u64,
    alive: Weak<()>,
    points: Arc<Points>,
    /// When somebody first saw that the holder gave no sign.
    silent_since: Option<Timestamp>,
}

/// A claim; the lease ends with it, unless its holder died: then it runs out.
struct Guard {
    store: SharedStore,
    id: LineageId,
    number: u64,
    points: Arc<Points>,
    _alive: Arc<()>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.store.state();
        if !self.points.is_dead()
            && state.leases.get(&self.id).is_some_and(|lease| lease.number == self.number)
        {
            state.leases.remove(&self.id);
        }
    }
}

impl SharedStore {
    pub fn new(seed: u64, truth: Clock, script: Script) -> Self {
        Self { seed, truth, script, state: Arc::default() }
    }

    /// The present value, read without the network.
    pub fn peek(&self, key: &Key) -> Option<Content> {
        self.state().entries.get(key).map(|slot| slot.content.clone())
    }

    /// Which value it is.
    pub fn revision(&self, key: &Key) -> Option<u64> {
        self.state().entries.get(key).map(|slot| slot.revision)
    }

    /// As [`SharedStore::peek`], with its revision.
    pub fn entry(&self, key: &Key) -> Option<Entry> {
        self.state().entries.get(key).map(|slot| entry(&slot.content, slot.revision))
    }

    /// The present keys, read without the network.
    pub fn keys(&self, shelf: Shelf) -> Vec<Key> {
        self.state().entries.keys().filter(|key| key.shelf() == shelf).cloned().collect()
    }

    /// Writes so far.
    pub fn steps(&self) -> u64 {
        self.state().revisions
    }

    pub async fn load(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.travel(key).await?;
        let stale = matches!(key, Key::Lineage(_)) && self.script.strikes(&Trouble::StoreStale);
        let state = self.state();
        Ok(state.entries.get(key).map(|slot| match &slot.before {
            Some((content, revision)) if stale => entry(content, *revision),
            _ => entry(&slot.content, slot.revision),
        }))
    }

    pub async fn swap(&self, key: &Key, expect: Expect, content: Content) -> Result<Revision, StoreError> {
        self.travel(key).await?;
        if self.script.strikes(&Trouble::StoreUnheard) {
            return Err(silence(key));
        }
        if expect != Expect::Anything && self.script.strikes(&Trouble::StoreConflict) {
            return Err(StoreError::Conflict(key.to_string()));
        }
        let revision = {
            let mut state = self.state();
            let found = state.entries.get(key).map(|slot| mark(slot.revision));
            let as_expected = match (&expect, &found) {
                (Expect::Anything, _) | (Expect::Absent, None) => true,
                (Expect::At(revision), Some(found)) => revision == found,
                _ => false,
            };
            if !as_expected {
                return Err(StoreError::Conflict(key.to_string()));
            }
            state.revisions += 1;
            let revision = state.revisions;
            let before = state.entries.remove(key).map(|slot| (slot.content, slot.revision));
            state.entries.insert(key.clone(), Slot { content, revision, before });
            mark(revision)
        };
        if self.script.strikes(&Trouble::StoreReplyLost) {
            return Err(silence(key));
        }
        Ok(revision)
    }

    pub async fn list(&self, shelf: Shelf) -> Result<Vec<Key>, StoreError> {
        self.travel(&"a list").await?;
        Ok(self.keys(shelf))
    }

    pub async fn remove(&self, key: &Key) -> Result<(), StoreError> {
        self.travel(key).await?;
        if self.script.strikes(&Trouble::StoreUnheard) {
            return Err(silence(key));
        }
        let mut state = self.state();
        state.revisions += 1;
        state.entries.remove(key);
        Ok(())
    }

    pub async fn claim(
        &self,
        id: &LineageId,
        node: usize,
        points: &Arc<Points>,
    ) -> Result<Claim, StoreError> {
        self.travel(id).await?;
        let ignored = self.script.strikes(&Trouble::ClaimsIgnored);
        let now = self.truth.now();
        let mut state = self.state();
        if let Some(lease) = state.leases.get_mut(id)
            && !ignored
        {
            let gives_signs =
                lease.alive.strong_count() > 0 && !lease.points.frozen() && !lease.points.is_dead();
            if gives_signs {
                lease.silent_since = None;
                return Ok(Claim::Busy(format!("node {}", lease.holder)));
            }
            if now < *lease.silent_since.get_or_insert(now) + LEASE {
                return Ok(Claim::Busy(format!("node {}, silent", lease.holder)));
            }
        }
        state.revisions += 1;
        let (number, alive) = (state.revisions, Arc::new(()));
        state.leases.insert(
            id.clone(),
            Lease {
                holder: node,
                number,
                alive: Arc::downgrade(&alive),
                points: points.clone(),
                silent_since: None,
            },
        );
        let guard =
            Guard { store: self.clone(), id: id.clone(), number, points: points.clone(), _alive: alive };
        Ok(Claim::Held(Box::new(guard)))
    }

    pub async fn writable(&self) -> Result<(), StoreError> {
        self.travel(&"a probe").await
    }

    /// The way there and back.
    async fn travel(&self, what: &impl ToString) -> Result<(), StoreError> {
        let takes = {
            let mut state = self.state();
            state.calls += 1;
            1 + mix(&[self.seed, 3, state.calls]) % 12
        };
        self.truth.sleep(Span::from_millis(i64::try_from(takes).unwrap())).await;
        if self.script.strikes(&Trouble::StoreDown) {
            self.truth.sleep(TIMEOUT).await;
            return Err(silence(what));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn entry(content: &Content, revision: u64) -> Entry {
    Entry { content: content.clone(), revision: mark(revision) }
}

fn mark(revision: u64) -> Revision {
    Revision(revision.to_string())
}

fn silence(what: &impl ToString) -> StoreError {
    StoreError::Io {
        what: what.to_string(),
        why: "the store does not answer".into(),
        kind: io::ErrorKind::TimedOut,
    }
}
