//! A store for rehearsals: lineages live in memory and vanish, while accounts and challenge
//! answers go to the real store, so that a rehearsal neither registers an account each time nor
//! hides its answers from a running daemon.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::core::layout::Content;
use crate::core::name::LineageId;
use crate::ports::{Claim, Entry, Expect, Key, Reply, Revision, Shelf, Store, StoreError};

/// Memory, over a real store or alone.
pub struct ScratchStore {
    real: Option<Arc<dyn Store>>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    entries: BTreeMap<Key, (u64, Content)>,
    writes: u64,
}

impl ScratchStore {
    pub fn over(real: Arc<dyn Store>) -> Self {
        Self { real: Some(real), memory: Mutex::default() }
    }

    /// Memory alone, for a look at a CA that leaves nothing behind.
    pub fn alone() -> Self {
        Self { real: None, memory: Mutex::default() }
    }

    /// The real store, where entries of this kind belong there.
    fn shared(&self, shelf: Shelf) -> Option<&Arc<dyn Store>> {
        self.real.as_ref().filter(|_| matches!(shelf, Shelf::Accounts | Shelf::Challenges))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Memory) -> T) -> T {
        act(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for ScratchStore {
    fn load<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreError>> {
        if let Some(real) = self.shared(key.shelf()) {
            return real.load(key);
        }
        let entry = self.with(|memory| {
            let (write, content) = memory.entries.get(key)?;
            Some(Entry { content: content.clone(), revision: Revision(write.to_string()) })
        });
        Box::pin(async { Ok(entry) })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expect: Expect,
        content: Content,
    ) -> Reply<'a, Result<Revision, StoreError>> {
        if let Some(real) = self.shared(key.shelf()) {
            return real.swap(key, expect, content);
        }
        let swapped = self.with(|memory| {
            let found = memory.entries.get(key).map(|(write, _)| Revision(write.to_string()));
            let as_expected = match expect {
                Expect::Anything => true,
                Expect::Absent => found.is_none(),
                Expect::At(revision) => found == Some(revision),
            };
            if !as_expected {
                return Err(StoreError::Conflict(key.to_string()));
            }
            memory.writes += 1;
            let write = memory.writes;
            memory.entries.insert(key.clone(), (write, content));
            Ok(Revision(write.to_string()))
        });
        Box::pin(async { swapped })
    }

    fn list(&self, shelf: Shelf) -> Reply<'_, Result<Vec<Key>, StoreError>> {
        if let Some(real) = self.shared(shelf) {
            return real.list(shelf);
        }
        let keys =
            self.with(|memory| memory.entries.keys().filter(|key| key.shelf() == shelf).cloned().collect());
        Box::pin(async { Ok(keys) })
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<(), StoreError>> {
        if let Some(real) = self.shared(key.shelf()) {
            return real.remove(key);
        }
        self.with(|memory| memory.entries.remove(key));
        Box::pin(async { Ok(()) })
    }

    /// A rehearsal touches no lineage, so there is nobody to be polite to.
    fn claim<'a>(&'a self, _: &'a LineageId) -> Reply<'a, Result<Claim, StoreError>> {
        Box::pin(async { Ok(Claim::Held(Box::new(()))) })
    }

    fn writable(&self) -> Reply<'_, Result<(), StoreError>> {
        match &self.real {
            Some(real) => real.writable(),
            None => Box::pin(async { Ok(()) }),
        }
    }
}
