//! Records as types over a store of bytes: load, change, swap.

use crate::agent::recent::Recent;
use crate::codec::bundle::Bundle;
use crate::codec::state::{self, StateError};
use crate::core::failure::{Class, Failure, Fault};
use crate::core::layout::Content;
use crate::core::name::LineageId;
use crate::core::record::{GenerationNumber, Installed, Issued, LineageRecord};
use crate::core::time::Timestamp;
use crate::ports::{Expect, Key, Revision, Store, StoreError};

/// A typed face over the [`Store`].
pub struct Book<'a> {
    store: &'a dyn Store,
    /// What was decoded before, and whether more is to be kept of it.
    known: Option<(&'a Decoded, bool)>,
}

/// Records and notes that were decoded last.
#[derive(Default)]
pub struct Decoded {
    records: Recent<LineageRecord>,
    installed: Recent<Installed>,
}

/// A value with the mark it is swapped by.
#[derive(Clone, Debug)]
pub struct Held<T> {
    /// Apart, as a record is two thousand bytes and goes from hand to hand in each look.
    pub value: Box<T>,
    revision: Option<Revision>,
}

impl<'a> Book<'a> {
    pub const fn new(store: &'a dyn Store) -> Self {
        Self { store, known: None }
    }

    /// One that does not decode again what is `known`, and keeps what it decodes where that is
    /// `again` to be asked for soon.
    pub const fn knowing(store: &'a dyn Store, known: &'a Decoded, again: bool) -> Self {
        Self { store, known: Some((known, again)) }
    }

    /// The record of a lineage. One that is missing or was damaged is told anew from the
    /// generations that are there: state is a cache.
    pub async fn record(&self, id: &LineageId) -> Result<Held<LineageRecord>, Failure> {
        let key = Key::Lineage(id.clone());
        let entry = match self.store.load(&key).await {
            Ok(entry) => entry,
            // Moved aside and reported by the store; the lineage goes on.
            Err(StoreError::Corrupt { .. }) => None,
            Err(error) => return Err(store_failure(&error)),
        };
        let Some(entry) = entry else {
            return Ok(Held { value: Box::new(self.retell(id).await?), revision: None });
        };
        let decoded = match self.known {
            Some((known, again)) => known.records.decoded(&key, &entry.content, again, state::decode_record),
            None => state::decode_record(&entry.content).map(Box::new),
        };
        match decoded {
            Ok(value) => Ok(Held { value, revision: Some(entry.revision) }),
            Err(StateError::Newer { found, known }) => {
                Err(store_failure(&StoreError::Newer { key: key.to_string(), found, known }))
            }
            Err(StateError::Strange(why)) => Err(strange(&key, &why)),
            Err(StateError::Damaged(_) | StateError::Unwritable(_)) => {
                Ok(Held { value: Box::new(self.retell(id).await?), revision: Some(entry.revision) })
            }
        }
    }

    pub async fn installed(&self, id: &LineageId) -> Result<Held<Installed>, Failure> {
        let key = Key::Installed(id.clone());
        let entry = match self.store.load(&key).await {
            Ok(entry) => entry,
            Err(StoreError::Corrupt { .. }) => None,
            Err(error) => return Err(store_failure(&error)),
        };
        let Some(entry) = entry else {
            return Ok(Held { value: Box::default(), revision: None });
        };
        let decoded = match self.known {
            Some((known, again)) => {
                known.installed.decoded(&key, &entry.content, again, state::decode_installed)
            }
            None => state::decode_installed(&entry.content).map(Box::new),
        };
        match decoded {
            Ok(value) => Ok(Held { value, revision: Some(entry.revision) }),
            Err(StateError::Newer { found, known }) => {
                Err(store_failure(&StoreError::Newer { key: key.to_string(), found, known }))
            }
            Err(StateError::Strange(why)) => Err(strange(&key, &why)),
            // A lost note owes nothing that a look at the endpoints would not tell.
            Err(StateError::Damaged(_) | StateError::Unwritable(_)) => {
                Ok(Held { value: Box::default(), revision: Some(entry.revision) })
            }
        }
    }

    pub async fn save_record(&self, held: &mut Held<LineageRecord>) -> Result<(), Failure> {
        let key = Key::Lineage(held.value.id.clone());
        held.revision =
            Some(self.swap(&key, held.revision.as_ref(), encoded(state::encode_record(&held.value))?).await?);
        Ok(())
    }

    pub async fn save_installed(&self, id: &LineageId, held: &mut Held<Installed>) -> Result<(), Failure> {
        let key = Key::Installed(id.clone());
        held.revision = Some(
            self.swap(&key, held.revision.as_ref(), encoded(state::encode_installed(&held.value))?).await?,
        );
        Ok(())
    }

    /// A generation's bytes, checked; `None` when it is gone or damaged.
    pub async fn generation(
        &self,
        id: &LineageId,
        number: GenerationNumber,
    ) -> Result<Option<Bundle>, Failure> {
        match self.store.load(&Key::Generation(id.clone(), number)).await {
            Ok(Some(entry)) => Ok(Bundle::from_content(&entry.content).ok()),
            Ok(None) | Err(StoreError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(store_failure(&error)),
        }
    }

    async fn swap(
        &self,
        key: &Key,
        revision: Option<&Revision>,
        content: Content,
    ) -> Result<Revision, Failure> {
        let expect = revision.map_or(Expect::Absent, |revision| Expect::At(revision.clone()));
        self.store.swap(key, expect, content).await.map_err(|error| store_failure(&error))
    }

    /// A record from artefacts alone: the newest whole generation is the current one.
    async fn retell(&self, id: &LineageId) -> Result<LineageRecord, Failure> {
        let mut record = LineageRecord::new(id.clone());
        let numbers = self.store.generations(id).await.map_err(|error| store_failure(&error))?;
        record.last_number = numbers.last().copied().unwrap_or(0);
        for number in numbers.into_iter().rev() {
            let Some(bundle) = self.generation(id, number).await? else { continue };
            let Some(issued) = retold(number, &bundle) else { continue };
            record.names.clone_from(&issued.names);
            if record.current.is_none() {
                record.current = Some(issued);
            } else {
                record.previous = Some(issued);
                break;
            }
        }
        Ok(record)
    }
}

/// Not told anew: what another release wrote may be a pause, and is not ours to undo.
fn strange(key: &Key, why: &str) -> Failure {
    let words = format!(
        "{key} was written by another nolapse ({why}); use that release, or move the entry out of the state \
         directory and it is told anew; nothing was changed"
    );
    Failure::refused(Fault::Config, "state-newer", words)
}

fn encoded(content: Result<Content, StateError>) -> Result<Content, Failure> {
    content.map_err(|error| Failure::broken("state-unwritable", error.to_string()))
}

fn retold(number: GenerationNumber, bundle: &Bundle) -> Option<Issued> {
    let leaf = bundle.leaf().clone();
    Some(Issued {
        number,
        key_kind: leaf.key_kind?,
        names: leaf.names.clone(),
        at: leaf.not_before.max(Timestamp::EPOCH),
        issuer: None,
        profile: None,
        order: String::new(),
        revoked: false,
        digests: crate::codec::bundle::digests(&bundle.render()),
        leaf,
    })
}

/// A store's error as a failure with a next step.
pub fn store_failure(error: &StoreError) -> Failure {
    let words = error.to_string();
    match error {
        StoreError::Conflict(_) => Failure::transient(Fault::Ours, "state-changed", words),
        StoreError::Corrupt { .. } => Failure::new(Class::Broken, Fault::Host, "state-damaged", words),
        StoreError::Newer { .. } => Failure::refused(Fault::Config, "state-newer", words),
        StoreError::Io { kind, .. } => {
            let (code, hint) = match kind {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    ("disk-full", "free some space; no order is placed until it can be stored")
                }
                std::io::ErrorKind::ReadOnlyFilesystem => {
                    ("disk-read-only", "make the state directory writable; no order is placed until then")
                }
                std::io::ErrorKind::PermissionDenied => {
                    ("state-permission", "give the state directory to the user that nolapse runs as")
                }
                _ => ("state-io", "look at the disk; no order is placed until it can be stored"),
            };
            Failure::transient(Fault::Host, code, format!("{words}; {hint}"))
        }
    }
}
