//! The texts that stand now, from the store: a name server of ours tells those of every nolapse process on
//! this state directory, as the http-01 listener does with its answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::dns01::ProofRecord;
use crate::codec::digest::sha256;
use crate::codec::dns::Texts;
use crate::core::failure::{Failure, Fault};
use crate::core::layout::Content;
use crate::core::name::Token;
use crate::core::time::Span;
use crate::ports::{Expect, Key, Shelf, Store, StoreError};
use crate::sys::clock::Clock;

/// What was read is good for so long: strangers' questions, however many, read the shelf a few times a
/// second, and what another process set is told within this.
pub const AGE_MOST: Span = Span::from_millis(250);
/// Entries of the shelf that are read; more stand only where nobody cleans up.
const ENTRIES_MAX: usize = 4096;

pub struct StandingTexts {
    store: Arc<dyn Store>,
    clock: Clock,
    shelf: Mutex<Shelved>,
}

#[derive(Default)]
struct Shelved {
    /// On the clock's monotonic scale.
    read_at: Option<Span>,
    /// `None` for an answer to http-01. Entries never change, so each is read once.
    known: BTreeMap<Key, Option<ProofRecord>>,
    texts: Arc<Texts>,
    /// `texts` is older than `known`. Outlives a read that ended early: whoever asked may be gone meanwhile.
    stale: bool,
    /// Entries that could not be read, each of which is told once.
    unreadable: BTreeSet<Key>,
    failing: bool,
}

impl StandingTexts {
    pub fn new(store: Arc<dyn Store>, clock: &Clock) -> Self {
        Self { store, clock: clock.clone(), shelf: Mutex::default() }
    }

    /// Code: `store-failed`.
    pub async fn set(&self, record: &ProofRecord) -> Result<(), Failure> {
        let content = Content::new(shown(record).into_bytes());
        self.store.swap(&key(record)?, Expect::Anything, content).await.map_err(|error| unstored(&error))?;
        self.shelf.lock().await.read_at = None;
        Ok(())
    }

    /// Code: `store-failed`.
    pub async fn unset(&self, record: &ProofRecord) -> Result<(), Failure> {
        self.store.remove(&key(record)?).await.map_err(|error| unstored(&error))?;
        self.shelf.lock().await.read_at = None;
        Ok(())
    }

    /// All of them; `None` while the store can't be read, which is told once and not to each stranger.
    pub async fn all(&self) -> Option<Arc<Texts>> {
        let mut shelf = self.shelf.lock().await;
        let now = self.clock.monotonic();
        if shelf.read_at.is_none_or(|at| now - at >= AGE_MOST) {
            let read = self.read(&mut shelf).await;
            shelf.read_at = Some(now);
            if let Err(error) = &read
                && !shelf.failing
            {
                tracing::warn!(%error, "the name server can't read its texts");
            }
            shelf.failing = read.is_err();
        }
        (!shelf.failing).then(|| shelf.texts.clone())
    }

    async fn read(&self, shelf: &mut Shelved) -> Result<(), StoreError> {
        let keys = self.store.list(Shelf::Challenges).await?;
        let before = shelf.known.len();
        shelf.known.retain(|key, _| keys.contains(key));
        shelf.unreadable.retain(|key| keys.contains(key));
        shelf.stale |= shelf.known.len() != before;
        for key in keys.into_iter().take(ENTRIES_MAX) {
            if shelf.known.contains_key(&key) {
                continue;
            }
            let entry = match self.store.load(&key).await {
                Ok(Some(entry)) => entry,
                // Gone between the two looks is gone.
                Ok(None) => continue,
                // One bad entry must not silence the others; it is tried again with the next read.
                Err(error) => {
                    if shelf.unreadable.insert(key.clone()) {
                        tracing::warn!(%key, %error, "the name server can't read one of its texts");
                    }
                    continue;
                }
            };
            let text = std::str::from_utf8(entry.content.bytes()).ok();
            let record = text.and_then(|text| ProofRecord::parse(text).ok());
            shelf.stale |= record.is_some();
            shelf.unreadable.remove(&key);
            shelf.known.insert(key, record);
        }
        if shelf.stale {
            let mut texts = Texts::new();
            for record in shelf.known.values().flatten() {
                texts.entry(record.name.clone()).or_default().push(record.value.clone());
            }
            shelf.texts = Arc::new(texts);
            shelf.stale = false;
        }
        Ok(())
    }
}

/// Without the zone: the same text found in two ways is one entry.
fn shown(record: &ProofRecord) -> String {
    ProofRecord { zone: None, ..record.clone() }.to_string()
}

/// Of its own, not the challenge's token: some CAs give all challenges of a name one token, and taking away
/// the answer to another kind must not take this one.
fn key(record: &ProofRecord) -> Result<Key, Failure> {
    let digest = sha256(shown(record).as_bytes()).to_string();
    Token::parse(&digest).map(Key::Challenge).map_err(|why| Failure::broken("store-failed", why.to_string()))
}

fn unstored(error: &StoreError) -> Failure {
    Failure::transient(Fault::Host, "store-failed", error.to_string())
}
