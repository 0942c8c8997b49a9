//! Reading what a node's store holds, past the network, the points to die at and any planted bug.

use std::path::PathBuf;

use nolapse::agent::Book;
use nolapse::core::layout::Content;
use nolapse::core::name::LineageId;
use nolapse::core::record::{Installed, LineageRecord};
use nolapse::ports::{Claim, Entry, Expect, Glance, Key, Reply, Revision, Shelf, Store, StoreError};
use nolapse::store::DirStore;
use nolapse::sys::disk::{Disk, Model};

use crate::laws::at_once;
use crate::shared::SharedStore;

/// Largest record read, in bytes.
const RECORD_MAX: usize = 1 << 20;

/// Where one node's entries about one lineage lie.
#[derive(Clone)]
pub struct Shelves {
    pub id: LineageId,
    pub disk: Disk,
    pub state_dir: PathBuf,
    pub shared: Option<SharedStore>,
}

/// Which value an entry has: another one with each write.
pub type Mark = Option<(u64, u64)>;

/// A store that only reads.
pub struct Peek {
    local: DirStore,
    shared: Option<SharedStore>,
}

impl Shelves {
    pub fn peek(&self) -> Option<Peek> {
        let local = DirStore::open_to_read(self.disk.clone(), &self.state_dir).ok()?;
        Some(Peek { local, shared: self.shared.clone() })
    }

    /// What the store says of the lineage, and the node of itself.
    pub fn records(&self) -> Option<(LineageRecord, Installed)> {
        Some((self.record()?, self.note()?))
    }

    pub fn record(&self) -> Option<LineageRecord> {
        let peek = self.peek()?;
        Some(*at_once(Book::new(&peek).record(&self.id)).ok()?.value)
    }

    pub fn note(&self) -> Option<Installed> {
        let peek = self.peek()?;
        Some(*at_once(Book::new(&peek).installed(&self.id)).ok()?.value)
    }

    /// Which values both have now.
    pub fn marks(&self, model: &Model) -> [Mark; 2] {
        let file = |shelf: &str| model.stamp(&self.state_dir.join(shelf).join(self.id.as_str()));
        let record = match &self.shared {
            Some(shared) => shared.revision(&Key::Lineage(self.id.clone())).map(|revision| (0, revision)),
            None => file("lineages"),
        };
        [record, file("installed")]
    }

    /// The bytes of the record, none where it is not there.
    pub fn raw_record(&self) -> Vec<u8> {
        match &self.shared {
            Some(shared) => {
                shared.peek(&Key::Lineage(self.id.clone())).map(Content::into_bytes).unwrap_or_default()
            }
            None => self.raw("lineages"),
        }
    }

    /// The same of the note.
    pub fn raw_note(&self) -> Vec<u8> {
        self.raw("installed")
    }

    fn raw(&self, shelf: &str) -> Vec<u8> {
        let file = self.state_dir.join(shelf).join(self.id.as_str());
        self.disk.read(&file, RECORD_MAX).map(Content::into_bytes).unwrap_or_default()
    }
}

impl Peek {
    /// Where the node's agent keeps what it remembers.
    pub fn seen_files(&self) -> PathBuf {
        self.local.seen_files()
    }
}

impl Store for Peek {
    fn load<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<Option<Entry>, StoreError>> {
        match &self.shared {
            Some(shared) if key.shelf() != Shelf::Installed => Box::pin(async move { Ok(shared.entry(key)) }),
            _ => self.local.load(key),
        }
    }

    fn swap<'a>(&'a self, key: &'a Key, _: Expect, _: Content) -> Reply<'a, Result<Revision, StoreError>> {
        Box::pin(async move { Err(StoreError::Conflict(key.to_string())) })
    }

    fn list(&self, shelf: Shelf) -> Reply<'_, Result<Vec<Key>, StoreError>> {
        match &self.shared {
            Some(shared) if shelf != Shelf::Installed => Box::pin(async move { Ok(shared.keys(shelf)) }),
            _ => self.local.list(shelf),
        }
    }

    fn remove<'a>(&'a self, key: &'a Key) -> Reply<'a, Result<(), StoreError>> {
        Box::pin(async move { Err(StoreError::Conflict(key.to_string())) })
    }

    fn claim<'a>(&'a self, _: &'a LineageId) -> Reply<'a, Result<Claim, StoreError>> {
        Box::pin(async { Ok(Claim::Busy("the observer never works".into())) })
    }

    fn glance(&self, key: &Key) -> Option<Glance> {
        let local = self.shared.is_none() || key.shelf() == Shelf::Installed;
        if local { self.local.glance(key) } else { None }
    }

    fn writable(&self) -> Reply<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}
