//! A store in memory, with the compare-and-swap rules of a real one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use nolapse::core::layout::Content;
use nolapse::core::name::LineageId;
use nolapse::ports::{Claim, Entry, Expect, Key, Reply, Revision, Shelf, Store, StoreError};

/// Empty when made. Claims are always granted: one test is one agent.
#[derive(Default)]
pub struct MemoryStore {
    entries: Mutex<(BTreeMap<Key, Entry>, u64)>,
}

impl MemoryStore {
    fn entries(&self) -> std::sync::MutexGuard<'_, (BTreeMap<Key, Entry>, u64)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn load<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(async move { Ok(self.entries().0.get(key).cloned()) })
    }

    fn swap<'a>(
        &'a self,
        key: &'a Key,
        expect: Expect,
        content: Content,
    ) -> Reply<'a, Result<Revision, StoreError>> {
        Box::pin(async move {
            let mut guard = self.entries();
            let (entries, writes) = &mut *guard;
            let found = entries.get(key).map(|entry| &entry.revision);
            let as_expected = match &expect {
                Expect::Absent => found.is_none(),
                Expect::At(revision) => found == Some(revision),
                Expect::Anything => true,
            };
            if !as_expected {
                return Err(StoreError::Conflict(key.to_string()));
            }
            *writes += 1;
            let revision = Revision(writes.to_string());
            entries.insert(key.clone(), Entry { content, revision: revision.clone() });
            Ok(revision)
        })
    }

    fn list(&self, shelf: Shelf) -> Reply<'_, Result<Vec<Key>, StoreError>> {
        Box::pin(
            async move { Ok(self.entries().0.keys().filter(|key| key.shelf() == shelf).cloned().collect()) },
        )
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.entries().0.remove(key);
            Ok(())
        })
    }

    fn claim<'a>(&'a self, _id: &'a LineageId) -> Reply<'a, Result<Claim, StoreError>> {
        Box::pin(async { Ok(Claim::Held(Box::new(()))) })
    }

    fn writable(&self) -> Reply<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}
